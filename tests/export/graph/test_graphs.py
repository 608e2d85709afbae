"""The written graphs: names, types, axes, outputs, and contents of the files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx_ir import DataType

from tests.conftest import STATIC
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import components_of
from triptych.export.dialects import dialect_named, graphs_of
from triptych.export.graph import to_onnx
from triptych.export.precision import FP16_FLOOR_DB, FP32_FLOOR_DB
from triptych.export.quiet import quiet

WIDTH, LATENTS, FACTOR = 44, 4, 8
SOUND_FP32_DB = 100.0  # what these tiny models reach with a margin of 10 dB; a wrong epsilon is already below it

TABLE: dict[str, tuple[dict[str, tuple[str, list[Any]]], dict[str, tuple[str, list[Any]]]]] = {
    "text_encoder": (
        {"input_ids": ("int64", ["batch_size", "sequence_length"])},
        {
            "last_hidden_state": ("float", ["batch_size", "sequence_length", WIDTH]),
            "pooler_output": ("float", ["batch_size", WIDTH]),
        },
    ),
    "unet": (
        {
            "sample": ("float", ["batch_size", LATENTS, "height", "width"]),
            "timestep": ("float", []),
            "encoder_hidden_states": ("float", ["batch_size", "sequence_length", WIDTH]),
        },
        {"out_sample": ("float", ["batch_size", LATENTS, "height", "width"])},
    ),
    "vae_decoder": (
        {"latent_sample": ("float", ["batch_size", LATENTS, "latent_height", "latent_width"])},
        {"sample": ("float", ["batch_size", 3, "latent_height * 8", "latent_width * 8"])},
    ),
    "vae_encoder": (
        {"sample": ("float", ["batch_size", 3, "sample_height", "sample_width"])},
        {"latent_parameters": ("float", ["batch_size", 2 * LATENTS, "sample_height // 8", "sample_width // 8"])},
    ),
}


def manifest(package: Path) -> Any:
    return json.loads((package / "triptych.json").read_text())


def session(package: Path, component: str) -> ort.InferenceSession:
    return ort.InferenceSession(str(package / component / "model.onnx"), providers=["CPUExecutionProvider"])


def signature(specs: Any) -> dict[str, tuple[str, list[Any]]]:
    return {spec.name: (spec.type.removeprefix("tensor(").removesuffix(")"), spec.shape) for spec in specs}


@pytest.mark.parametrize("component", TABLE)
def test_names_types_and_axes_are_those_that_optimum_writes(package: Path, component: str) -> None:
    loaded = session(package, component)
    assert (signature(loaded.get_inputs()), signature(loaded.get_outputs())) == TABLE[component]
    recorded = manifest(package)["components"][component]
    for side, expected in zip(("inputs", "outputs"), TABLE[component], strict=True):
        types = {"float": "float32", "int64": "int64"}
        assert recorded[side] == [{"name": n, "dtype": types[t], "shape": s} for n, (t, s) in expected.items()]


def test_fixed_shapes_in_float16(static_package: Path) -> None:
    batch, height, width = STATIC
    rows, columns = height // FACTOR, width // FACTOR
    assert signature(session(static_package, "unet").get_inputs()) == {
        "sample": ("float16", [batch, LATENTS, rows, columns]),
        "timestep": ("float", []),
        "encoder_hidden_states": ("float16", [batch, 77, WIDTH]),
    }
    assert signature(session(static_package, "text_encoder").get_inputs()) == {"input_ids": ("int64", [2, 77])}
    assert signature(session(static_package, "vae_decoder").get_outputs()) == {
        "sample": ("float16", [1, 3, height, width])
    }
    assert signature(session(static_package, "vae_encoder").get_outputs()) == {
        "latent_parameters": ("float16", [1, 2 * LATENTS, rows, columns])
    }


def test_timesteps_are_not_rounded_to_float16(static_package: Path) -> None:
    loaded = session(static_package, "unet")
    inputs = {
        spec.name: np.ones(spec.shape, np.float16 if spec.type == "tensor(float16)" else np.float32)
        for spec in loaded.get_inputs()
    }
    near, far = (loaded.run(None, inputs | {"timestep": np.array(t, np.float32)})[0] for t in (900.0, 900.2))
    assert np.abs(near.astype(np.float32) - far).max() > 0  # float16 has steps of 0.5 here


@pytest.mark.parametrize("name", ["portable", "cuda"])
def test_times_and_sizes_stay_float32_in_float16(xl_checkpoint: Path, name: str) -> None:
    component = components_of(open_checkpoint(xl_checkpoint))["unet"]()
    component = replace(component, module=dialect_named(name).rewrite(component.module).half())
    sizes = component.cases[0]
    with quiet():
        models = [to_onnx(each, torch.float16, sizes) for each in graphs_of(component, sizes).values()]
    inputs = [value for model in models for value in model.graph.inputs]
    types = {value.name: value.dtype.numpy() for value in inputs if value.dtype is not None}
    assert {name: types[name] for name in component.inputs} == {
        "sample": np.float16,
        "timestep": np.float32,
        "encoder_hidden_states": np.float16,
        "text_embeds": np.float16,
        "time_ids": np.float32,
    }
    nodes = [node for model in models for node in model.graph.all_nodes()]
    angles = [node.inputs[0] for node in nodes if node.op_type in ("Sin", "Cos")]
    assert {value.dtype for value in angles if value is not None} == {DataType.FLOAT}


def test_fixed_shapes_leave_no_shape_arithmetic(static_package: Path) -> None:
    assert not {"Shape", "Range"} & manifest(static_package)["components"]["unet"]["operators"].keys()


@pytest.mark.parametrize("component", TABLE)
def test_parity_is_measured_at_several_shapes(package: Path, component: str) -> None:
    parity = manifest(package)["components"][component]["parity"]
    assert parity["floor_db"] == FP32_FLOOR_DB
    assert parity["db"] == min(case["db"] for case in parity["cases"]) > SOUND_FP32_DB
    assert parity["max_abs_error"] == max(case["max_abs_error"] for case in parity["cases"]) > 0
    shapes = [next(iter(case["shapes"].values())) for case in parity["cases"]]
    assert {1, 2} <= {shape[0] for shape in shapes}
    assert component == "text_encoder" or any(shape[2] != shape[3] for shape in shapes)


@pytest.mark.parametrize("component", TABLE)
def test_float16_is_verified_against_float32(static_package: Path, component: str) -> None:
    parity = manifest(static_package)["components"][component]["parity"]
    assert parity["floor_db"] == FP16_FLOOR_DB
    assert FP16_FLOOR_DB < parity["db"] < FP32_FLOOR_DB


@pytest.mark.parametrize(("batch", "height", "width", "tokens"), [(3, 16, 16, 77), (1, 9, 30, 5), (2, 32, 11, 154)])
def test_unet_runs_at_sizes_that_the_export_never_saw(
    checkpoint: Path, package: Path, batch: int, height: int, width: int, tokens: int
) -> None:
    from diffusers import UNet2DConditionModel

    random = np.random.default_rng(batch)
    sample = random.standard_normal((batch, LATENTS, height, width), np.float32)
    context = random.standard_normal((batch, tokens, WIDTH), np.float32)
    (given,) = session(package, "unet").run(
        None, {"sample": sample, "timestep": np.array(321, np.float32), "encoder_hidden_states": context}
    )
    net = UNet2DConditionModel.from_pretrained(checkpoint / "unet", low_cpu_mem_usage=False)
    with torch.no_grad():
        output = net(torch.from_numpy(sample), torch.tensor(321), torch.from_numpy(context)).sample
    np.testing.assert_allclose(given, output.numpy(), atol=2e-5)


def test_decoder_and_encoder_run_at_sizes_that_the_export_never_saw(checkpoint: Path, package: Path) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(checkpoint / "vae", low_cpu_mem_usage=False)
    latents = np.random.default_rng(0).standard_normal((3, LATENTS, 7, 12), np.float32)
    (images,) = session(package, "vae_decoder").run(None, {"latent_sample": latents})
    (moments,) = session(package, "vae_encoder").run(None, {"sample": images})
    with torch.no_grad():
        np.testing.assert_allclose(images, vae.decode(torch.from_numpy(latents)).sample.numpy(), atol=5e-5)
        output = vae.encode(torch.from_numpy(images)).latent_dist.parameters
    np.testing.assert_allclose(moments, output.numpy(), atol=5e-5)


def test_text_encoder_pools_where_the_text_ends(checkpoint: Path, package: Path) -> None:
    ids = np.full((2, 77), 649, np.int64)
    ids[:, 0] = 648
    ids[0, 1:5], ids[1, 1:30] = 17, 23
    states, pooled = session(package, "text_encoder").run(None, {"input_ids": ids})
    np.testing.assert_allclose(pooled, states[[0, 1], [5, 30]])


def test_weights_above_the_limit_lie_beside_the_graph(static_package: Path) -> None:
    component = manifest(static_package)["components"]["unet"]
    assert component["files"].keys() == {"unet/model.onnx", "unet/model.onnx_data"}
    assert component["files"]["unet/model.onnx_data"]["bytes"] > component["parameters"]  # two bytes each, most of them
    assert component["files"]["unet/model.onnx"]["bytes"] < 500_000
    assert manifest(static_package)["components"]["vae_decoder"]["files"].keys() == {"vae_decoder/model.onnx"}


@pytest.mark.parametrize("component", TABLE)
def test_operators_are_counted_from_the_graph_and_are_standard(portable_package: Path, component: str) -> None:
    model = onnx.load(portable_package / component / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    recorded = manifest(portable_package)["components"][component]
    names = [node.op_type for node in model.graph.node]
    assert recorded["operators"] == {name: names.count(name) for name in sorted(set(names))}
    assert recorded["said"] == {}
    assert {entry.domain for entry in model.opset_import} == {""}
    assert recorded["opset"] == model.opset_import[0].version


@pytest.mark.parametrize("component", TABLE)
def test_nothing_of_the_machine_that_exported_is_in_the_graph(package: Path, component: str) -> None:
    model = onnx.load(package / component / "model.onnx")
    for weights in model.graph.initializer:
        weights.ClearField("raw_data")  # three letters in a row are nothing rare in random numbers
    del model.opset_import[:]  # ONNX Runtime names every domain that it knows, one of them org.pytorch.aten
    content = model.SerializeToString()
    for trace in (b"site-packages", b".py", b"stack_trace", b"pkg.torch", str(Path.home()).encode() + b"/"):
        assert trace not in content


def test_macs_are_those_of_convolutions_matrix_products_and_attention(package: Path) -> None:
    components = manifest(package)["components"]
    tokens, layers, inner = 77, 3, 92
    projections, mlp, attention = 4 * WIDTH**2, 2 * WIDTH * inner, 2 * tokens * WIDTH
    assert components["text_encoder"]["macs"] == tokens * layers * (projections + mlp + attention)
    assert components["text_encoder"]["default_shape"] == {"input_ids": [1, tokens]}
    assert components["unet"]["default_shape"]["sample"] == [1, LATENTS, 16, 16]
    assert components["vae_decoder"]["macs"] > components["unet"]["macs"] > 0
