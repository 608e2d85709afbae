"""What differs between model families: a few values and small functions each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import PackageError, nearest
from .package import Package
from .sampling import defaults, with_scheduler


@dataclass(frozen=True)
class Family:
    """A family of text-to-image models.

    `pipelines` are the `_class_name`s in model_index.json that belong to it; `conditioning` names the output of the
    text encoder that the latent generator attends to.
    """

    name: str
    pipelines: tuple[str, ...]
    text_encoders: tuple[str, ...]
    generator: str
    conditioning: str

    def scheduler_config(self, config: Mapping[str, Any], scheduler: str | None) -> dict[str, Any]:
        """The package's scheduler configuration, or another scheduler's, as diffusers' pipeline would run it.

        StableDiffusionPipeline mends two options of early checkpoints when it is loaded, defaults included; a scheduler
        put in its place takes over what the configuration says, mended, but not what it leaves to defaults. The
        package's own class by name is the package's own scheduler.
        """
        said = {**defaults(config), **config}
        mended: dict[str, Any] = {}
        if said.get("steps_offset", 1) != 1:
            mended["steps_offset"] = 1
        if said.get("clip_sample") is True:
            mended["clip_sample"] = False
        if scheduler in (None, config.get("_class_name")):
            return {**config, **mended}
        return with_scheduler({name: mended.get(name, value) for name, value in config.items()}, scheduler)

    def embeddings(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The conditioning, float32 [n, tokens, width], out of the text encoder's outputs."""
        return outputs[self.conditioning].astype(np.float32, copy=False)


STABLE_DIFFUSION = Family(
    name="stable-diffusion-1",
    pipelines=("StableDiffusionPipeline", "OnnxStableDiffusionPipeline", "ORTStableDiffusionPipeline"),
    text_encoders=("text_encoder",),
    generator="unet",
    conditioning="last_hidden_state",
)

FAMILIES = (STABLE_DIFFUSION,)


def family_of(package: Package) -> Family:
    """The family that a package belongs to, by the `_class_name` of its model_index.json.

    Raises:
        PackageError: it belongs to none that is supported.
    """
    class_name = str(package.model_index.get("_class_name"))
    for family in FAMILIES:
        if class_name in family.pipelines:
            return family
    supported = [name for family in FAMILIES for name in family.pipelines]
    raise PackageError(f"{package.path} is a {class_name}, which is not supported; {nearest(class_name, supported)}")
