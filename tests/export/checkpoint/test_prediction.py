"""What single files and the caller state of the prediction decides the package's scheduler."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.support.command_line import refused
from triptych.export.checkpoint import open_checkpoint
from triptych.runtime.errors import SourceError, TriptychWarning
from triptych.runtime.sampling import Sampler

IN = "model.diffusion_model.input_blocks.0.0.weight"
V1: dict[str, tuple[int, ...]] = {IN: (1, 4, 3, 3)}
V2 = V1 | {"model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (1, 1024)}
XL = V1 | {"conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias": (1280,)}
MODELS = {"v1": V1, "v2": V2, "xl": XL}
KEYS: dict[str, tuple[int, ...]] = {"v_pred": (0,), "ztsnr": (0,)}


def write(folder: Path, shapes: dict[str, tuple[int, ...]], **metadata: str) -> Path:
    file = folder / "model.safetensors"
    named = {f"modelspec.{key}": value for key, value in metadata.items()}
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, file, named or None)
    return file


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("epsilon", "epsilon"),
        ("v", "v_prediction"),
        ("V-Prediction", "v_prediction"),
        (" v_pred ", "v_prediction"),
        ("eps", "epsilon"),
    ],
)
def test_metadata_state_it(tmp_path: Path, model: str, stated: str, expected: str) -> None:
    opened = open_checkpoint(write(tmp_path, MODELS[model], prediction_type=stated))
    assert opened.scheduler["prediction_type"] == expected
    assert not opened.scheduler.get("rescale_betas_zero_snr")
    assert opened.details["prediction_type"] == expected


@pytest.mark.parametrize("model", MODELS)
def test_keys_state_it_and_zero_terminal_snr(tmp_path: Path, model: str) -> None:
    scheduler = open_checkpoint(write(tmp_path, MODELS[model] | KEYS)).scheduler
    sampler = Sampler.from_config(scheduler, 20)
    assert sampler.prediction == "v_prediction"
    assert sampler.timesteps[0] == 999, "the run begins where the latents are pure noise"
    assert sampler.noise_levels[0] > 1000
    (tmp_path / "plain").mkdir()
    scheduler = open_checkpoint(write(tmp_path / "plain", MODELS[model] | {"v_pred": (0,)})).scheduler
    assert Sampler.from_config(scheduler, 20).noise_levels[0] < 20


def test_it_tells_models_of_one_shape_apart(tmp_path: Path) -> None:
    file = write(tmp_path, V2)
    with pytest.raises(SourceError, match="or --prediction-type"):
        open_checkpoint(file)
    for option, expected in (("epsilon", "stable-diffusion-2-base"), ("v_prediction", "stable-diffusion-2")):
        assert open_checkpoint(file, prediction_type=option).path.name == expected


def test_the_option_wins_with_a_warning(tmp_path: Path, checkpoint: Path) -> None:
    file = write(tmp_path, XL | KEYS)
    with pytest.warns(TriptychWarning, match=r"model\.safetensors states .* v_prediction; it is exported as epsilon"):
        scheduler = open_checkpoint(file, prediction_type="epsilon").scheduler
    assert scheduler["prediction_type"] == "epsilon"
    assert "rescale_betas_zero_snr" not in scheduler
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_checkpoint(file, prediction_type="v_prediction").scheduler["prediction_type"] == "v_prediction"
        assert open_checkpoint(write(tmp_path, V1), prediction_type="sample").scheduler["prediction_type"] == "sample"
    with pytest.warns(TriptychWarning, match="states that it predicts epsilon"):
        opened = open_checkpoint(checkpoint, prediction_type="v_prediction")
    assert opened.details == {"prediction_type": "v_prediction"}


def test_an_unknown_one_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, XL, prediction_type="flow")
    with pytest.raises(SourceError, match=r"modelspec.prediction_type='flow' is not supported; allowed: epsilon"):
        open_checkpoint(file)
    assert open_checkpoint(file, prediction_type="v_prediction").scheduler["prediction_type"] == "v_prediction"
    with pytest.raises(SourceError, match="continuous noise levels"):
        open_checkpoint(write(tmp_path, XL | {"edm_vpred.sigma_max": (1,)}))


def test_the_command_line_names_what_is_allowed(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused("export", checkpoint, tmp_path / "package", "--prediction-type", "v", capsys=capsys)
    assert line == "error: --prediction-type 'v'; allowed: epsilon, v_prediction, sample"


def edited(checkpoint: Path, folder: Path, **changes: Any) -> Path:
    """The folder as links, with another scheduler configuration; None removes a key."""
    folder.mkdir()
    for entry in checkpoint.iterdir():
        if entry.name != "scheduler":
            (folder / entry.name).symlink_to(entry)
    config = json.loads((checkpoint / "scheduler" / "scheduler_config.json").read_text()) | changes
    (folder / "scheduler").mkdir()
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(kept))
    return folder


def test_a_scheduler_that_the_runtime_lacks_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    folder = edited(checkpoint, tmp_path / "other", solver_order=2)
    index = json.loads((checkpoint / "model_index.json").read_text())
    (folder / "model_index.json").unlink()
    (folder / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", "DPMSolverSDEScheduler"]}))
    with pytest.warns(TriptychWarning, match=r"DPMSolverSDEScheduler is not supported: .* has EulerDiscreteScheduler"):
        scheduler = open_checkpoint(folder).scheduler
    assert scheduler["_class_name"] == "EulerDiscreteScheduler"
    assert scheduler["beta_start"] == 0.00085
    assert "solver_order" not in scheduler


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_schedule": "sigmoid"}, 'beta_schedule="sigmoid" is not supported; allowed: '),
        ({"num_train_timesteps": "x"}, 'num_train_timesteps="x" is not supported'),
        ({"prediction_type": "flow"}, 'prediction_type="flow" is not supported'),
    ],
)
def test_one_that_cannot_run_is_refused_at_once(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message) as error:
        open_checkpoint(edited(checkpoint, tmp_path / "other", **changes))
    assert "scheduler_config.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_class_is_that_of_the_index_as_in_diffusers(checkpoint: Path, tmp_path: Path) -> None:
    folder = edited(checkpoint, tmp_path / "other", _class_name="DDIMScheduler")
    assert open_checkpoint(folder).scheduler["_class_name"] == "PNDMScheduler"
