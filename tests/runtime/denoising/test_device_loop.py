"""The bound loop against the numpy loop, with the same denoiser, on the CPU provider."""

import dataclasses
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.graphs import write_graph
from triptych.runtime import TextToImage
from triptych.runtime.denoising import bound_denoiser as bound_denoiser
from triptych.runtime.denoising.bound_denoiser import BoundDenoiser
from triptych.runtime.denoising.device_loop import BoundLoop
from triptych.runtime.denoising.guidance import Guidance, guided
from triptych.runtime.denoising.mask_blending import KnownRegion, mask_blending
from triptych.runtime.denoising.run import Run
from triptych.runtime.denoising.step_graph import StepGraph
from triptych.runtime.errors import ArgumentError, NumericalError, SamplerError
from triptych.runtime.families.conditioning import EXTRA_CHANNELS, TEXT, Conditioning, denoiser_inputs
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.session import Graph
from triptych.runtime.sampling import Sampler, Step, denoise, with_scheduler
from triptych.runtime.sampling.registry import SCHEDULERS

EQUAL = 1e-5  # of the standard deviation of the noise, 1, or of the latents where theirs is larger
EQUAL_FP16 = 5e-3  # likewise, where the denoiser's input is rounded to 11 bits
STEPS = 5
SIZE = (4, 5, 7)
TOKENS = (3, 2)
SD = {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONFIG = {**SD, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
SHORT_NAMES = [name for scheduler in SCHEDULERS for name in scheduler.short_names]
GUIDANCE = {
    "none": Guidance(1.0),
    "plain": Guidance(4.0),
    "rescaled": Guidance(4.0, rescale=0.7),
    "interval": Guidance(4.0, interval=(0.5, 3.0)),
    "list": Guidance([3.0, 1.0] * 50),
    "projected": Guidance(4.0, projection=(0.1, 2.0, -0.5)),
    "everything": Guidance(4.0, rescale=0.3, interval=(0.1, 5.0), projection=(0.5, 0.0, -0.2)),
}
EDITING = {
    "edited": Guidance(4.0, image_scale=1.5),
    "edited, and everything": dataclasses.replace(GUIDANCE["everything"], image_scale=2.5),
}

CPU = open_device("cpu")


def write_denoiser(
    path: Path,
    *,
    batch: int | str = "batch",
    timestep: tuple[int | str, ...] = (),
    kind: int = TensorProto.FLOAT,
    worst_before: float = -60000.0,
    extra: int = 0,
) -> Path:
    """latents * mean(conditioning) * timestep / 1000 + tanh(latents) / 10, and NaN at timesteps below `worst_before`.

    The noise in Gaussian data of deviation 1, or nearly, so that latents keep about that deviation. The `extra`
    channels follow the latents in the sample; the second term adds their sum.
    """
    channels, *size = SIZE
    nodes = [
        helper.make_node("Split", ["sample", "parts"], ["latents", "others"], axis=1),
        helper.make_node("ReduceSum", ["others", "channel"], ["sum"]),
        helper.make_node("Add", ["latents", "sum"], ["seen"]),
        helper.make_node("ReduceMean", ["encoder_hidden_states", "axes"], ["mean"]),
        helper.make_node("Unsqueeze", ["mean", "last"], ["scale"]),
        helper.make_node("Cast", ["timestep"], ["time"], to=kind),
        helper.make_node("ReduceMean", ["time"], ["now"], keepdims=0),
        helper.make_node("Div", ["now", "last_time"], ["share"]),
        helper.make_node("Mul", ["scale", "share"], ["weight"]),
        helper.make_node("Mul", ["latents", "weight"], ["straight"]),
        helper.make_node("Tanh", ["seen"], ["bent"]),
        helper.make_node("Mul", ["bent", "tenth"], ["small"]),
        helper.make_node("Add", ["straight", "small"], ["finite"]),
        helper.make_node("Less", ["now", "worst"], ["bad"]),
        helper.make_node("Where", ["bad", "nan", "finite"], ["out_sample"]),
    ]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = {
        "parts": np.array([channels, extra]),
        "channel": np.array([1]),
        "axes": np.array([1, 2]),
        "last": np.array([3]),
        "last_time": np.array(1000, dtype),
        "tenth": np.array(0.1, dtype),
        "worst": np.array(worst_before, dtype),
        "nan": np.array(np.nan, dtype),
    }
    made = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in constants.items()
    ]
    return write_graph(
        path,
        made + nodes,
        [
            ("sample", kind, [batch, channels + extra, *size]),
            ("timestep", TensorProto.INT64 if timestep else TensorProto.FLOAT, list(timestep)),
            ("encoder_hidden_states", kind, [batch, *TOKENS]),
        ],
        [("out_sample", kind, [batch, *SIZE])],
    )


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return Graph(write_denoiser(tmp_path_factory.mktemp("denoiser") / "m.onnx"), CPU, "unet")


@pytest.fixture(scope="module")
def loop() -> BoundLoop:
    return BoundLoop(CPU)


def sampler(name: str = "ddim", steps: int = STEPS, **options: Any) -> Sampler:
    return Sampler.from_config({**with_scheduler(CONFIG, name), **options}, num_inference_steps=steps)


def given(batch: int, seed: int = 0, extra: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    positive, negative = (
        random.uniform(low, high, (batch, *TOKENS)).astype(np.float32) for low, high in ((0.9, 1.1), (0.7, 0.9))
    )
    noise = random.standard_normal((batch, *SIZE)).astype(np.float32)
    values: dict[str, Any] = {"positive": {TEXT: positive}, "negative": {TEXT: negative}, "noise": noise}
    if extra:
        for conditioning in (values["positive"], values["negative"]):  # not the same: a row's are its own
            conditioning[EXTRA_CHANNELS] = random.standard_normal((batch, extra, *SIZE[1:])).astype(np.float32)
    return values


def known(batch: int, noise: np.ndarray) -> KnownRegion:
    """An image with a soft mask over about half of it."""
    random = np.random.default_rng(1)
    mask = random.uniform(0, 1, (batch, 1, *SIZE[1:])).astype(np.float32)
    return KnownRegion(mask, random.standard_normal((batch, *SIZE)).astype(np.float32), noise)


def drawing(seed: int = 7) -> Callable[[tuple[int, ...]], np.ndarray]:
    random = np.random.default_rng(seed)
    return lambda shape: random.standard_normal(shape).astype(np.float32)


def on_host(graph: Graph, values: dict[str, Any], guidance: Guidance, sampler: Sampler) -> Iterator[Step]:
    def denoiser(latents: np.ndarray, timestep: float, conditioning: Conditioning) -> np.ndarray:
        inputs = {**denoiser_inputs(latents, conditioning), "timestep": np.asarray(timestep)}
        return graph(inputs)["out_sample"].astype(np.float32)

    predict = guided(denoiser, values["positive"], values["negative"], guidance, sampler)
    blend = mask_blending(values["known"], sampler) if "known" in values else None
    return denoise(predict, values["noise"], sampler, drawing(), after_step=blend)


def bound(
    loop: BoundLoop, graph: Graph, values: dict[str, Any], guidance: Guidance, sampler: Sampler
) -> Iterator[Step]:
    return loop.denoise(graph, Run(guidance=guidance, sampler=sampler, draw=drawing(), **values))


def for_calls(guidance: Guidance, sampler: Sampler) -> Guidance:
    """The guidance with a scale for each call."""
    if not isinstance(guidance.scale, list):
        return guidance
    return Guidance(guidance.scale[: len(sampler)])


def compare(
    loop: BoundLoop,
    graph: Graph,
    guidance: Guidance,
    sampler: Sampler,
    batch: int,
    equal: float = EQUAL,
    values: dict[str, Any] | None = None,
) -> None:
    values, guidance = given(batch) if values is None else values, for_calls(guidance, sampler)
    for theirs, ours in zip(
        on_host(graph, values, guidance, sampler), bound(loop, graph, values, guidance, sampler), strict=True
    ):
        assert (ours.index, ours.total, ours.timestep) == (theirs.index, theirs.total, theirs.timestep)
        size = max(1.0, theirs.latents.std())
        np.testing.assert_allclose(ours.latents, theirs.latents, rtol=0, atol=equal * size)
        # x0 is what is left of terms that are many times as large where the latents are almost noise
        terms = np.abs(theirs._to_denoised).sum()
        np.testing.assert_allclose(ours.denoised, theirs.denoised, rtol=0, atol=equal * size * terms)


@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("name", SHORT_NAMES)
def test_every_sampler_and_guidance_is_that_of_the_numpy_loop(
    loop: BoundLoop, graph: Graph, name: str, guidance: str
) -> None:
    compare(loop, graph, GUIDANCE[guidance], sampler(name), batch=2)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("name", ["ddim", "euler_a", "unipc"])
def test_batches(loop: BoundLoop, graph: Graph, name: str, batch: int) -> None:
    compare(loop, graph, Guidance(4.0), sampler(name), batch)


@pytest.mark.parametrize("name", [name for name in SHORT_NAMES if name != "pndm"])
def test_history_that_never_was_does_not_count(loop: BoundLoop, graph: Graph, name: str) -> None:
    compare(loop, graph, Guidance(4.0), sampler(name, 2), 1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (name, options)
        for name in ("ddim", "ddpm", "dpmpp_2m", "lcm", "unipc")
        for options in (
            {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9},
            {"thresholding": True, "dynamic_thresholding_ratio": 1.0},
            {"thresholding": True, "sample_max_value": 0.5, "dynamic_thresholding_ratio": 0.0},
            {"clip_sample": True, "clip_sample_range": 0.7},
        )
        if "clip_sample" not in options or name in ("ddim", "ddpm", "lcm")
    ],
)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_limits_on_x0(loop: BoundLoop, graph: Graph, name: str, options: dict[str, Any], prediction: str) -> None:
    own = sampler(name, prediction_type=prediction, **options)
    assert own.limit is not None
    compare(loop, graph, Guidance(3.0), own, batch=2)


@pytest.mark.parametrize("timestep", [(), (1,), ("batch",)])
@pytest.mark.parametrize("batch", [1, 3])
def test_input_types_of_the_denoiser(tmp_path: Path, loop: BoundLoop, timestep: tuple, batch: int) -> None:
    graph = Graph(write_denoiser(tmp_path / "m.onnx", timestep=timestep), CPU, "unet")
    compare(loop, graph, Guidance(4.0, interval=(0.5, 3.0)), sampler("dpmpp_2m"), batch)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_fixed_batch_runs_in_pieces(tmp_path: Path, batch: int) -> None:
    graph = Graph(write_denoiser(tmp_path / "m.onnx", batch=2), CPU, "unet")
    compare(BoundLoop(CPU), graph, Guidance(4.0, interval=(0.5, 3.0)), sampler(), batch)


@pytest.mark.parametrize("guidance", ["none", "interval", "everything"])
@pytest.mark.parametrize("name", ["ddim", "unipc", "euler_a", "heun", "lcm"])
def test_the_known_region_is_restored(loop: BoundLoop, graph: Graph, name: str, guidance: str) -> None:
    values = given(2)
    values["known"] = known(2, values["noise"])
    compare(loop, graph, GUIDANCE[guidance], sampler(name), 2, values=values)
    (*_, last) = bound(loop, graph, values, GUIDANCE[guidance], sampler(name))
    whole = values["known"]._replace(mask=np.zeros_like(values["known"].mask))
    (*_, untouched) = bound(loop, graph, {**values, "known": whole}, GUIDANCE[guidance], sampler(name))
    np.testing.assert_array_equal(untouched.latents, whole.image_latents)
    assert np.abs(last.latents - whole.image_latents).max() > 0.1


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("batch", ["batch", 2])
@pytest.mark.parametrize("guidance", ["none", "interval", *EDITING])
def test_extra_channels(tmp_path: Path, kind: int, batch: int | str, guidance: str) -> None:
    graph = Graph(write_denoiser(tmp_path / "m.onnx", extra=5, kind=kind, batch=batch), CPU, "unet")
    equal = EQUAL if kind == TensorProto.FLOAT else EQUAL_FP16
    loop = BoundLoop(CPU)
    for seed in range(2):  # the second run finds the buffers of the first
        values = given(3, seed, extra=5)
        compare(loop, graph, (GUIDANCE | EDITING)[guidance], sampler("dpmpp_2m"), 3, equal, values)
    with pytest.raises(ArgumentError, match=r"unet takes sample of shape \[\w+, 9, 5, 7\], not \[\d, 4, 5, 7\]"):
        next(bound(loop, graph, given(3), Guidance(4.0), sampler()))


def test_a_denoiser_in_half_precision_has_latents_in_single_precision(tmp_path: Path) -> None:
    graph = Graph(write_denoiser(tmp_path / "m.onnx", kind=TensorProto.FLOAT16), CPU, "unet")
    compare(BoundLoop(CPU), graph, Guidance(4.0), sampler("dpmpp_2m"), 2, EQUAL_FP16)
    for step in bound(BoundLoop(CPU), graph, given(1), Guidance(4.0), sampler()):
        assert step.latents.dtype == np.float32
    assert np.abs(step.latents - step.latents.astype(np.float16)).max() > 0


def test_without_a_negative_there_is_no_guidance(loop: BoundLoop, graph: Graph) -> None:
    values = {**given(2), "negative": None}
    for theirs, ours in zip(
        on_host(graph, values, Guidance(4.0), sampler()),
        bound(loop, graph, values, Guidance(4.0), sampler()),
        strict=True,
    ):
        np.testing.assert_allclose(ours.latents, theirs.latents, atol=EQUAL)


class Traffic:
    """Counter of copies to the host, and of values created or written from the host."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.read = self.written = self.bound = 0
        numpy, update, put = ort.OrtValue.numpy, ort.OrtValue.update_inplace, ort.OrtValue.ortvalue_from_numpy

        def reading(value: ort.OrtValue) -> Any:
            self.read += 1
            return numpy(value)

        def updating(value: ort.OrtValue, array: np.ndarray) -> None:
            self.written += 1
            update(value, array)

        def putting(*arguments: Any) -> ort.OrtValue:
            self.written += 1
            return put(*arguments)

        def binding(name: str) -> Callable[..., None]:
            original = getattr(bound_denoiser, name)

            def bind(*arguments: Any) -> None:
                self.bound += 1
                original(*arguments)

            return bind

        patch.setattr(ort.OrtValue, "numpy", reading)
        patch.setattr(ort.OrtValue, "update_inplace", updating)
        patch.setattr(ort.OrtValue, "ortvalue_from_numpy", staticmethod(putting))
        for name in ("bind_input", "bind_output"):
            patch.setattr(bound_denoiser, name, binding(name))


@pytest.mark.parametrize("name", ["ddim", "unipc", "euler_a"])
@pytest.mark.parametrize("guidance", ["none", "interval", "projected"])
@pytest.mark.parametrize("inpainting", ["no", "blended", "channels"])
def test_only_requested_arrays_are_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, graph: Graph, name: str, guidance: str, inpainting: str
) -> None:
    values = given(2)
    if inpainting == "blended":
        values["known"] = known(2, values["noise"])
    if inpainting == "channels":
        values = given(2, extra=5)
        graph = Graph(write_denoiser(tmp_path / "m.onnx", extra=5), CPU, "unet")
    traffic = Traffic(monkeypatch)
    steps = bound(BoundLoop(CPU), graph, values, GUIDANCE[guidance], sampler(name, 20))
    first = next(steps)
    written, bound_once = traffic.written, traffic.bound
    assert traffic.read == 0
    (*_, last) = steps
    assert traffic.read == 1, "the number that shows that everything was finite"
    assert traffic.written == written, "nothing is copied to the device once the loop runs"
    assert traffic.bound == bound_once, "the denoiser reads and writes where it did at the first step"
    assert first.latents is not None
    assert last.latents.shape == (2, *SIZE)
    assert traffic.read == 3


def test_the_denoiser_reads_and_writes_at_the_same_addresses(
    monkeypatch: pytest.MonkeyPatch, loop: BoundLoop, graph: Graph
) -> None:
    addresses: set[tuple[int, ...]] = set()
    run = BoundDenoiser.run

    def watched(denoiser: BoundDenoiser) -> None:
        views = (denoiser.sample, denoiser.inputs.time, denoiser.output)
        addresses.add(tuple(view.whole.data_ptr() + view.offset for view in views))
        run(denoiser)

    monkeypatch.setattr(BoundDenoiser, "run", watched)
    for _ in range(2):
        for step in bound(loop, graph, given(2), Guidance(4.0), sampler("unipc", 9)):
            _ = step.latents
    assert len(addresses) == 1


def test_steps_keep_their_values(loop: BoundLoop, graph: Graph) -> None:
    steps = list(bound(loop, graph, given(2), Guidance(4.0), sampler("unipc")))
    for theirs, ours in zip(on_host(graph, given(2), Guidance(4.0), sampler("unipc")), steps, strict=True):
        np.testing.assert_allclose(ours.latents, theirs.latents, atol=EQUAL)
        np.testing.assert_allclose(ours.denoised, theirs.denoised, atol=EQUAL)


def test_latents_that_were_read_cannot_be_written_into(loop: BoundLoop, graph: Graph) -> None:
    step = next(bound(loop, graph, given(1), Guidance(4.0), sampler()))
    with pytest.raises(ValueError, match="read-only"):
        step.latents[:] = 0


def test_nothing_runs_before_the_first_request_or_after_the_caller_stops(
    monkeypatch: pytest.MonkeyPatch, graph: Graph
) -> None:
    loop, calls, run = BoundLoop(CPU), [], BoundDenoiser.run

    def counting(denoiser: BoundDenoiser) -> None:
        calls.append(denoiser)
        run(denoiser)

    monkeypatch.setattr(BoundDenoiser, "run", counting)
    steps = bound(loop, graph, given(1), Guidance(4.0), sampler())
    assert calls == []
    next(steps)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert len(calls) == 2
    compare(loop, graph, Guidance(4.0), sampler(), 1)  # what the caller left has not spoiled the buffers


def test_runs_at_the_same_time_do_not_meet(loop: BoundLoop, graph: Graph) -> None:
    alone = [[s.latents for s in bound(loop, graph, given(2, k), Guidance(4.0), sampler("unipc"))] for k in range(3)]
    together = zip(*(bound(loop, graph, given(2, k), Guidance(4.0), sampler("unipc")) for k in range(3)), strict=True)
    for i, steps in enumerate(together):
        for k, step in enumerate(steps):
            np.testing.assert_array_equal(step.latents, alone[k][i])

    def final(seed: int) -> np.ndarray:
        (*_, last) = bound(loop, graph, given(2, seed), Guidance(4.0), sampler("unipc"))
        return last.latents

    with ThreadPoolExecutor(3) as threads:
        for k, latents in enumerate(threads.map(final, range(3))):
            np.testing.assert_array_equal(latents, alone[k][-1])


@pytest.mark.parametrize("options", [{}, {"clip_sample": True}], ids=["plain", "clipped"])
def test_an_output_that_is_not_finite_names_the_first_such_step(tmp_path: Path, options: dict[str, Any]) -> None:
    own = sampler("ddim", **options)
    graph = Graph(write_denoiser(tmp_path / "m.onnx", worst_before=own.timesteps[3]), CPU, "unet")
    with pytest.raises(NumericalError, match=r"unet gave NaN or infinity at step 5 of 5; .*--precision fp32"):
        list(bound(BoundLoop(CPU), graph, given(1), Guidance(4.0), own))


def test_unsupported_arguments_are_refused_before_anything_runs(loop: BoundLoop, graph: Graph) -> None:
    with pytest.raises(SamplerError, match="draws noise"):
        loop.denoise(graph, Run(guidance=Guidance(4.0), sampler=sampler("euler_a"), **given(1)))
    with pytest.raises(ArgumentError, match="needs one for each"):
        loop.denoise(graph, Run(guidance=Guidance([4.0, 3.0]), sampler=sampler(), **given(1)))
    long = {TEXT: np.zeros((1, 9, 2), np.float32)}
    values = {**given(1), "positive": long, "negative": long}
    with pytest.raises(ArgumentError, match=r"unet takes encoder_hidden_states of shape \[batch, 3, 2\], not"):
        next(loop.denoise(graph, Run(guidance=Guidance(4.0), sampler=sampler(), **values)))


@pytest.mark.parametrize("inpainting", [False, True])
@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize(
    ("name", "limit"),
    [("ddim", {}), ("unipc", {}), ("euler_a", {}), ("pndm", {}), ("ddim", {"clip_sample": True})]
    + [(name, {"thresholding": True}) for name in ("ddpm", "unipc")],
)
def test_step_graphs_are_standard_onnx(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    graph: Graph,
    name: str,
    guidance: str,
    limit: dict[str, bool],
    inpainting: bool,
) -> None:
    values = given(2)
    if inpainting:  # both ways at once
        values = given(2, extra=5)
        values["known"] = known(2, values["noise"])
        graph = Graph(write_denoiser(tmp_path / "m.onnx", extra=5), CPU, "unet")
    models, to_bytes = [], StepGraph.to_bytes

    def watched(step: StepGraph) -> bytes:
        models.append(to_bytes(step))
        return models[-1]

    monkeypatch.setattr(StepGraph, "to_bytes", watched)
    own = sampler(name, **limit)
    list(bound(BoundLoop(CPU), graph, values, for_calls(GUIDANCE[guidance], own), own))
    assert 1 <= len(models) <= 4
    for content in models:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""}
        assert max(entry.version for entry in model.opset_import) <= 20


@pytest.mark.parametrize("scheduler", ["pndm", "dpmpp_2m", "euler_a"])
def test_whole_images_are_those_of_the_numpy_loop(package: Path, scheduler: str) -> None:
    numpys, bounds = (TextToImage.load(package, device="cpu") for _ in range(2))
    bounds._bound = True
    arguments: dict[str, Any] = {
        "num_inference_steps": 5,
        "seed": 3,
        "num_images_per_prompt": 2,
        "scheduler": scheduler,
    }
    theirs, ours = (pipe("a red fox", **arguments) for pipe in (numpys, bounds))
    np.testing.assert_allclose(ours.latents, theirs.latents, atol=1e-4 * theirs.latents.std())
    assert ours.timings.keys() == theirs.timings.keys()
    parts = sum(seconds for name, seconds in ours.timings.items() if name != "total")
    assert 0 < ours.timings["unet"] < parts <= ours.timings["total"]


def test_buffers_go_at_once_when_the_graph_goes(tmp_path: Path) -> None:
    graph = Graph(write_denoiser(tmp_path / "m.onnx"), CPU, "unet")
    loops: weakref.WeakKeyDictionary[Graph, BoundLoop] = weakref.WeakKeyDictionary({graph: BoundLoop(CPU)})
    list(bound(loops[graph], graph, given(1), Guidance(4.0), sampler()))
    gone = weakref.ref(graph.session)
    del graph
    assert gone() is None
