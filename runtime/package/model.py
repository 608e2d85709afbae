"""The facts of a loaded package that a request is planned against."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import ArgumentError
from ..families.conditioning import SAMPLE, SIZES
from ..families.family import Family
from ..ort.session import Tensor
from .defaults import Defaults
from .geometry import LatentGeometry, check_channels, latent_geometry
from .graphs import DECODER, Components
from .package import Package, family_of

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A package's family, inputs and sizes.

    Attributes:
        package: the folder.
        family: of the model.
        inputs: of the denoiser, by name.
        latents: their channels and sizes.
    """

    package: Package
    family: Family
    inputs: Mapping[str, Tensor]
    latents: LatentGeometry

    @classmethod
    def of(cls, package: Package, graphs: Components) -> "Model":
        """Read the facts of an opened package.

        Raises:
            PackageError: a configuration cannot be read or used, or the denoiser is not one of the family.
        """
        family = family_of(package)
        denoiser = graphs.signature(family.denoiser)
        vae, config = package.config(DECODER), package.config(family.denoiser)
        latents = latent_geometry(denoiser, config, vae, family.latents)
        check_channels(latents, family.denoiser, edits=family.image_guidance_scale is not None)
        return cls(package, family, denoiser.inputs, latents)

    @property
    def static(self) -> bool:
        """Whether the graphs take images of one size only."""
        return isinstance(self.inputs[SAMPLE].shape[2], int)

    @property
    def edits(self) -> bool:
        """Whether the model edits an image by instruction, and takes it as extra channels."""
        return self.family.image_guidance_scale is not None

    @property
    def inpaints(self) -> bool:
        """Whether the denoiser takes a mask and the masked image as extra channels."""
        return self.latents.denoiser_channels > self.latents.channels and not self.edits

    @property
    def micro_conditioning(self) -> tuple[str, ...]:
        """Names of the arguments that the denoiser is given as numbers, in order."""
        return self.family.micro_conditioning if SIZES in self.inputs else ()

    @property
    def defaults(self) -> Defaults:
        """The defaults that the package states."""
        return self.package.manifest.defaults

    @property
    def num_inference_steps(self) -> int:
        """Default steps: the package's, else the family's."""
        return _first(self.defaults.num_inference_steps, self.family.num_inference_steps)

    @property
    def guidance_scale(self) -> float:
        """Default guidance scale: the package's, else the family's."""
        return _first(self.defaults.guidance_scale, self.family.guidance_scale)

    @property
    def scheduler(self) -> str:
        """Name of the default scheduler: the package's, else the class in its scheduler_config.json."""
        return _first(self.defaults.scheduler, str(self.package.scheduler_config()["_class_name"]))

    @property
    def size(self) -> tuple[int, int]:
        """Default height and width in pixels: the package's, else those that the denoiser was trained on."""
        height, width = (side * self.latents.factor for side in self.latents.size)
        if self.static:
            return height, width
        return _first(self.defaults.height, height), _first(self.defaults.width, width)

    def scheduler_config(
        self, scheduler: str | None = None, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Configuration of a scheduler for this model; for arguments and errors see `Family.scheduler_config`."""
        return self.family.scheduler_config(self.package.scheduler_config(), scheduler, options)

    def mu(self, config: Mapping[str, Any], height: int, width: int) -> float | None:
        """Shift of a scheduler's schedule for latents of that height and width, see `Latents.mu_for`."""
        patch = self.latents.patch
        return self.family.latents.mu_for(config, (height // patch) * (width // patch))

    def latent_size_for(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width of the latents for an image of that size in pixels; None is the package's own.

        Raises:
            ArgumentError: a side is not a positive multiple of `latents.multiple`, larger than the denoiser has
                positions for, or not that of fixed shapes.
        """
        own_height, own_width = self.size
        return self._side("height", height, own_height), self._side("width", width, own_width)

    def _side(self, name: str, pixels: int | None, own: int) -> int:
        multiple, largest = self.latents.multiple, self.latents.largest
        pixels = own if pixels is None else pixels
        if pixels < 1 or pixels % multiple:
            raise ArgumentError(f"{name}={pixels} must be a positive multiple of {multiple}")
        if largest is not None and pixels > largest * self.latents.factor:
            most = largest * self.latents.factor
            raise ArgumentError(f"{name}={pixels}; allowed: up to {most}, which this model has positions for")
        if self.static and pixels != own:
            raise ArgumentError(f"{name}={pixels}: this package was exported with static shapes, {name}={own} only")
        return pixels // self.latents.factor


def _first(stated: T | None, otherwise: T) -> T:
    return otherwise if stated is None else stated
