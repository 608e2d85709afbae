"""Engine for many machines: Ray Data with a pool of actors, each of which loads the package."""

import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..environment import defaults
from ..errors import ArgumentError, TriptychError, system_reason
from ..pipeline import TextToImage
from .generate import GeneratedImage, generate, reason_of
from .rows import Row
from .run import Engine

# Ray reads these when it is imported, and when it starts: no usage statistics, and no log but in its files. Values that
# the caller has set stay.
_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}

with defaults(_VARIABLES):
    import ray
    import ray.data
    from ray.exceptions import RayError

_BLOCKS = 10_000  # recommended limit of Ray Data; a block runs again when its actor dies
_REACH_SECONDS = 10.0
_RETRIES = 3  # of a block whose actor died, as one image may kill every actor


class Worker:
    """Actor that loads a package and generates the images of units of rows."""

    def __init__(self, package: Path, load: Mapping[str, Any], folder: Path) -> None:
        self._folder = folder
        try:
            self._pipe = TextToImage.load(package, **load)
        except Exception as error:  # Ray would retry forever, so the error is returned as a row without an id
            self._error: Exception | None = error
        else:
            self._error = None

    def __call__(self, units: dict[str, np.ndarray]) -> Iterator[dict[str, list[Any]]]:
        """Yield the columns of `GeneratedImage` for each image when it is finished."""
        if self._error is not None:
            yield {name: [value] for name, value in asdict(GeneratedImage("", None, reason_of(self._error))).items()}
            return
        for unit in units["item"]:
            for image in generate(self._pipe, [Row(**row) for row in json.loads(unit)], self._folder):
                yield {name: [value] for name, value in asdict(image).items()}


def on_ray(
    package: Path,
    load: Mapping[str, Any],
    folder: Path,
    report: Callable[[str], None] = lambda line: None,
    *,
    address: str | None = None,
    cpus_per_actor: int | None = None,
) -> Engine:
    """Engine of a Ray cluster, whose machines have the package and the files under the same paths as this one.

    Args:
        package, load, folder, report: see `run.here`.
        address: of the cluster; None starts one on this machine for this process.
        cpus_per_actor: None means one GPU for each actor, or, without GPUs, all CPUs of a machine.
    """

    def engine(units: Sequence[list[Row]]) -> Iterator[GeneratedImage]:
        _check_reachable(address)
        with defaults(_VARIABLES):
            _connect(address)
        restore = _quiet_data()
        try:
            resources, actors = _pool(str(load.get("device", "auto")), cpus_per_actor)
            report(f"{package} on Ray: {actors} actor{'s' if actors > 1 else ''} of {_resources_text(resources)} each")
            options = dict(load)
            if "num_gpus" not in resources:
                threads = {"intra_op_num_threads": resources["num_cpus"]}
                options["session_options"] = threads | dict(load.get("session_options") or {})
            items = [json.dumps([asdict(row) for row in unit]) for unit in units]
            images = ray.data.from_items(items, override_num_blocks=min(len(items), _BLOCKS)).map_batches(
                Worker,
                batch_size=1,
                concurrency=actors,
                fn_constructor_args=(package.absolute(), options, folder.absolute()),
                max_restarts=-1,
                max_task_retries=_RETRIES,
                **resources,
            )
            for record in images.iter_rows():
                if not record["id"]:
                    raise TriptychError(f"an actor cannot load {package}: {record['reason']}")
                yield GeneratedImage(**record)
        except RayError as error:
            raise TriptychError(f"Ray: {_cause(error)}") from error
        finally:
            restore()
            ray.shutdown()

    return engine


def _connect(address: str | None) -> None:
    # a cluster that is started here accepts connections from this machine alone
    options: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if address is None else {}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (RayError, ConnectionError, ValueError, RuntimeError) as error:
        raise TriptychError(f"--address {address}: no Ray cluster is reached there: {error}") from None


def _quiet_data() -> Callable[[], None]:
    """Turn off the progress bars and the log of Ray Data; return a function that restores them."""
    context, log = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    bars, level = context.enable_progress_bars, log.level
    context.enable_progress_bars = False
    log.setLevel(logging.ERROR)

    def restore() -> None:
        context.enable_progress_bars = bars
        log.setLevel(level)

    return restore


def _check_reachable(address: str | None) -> None:
    """Check that HOST:PORT accepts connections, as Ray waits forever for a machine that does not answer.

    Raises:
        ArgumentError: nothing answers at HOST:PORT. Other forms of address are left to Ray.
    """
    host, colon, port = (address or "").rpartition(":")
    if not (colon and port.isdecimal()) or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), _REACH_SECONDS).close()
    except OSError as error:
        raise ArgumentError(f"--address {address}: no Ray cluster answers there: {system_reason(error)}") from None


def _pool(device: str, cpus_per_actor: int | None) -> tuple[dict[str, Any], int]:
    """Resources of an actor, and the number of actors for which the cluster has room."""
    machines = [
        node["Resources"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    gpus = 0 if device == "cpu" else int(sum(machine.get("GPU", 0) for machine in machines))
    if gpus and cpus_per_actor is None:
        return {"num_gpus": 1}, gpus
    cpus = [int(machine.get("CPU", 0)) for machine in machines if machine.get("CPU", 0) >= 1]
    if not cpus:
        raise ArgumentError("the Ray cluster has neither CPUs nor GPUs")
    each = min(cpus) if cpus_per_actor is None else cpus_per_actor
    actors = sum(count // each for count in cpus)
    if actors == 0:
        raise ArgumentError(
            f"--cpus-per-actor {each}: no machine of the cluster has as many; the largest has {max(cpus)}"
        )
    return {"num_cpus": each}, actors


def _resources_text(resources: Mapping[str, Any]) -> str:
    ((name, count),) = resources.items()
    return f"{count} {name.removeprefix('num_')[:3].upper()}{'s' if count > 1 else ''}"


def _cause(error: BaseException) -> str:
    """Last line of an error of Ray, which has the reason; tracebacks stand above it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
