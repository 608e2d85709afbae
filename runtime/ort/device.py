"""Execution providers: the requested one runs the graphs or is an error; there is no silent fallback.

A device is a name for people (`auto`, `cpu`, `cuda`, `cuda:1`, `openvino`, `tensorrt`) or a list of ONNX Runtime
providers. Before any model is loaded, its first provider must really run a small graph: see `probe`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from ..errors import PerformanceWarning, ProviderError, first_line, nearest, shown
from . import cuda
from .device_thread import DeviceThread, Owned, device_thread
from .library import ort
from .memory import Memory
from .openvino import with_precision
from .probe import available_providers, wheels_in_conflict, why_not
from .providers import CPU, CUDA, OPENVINO, PROVIDERS, TENSORRT

P = ParamSpec("P")
T = TypeVar("T")

Provider = str | tuple[str, Mapping[str, Any]]
_STOP = "session.force_spinning_stop"
_WHOLE = "session.disable_cpu_ep_fallback"


@dataclass(frozen=True)
class Device:
    """A device for sessions, with its providers and options.

    `providers` are (name, options) in ONNX Runtime's order of preference; the first must be in use.
    `session_options` maps attributes of `onnxruntime.SessionOptions`, or session configuration keys, to values.
    """

    name: str
    providers: tuple[tuple[str, dict[str, Any]], ...]
    session_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        """The ONNX Runtime provider that must run the graphs."""
        return self.providers[0][0]

    @property
    def on_cpu(self) -> bool:
        """Whether the graphs compute in the memory and on the cores of this process."""
        return self.provider == CPU

    @property
    def on_cuda(self) -> bool:
        """Whether ONNX Runtime's CUDA provider runs the graphs."""
        return self.provider == CUDA

    @property
    def memory(self) -> Memory:
        """Memory that graphs read and write."""
        if self.on_cuda:
            return Memory("cuda", self._index)
        return Memory("cpu", 0)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that uses the device: on CUDA in the device's thread, see `device_thread`, else directly."""
        thread = self._thread
        return function(*args, **kwargs) if thread is None else thread.call(function, *args, **kwargs)

    def own(self, value: T) -> Owned[T]:
        """A holder of an object that has memory or handles on the device: see `Owned`."""
        return Owned(value, self._thread)

    @property
    def _thread(self) -> DeviceThread | None:
        if self.provider not in (CUDA, TENSORRT):
            return None
        return device_thread(self._index)

    @property
    def _index(self) -> int:
        """Index of the CUDA device."""
        index = str(self.providers[0][1].get("device_id", 0))
        if not index.isdecimal():
            raise ProviderError(f"device_id={shown(index)}; allowed: whole numbers from 0")
        return int(index)

    def session_providers(self, traits: cuda.Traits) -> list[tuple[str, dict[str, Any]]]:
        """Providers with their options for the session of a graph."""
        (name, options), *others = self.providers
        if not self.on_cuda:
            return [(name, options), *others]
        if traits.whole:  # ONNX Runtime adds the CPU itself, and refuses the option where it is listed
            others = [each for each in others if each[0] != CPU]
        return [(name, cuda.provider_options(options, traits)), *others]

    def run_options(self, *, bound: bool = False) -> ort.RunOptions:
        """Options of a run, or of all runs of one set of buffers, `bound` at the same addresses each time."""
        return cuda.run_options(bound=bound) if self.on_cuda else ort.RunOptions()

    def options(
        self, traits: cuda.Traits = cuda.PLAIN, *, keep_memory: bool = True, optimise: bool = True
    ) -> ort.SessionOptions:
        """New session options for a graph of such traits: this project's defaults, then those of the caller.

        `keep_memory` holds on to working memory from call to call; only the CPU has a choice. `optimise` is for graphs
        that were not optimised at export.
        """
        options = ort.SessionOptions()
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3  # errors: the checks of `Graph` cover warnings about placement
        # Each graph has threads of its own, which would keep spinning after its run, in the way of the next graph's
        if _STOP not in self.session_options:
            options.add_session_config_entry(_STOP, "1")
        if self.on_cpu:
            options.enable_mem_pattern = False  # it plans one block per shape on top of the arena: 40% more at the peak
            options.enable_cpu_mem_arena = keep_memory
        if self.on_cuda and traits.whole:
            options.add_session_config_entry(_WHOLE, "1")
        for key, value in self.session_options.items():
            if hasattr(options, key):
                try:
                    setattr(options, key, _as_type_of(getattr(options, key), value))
                except (TypeError, ValueError, KeyError) as error:
                    raise ProviderError(f"session option {key}={value}: {first_line(error)}") from None
            elif "." in key:
                options.add_session_config_entry(key, str(value))
            else:
                attributes = [name for name in dir(options) if not name.startswith("_")]
                raise ProviderError(f"unknown session option {shown(key)}; {nearest(key, attributes)}")
        return options


