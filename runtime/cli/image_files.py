"""Image files of the command line: their names, and writing them whole or not at all."""

import errno
import itertools
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING
from zlib import crc32

import numpy as np

from ..errors import ArgumentError, TriptychWarning, system_reason

if TYPE_CHECKING:
    from PIL.Image import Image  # Pillow is slow to import, and not needed before there are images

    from ..image.settings import Settings

SLUG_LENGTH = 40
"""Characters of the prompt in a file's name."""
QUALITY = 90
"""Quality of a JPEG by default."""
_JPEG = (".jpg", ".jpeg")
_IMAGES = (".png", *_JPEG)
_OTHER_IMAGES = (".avif", ".bmp", ".gif", ".heic", ".jxl", ".ppm", ".svg", ".tif", ".tiff", ".webp")
_TEMPORARY = ".tmp"


@dataclass(frozen=True)
class Files:
    """The files that a command writes. No file is replaced, unless `force` is set.

    Attributes:
        out: a folder for PNGs, or a file name that ends in .png, .jpg or .jpeg.
        latents: a file name that ends in .npy, or None.
        grid: also write a contact sheet.
        force: replace files that exist.
        quality: of JPEGs, 1 to 100; None is `QUALITY`.
    """

    out: Path
    latents: Path | None = None
    grid: bool = False
    force: bool = False
    quality: int | None = None
    _written: set[Path] = field(default_factory=set)

    @property
    def is_file(self) -> bool:
        """Whether `out` is the name of a file."""
        return self.out.suffix.lower() in _IMAGES

    def check(self, images: int) -> None:
        """Raise an error for paths that cannot be written, before anything is computed.

        Args:
            images: number of images that will be written.

        Raises:
            ArgumentError: a path cannot be written, or exists; the message names it.
        """
        if self.out.suffix.lower() in _OTHER_IMAGES and not self.out.is_dir():
            raise ArgumentError(f"--out {self.out}; allowed: a folder, or a name that ends in {', '.join(_IMAGES)}")
        if self.quality is not None and self.out.suffix.lower() not in _JPEG:
            raise ArgumentError(f"--quality {self.quality} is for JPEGs; give --out a name that ends in .jpg")
        _check_writable("--out", self.out, self.out.parent if self.is_file else self.out)
        if self.is_file and images == 1:
            self._check_free("--out", self.out)
        if self.latents is not None:
            _check_writable("--save-latents", self.latents, self.latents.parent)
            self._check_free("--save-latents", self.latents)

    def name_of(self, prompt: str, seed: int | None, *, several: bool, detail: str = "") -> Path:
        """The file of an image: `out` if it is the only one of a file name, else a new name.

        Args:
            prompt: words for the name.
            seed: of the image, None for none.
            several: more images than this one are written.
            detail: more words for the name.
        """
        if self.is_file and not several:
            return self.out
        parts = [_slug(prompt), *([] if seed is None else [str(seed)]), *([_slug(detail, dots=True)] if detail else [])]
        folder, suffix = self.out, ".png"
        if self.is_file:
            folder, suffix, parts = self.out.parent, self.out.suffix, [self.out.stem, *parts]
        stem = "-".join(parts)
        names = itertools.chain([f"{stem}{suffix}"], (f"{stem}-{n}{suffix}" for n in itertools.count(2)))
        return next(folder / name for name in names if self._is_free(folder / name))

    def save(self, image: "Image", path: Path, settings: "Settings | None" = None) -> Path:
        """Write an image, with its settings in a PNG's text or a JPEG's EXIF data."""
        self._written.add(path)
        if path.suffix.lower() not in _JPEG:
            return write(path, lambda file: image.save(file, format="PNG"))
        from ..image.exif import exif_of

        exif = None if settings is None else exif_of(settings)
        if settings is not None and exif is None:
            text = f"{path}: the settings are longer than a JPEG has room for, and are left out; a PNG has them"
            warnings.warn(text, TriptychWarning, stacklevel=2)
        quality = QUALITY if self.quality is None else self.quality
        # Colours at full resolution: edges between them are what halving it blurs
        return write(path, lambda file: image.save(file, "JPEG", quality=quality, subsampling=0, exif=exif or b""))

    def save_latents(self, latents: np.ndarray, path: Path) -> Path:
        """Write latents as a .npy file."""
        return write(path, lambda file: np.save(file, latents))

    def _check_free(self, option: str, path: Path) -> None:
        if path.exists() and not self.force:
            raise ArgumentError(f"{option} {path} exists; give another name, or --force to replace it")

    def _is_free(self, path: Path) -> bool:
        return path not in self._written and (self.force or not path.exists())


def _slug(text: str, *, dots: bool = False) -> str:
    return re.sub(r"[^\w.]+" if dots else r"\W+", "-", text.lower())[:SLUG_LENGTH].strip("-") or "image"


def _check_writable(option: str, path: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if path != folder and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that the file system cannot encode
        raise ArgumentError(f"{option} {path}: cannot write there: {system_reason(error)}") from None


def write(path: Path, content: Callable[[IO[bytes]], object]) -> Path:
    """Write a file atomically: under a temporary name, then renamed."""
    prefix = f".{crc32(os.fsencode(path.name)):08x}."  # short, whatever the length of the name
    temporary = path.with_name(f"{prefix}{os.getpid()}{_TEMPORARY}")
    try:
        _clear(path.parent, prefix)
        with temporary.open("wb") as file:
            content(file)
        os.replace(temporary, path)
    except BaseException as error:  # an interruption, too, leaves nothing half written
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError | UnicodeError):
            raise
        raise ArgumentError(f"{path} cannot be written: {system_reason(error)}") from None
    return path


def _clear(folder: Path, prefix: str) -> None:
    """Delete the temporary files of processes that were killed."""
    for file in folder.glob(f"{prefix}*{_TEMPORARY}"):
        process = file.name.removeprefix(prefix).removesuffix(_TEMPORARY)
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (ValueError, OverflowError, OSError):  # not of this command, or of another user
            continue
