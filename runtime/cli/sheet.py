"""Contact sheets: images by prompt, scheduler, guidance scale and seed, along one or two axes."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..request import Request

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..image.settings import Settings

_AXES = ("prompts", "schedulers", "guidance scales", "images of a prompt")


@dataclass(frozen=True)
class Sheet:
    """The images of a command, in the order in which they are generated: that of the fields, the last one fastest.

    Attributes:
        prompts: one or more.
        schedulers: by name, None for that of the arguments.
        scales: of guidance, None for that of the arguments.
        images: number of images of each prompt.
    """

    prompts: Sequence[str]
    schedulers: Sequence[str | None] = (None,)
    scales: Sequence[float | None] = (None,)
    images: int = 1

    @classmethod
    def of(cls, prompts: Sequence[str], arguments: Mapping[str, Any], *, grid: bool) -> "Sheet":
        """The images of a command's arguments.

        Args:
            prompts: of the command.
            arguments: of `Request`; with `grid`, comma-separated schedulers and guidance scales are an axis.
            grid: the command writes a contact sheet.

        Raises:
            ArgumentError: more than two axes, or several schedulers without a contact sheet.
        """
        scheduler, scale = arguments.get("scheduler"), arguments.get("guidance_scale")
        schedulers: Sequence[str | None] = (None,)
        if scheduler is not None and "," in scheduler:
            if not grid:
                raise ArgumentError(f"--scheduler {scheduler}: several schedulers are compared with --grid; add it")
            schedulers = [name.strip() for name in scheduler.split(",")]
            if "" in schedulers:
                raise ArgumentError(f"--scheduler {scheduler}: a name is missing between commas")
        scales = scale if grid and isinstance(scale, list) else (None,)
        sheet = cls(prompts, schedulers, scales, arguments.get("num_images_per_prompt", 1))
        if grid and len(sheet._long_axes()) > 2:
            several = " and ".join(_AXES[axis] for axis in sheet._long_axes())
            raise ArgumentError(f"--grid has two axes; several {several} are {len(sheet._long_axes())}")
        return sheet

    def requests(self, arguments: Mapping[str, Any]) -> list[Request]:
        """The requests of all images but those of the same prompt, which are one request.

        Args:
            arguments: see `of`.
        """
        cells = itertools.product(self.prompts, self.schedulers, self.scales)
        return [
            Request(
                prompt,
                **{
                    **arguments,
                    **({} if scheduler is None else {"scheduler": scheduler}),
                    **({} if scale is None else {"guidance_scale": scale}),
                },
            )
            for prompt, scheduler, scale in cells
        ]

    def details(self) -> list[str]:
        """Words for file names that distinguish the images of each request from those of others, "" for none."""
        cells = itertools.product(self.prompts, self.schedulers, self.scales)
        return [
            " ".join([*([] if name is None else [name]), *([] if scale is None else [f"{scale:g}"])])
            for _, name, scale in cells
        ]

    def draw(self, images: "Sequence[Image]", settings: "Sequence[Settings]") -> "Image":
        """The contact sheet.

        Args:
            images: in their order.
            settings: of each image.
        """
        from ..image.pixels import contact_sheet

        labels = (
            list(self.prompts),
            [str(name) for name in self.schedulers],
            [f"guidance {scale:g}" for scale in self.scales if scale is not None],
            [_seed(each) for each in settings[: self.images]],
        )
        axes = self._long_axes()
        rows = axes[0] if len(axes) == 2 else 0
        columns = axes[-1] if axes and axes[-1] != rows else 3
        return contact_sheet(images, len(labels[columns]), row_labels=labels[rows], column_labels=labels[columns])

    def _long_axes(self) -> list[int]:
        """The axes with several values."""
        lengths = len(self.prompts), len(self.schedulers), len(self.scales), self.images
        return [axis for axis, length in enumerate(lengths) if length > 1]


def _seed(settings: "Settings") -> str:
    variation = "" if settings.variation_seed is None else f", variation {settings.variation_seed}"
    return f"seed {settings.seed}{variation}"