def open_device(
    device: str | Sequence[Provider] = "auto",
    *,
    session_options: Mapping[str, Any] | None = None,
    provider_options: Mapping[str, Any] | None = None,
) -> Device:
    """The device of that name, tested with a small graph.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `openvino`, `tensorrt`, or a list of ONNX Runtime providers.
        session_options: attributes of `SessionOptions` or session configuration keys, with their values.
        provider_options: options of the first provider; for openvino also `precision`, fp32 or bf16.

    Raises:
        ProviderError: the requested provider cannot run; gives the reason and a remedy.
    """
    settings = dict(session_options or {})
    if not isinstance(device, str):
        return _checked(_from_list(device, settings), provider_options)
    if device == "auto":
        return _best(settings, provider_options)
    return _checked(_from_name(device, settings), provider_options)


def _best(settings: dict[str, Any], provider_options: Mapping[str, Any] | None) -> Device:
    if CUDA in available_providers():
        device = _with_options(_from_name("cuda", settings), provider_options)
        reason = device.call(why_not, *device.providers[0])
        if reason is None:
            return device
        warnings.warn(f"CUDA is not used: {reason}; running on the CPU", PerformanceWarning, stacklevel=3)
        provider_options = None  # they were meant for the device that cannot run
    return _checked(_from_name("cpu", settings), provider_options)


def _from_name(device: str, settings: dict[str, Any]) -> Device:
    name, _, index = device.partition(":")
    if name not in PROVIDERS or (index and (name not in ("cuda", "tensorrt") or not index.isdecimal())):
        raise ProviderError(f"unknown device {shown(device)}; {nearest(device, ['auto', *PROVIDERS, 'cuda:1'])}")
    providers: list[tuple[str, dict[str, Any]]] = [(PROVIDERS[name], {"device_id": int(index)} if index else {})]
    if name == "tensorrt":
        providers.append((CUDA, {"device_id": int(index)} if index else {}))
    if name != "cpu":
        providers.append((CPU, {}))
    return Device(device, tuple(providers), settings)


def _from_list(providers: Sequence[Provider], settings: dict[str, Any]) -> Device:
    if not providers:
        raise ProviderError("the list of providers is empty; allowed: names such as CPUExecutionProvider")
    pairs = [(p, {}) if isinstance(p, str) else (p[0], dict(p[1])) for p in providers]
    for name, _ in pairs:
        if name not in ort.get_all_providers():
            raise ProviderError(f"unknown provider {shown(name)}; {nearest(name, ort.get_all_providers())}")
    return Device(",".join(name for name, _ in pairs), tuple(pairs), settings)


def _with_options(device: Device, provider_options: Mapping[str, Any] | None) -> Device:
    (name, own), *others = device.providers
    options = {**own, **(provider_options or {})}
    first = (name, with_precision(options) if name == OPENVINO else options)
    return Device(device.name, (first, *others), device.session_options)


def _checked(device: Device, provider_options: Mapping[str, Any] | None) -> Device:
    device = _with_options(device, provider_options)
    reason = device.call(why_not, *device.providers[0])
    if reason is None:
        return device
    if wheels := wheels_in_conflict():
        reason += f"; the wheels {' and '.join(wheels)} are installed together and overwrite each other: keep one"
    raise ProviderError(f"device {device.name!r} cannot run here: {reason}")


def _as_type_of(current: Any, value: Any) -> Any:
    """An option's value, which may be text of the command line, in the type of the option."""
    if isinstance(current, bool) and isinstance(value, str):
        return {"1": True, "true": True, "0": False, "false": False}[value.lower()]
    return type(current)(value)
