"""Image files: every format, damaged ones, and limits that are not Pillow's."""

import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.images import example_image
from triptych.runtime.errors import ArgumentError
from triptych.runtime.image import files
from triptych.runtime.image.files import FORMATS, decode_image, read_image
from triptych.runtime.image.modes import to_alpha, to_rgb

SIDEWAYS = Image.Exif()
SIDEWAYS[0x112] = 6  # orientation: to be turned to the right


def encoded(name: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    example_image(24, 16).convert(mode).save(file, name, **options)
    return file.getvalue()


FILES = {
    **{name: encoded(name) for name in FORMATS},
    "JPEG of a phone": encoded("JPEG", exif=SIDEWAYS),
    "progressive JPEG": encoded("JPEG", progressive=True),
    "JPEG in CMYK": encoded("JPEG", "CMYK"),
    "PNG with alpha": encoded("PNG", "RGBA"),
    "PNG with a palette": encoded("PNG", "P", transparency=3),
    "PNG with EXIF": encoded("PNG", exif=SIDEWAYS),
    "animated PNG": encoded("PNG", save_all=True, append_images=[example_image(24, 16, 1)]),
    "animated GIF": encoded("GIF", save_all=True, append_images=[example_image(24, 16, 1)]),
    "WebP with alpha": encoded("WEBP", "RGBA", lossless=True),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_image_that_pillow_reads(name: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(FILES[name])
    with Image.open(path) as image:
        expected = image.convert("RGB")
    for given_path in (path, str(path)):
        read = read_image(given_path)
        assert read.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(read), np.asarray(expected))


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(FILES["animated PNG"])
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), np.asarray(example_image(24, 16)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(name=st.sampled_from(sorted(FILES)), changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255))),
       end=st.integers(0, 1 << 16))  # fmt: skip
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_file_is_an_image_or_an_argument_error(name: str, changes: list[tuple[int, int]], end: int) -> None:
    content = bytearray(FILES[name])
    for place, value in changes:
        content[place % len(content)] = value
    if end % 4 == 0:
        del content[end % len(content) :]
    with suppress(ArgumentError):
        image = decode_image(bytes(content), "a.png", 1 << 20)
        assert to_rgb(image, "a.png").mode == "RGB"
        to_alpha(image, "a.png")


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("too deep"), ValueError("two\nlines"), Image.DecompressionBombError("big")]
)
def test_whatever_a_decoder_raises_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(content: bytes) -> None:
        raise error

    monkeypatch.setattr(files, "_opened", broken)
    with pytest.raises(ArgumentError, match=r"^a.png cannot be read as an image: [^\n]+; allowed: PNG, JPEG"):
        decode_image(b"", "a.png")


@pytest.mark.parametrize("limit", [1, None, 1 << 40])
def test_the_limit_of_pixels_is_not_that_of_pillow(limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked before decoding: this file has no pixels at all."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    header = bytearray(FILES["BMP"][:54])
    header[18:26] = (8192).to_bytes(4, "little") + (8193).to_bytes(4, "little")
    with pytest.raises(ArgumentError, match=r"a.bmp is 8192x8193 pixels; allowed: 67108864 pixels"):
        decode_image(bytes(header), "a.bmp")
    assert decode_image(FILES["BMP"], "a.bmp").size == (24, 16)
    assert limit == Image.MAX_IMAGE_PIXELS


def _written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "image.png does not exist"),
        (Path.mkdir, "image.png is a folder; allowed: a regular file"),
        (os.mkfifo, "image.png is a pipe; allowed: a regular file"),
        (_written(b""), "image.png cannot be read as an image: it has another format; allowed: PNG"),
        (_written(b"no image"), "image.png cannot be read as an image: it has another format; allowed: PNG"),
        (_written(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "it has another format; allowed: PNG"),
        (_written(encoded("TIFF")), "it has another format; allowed: PNG, JPEG, WEBP, GIF, BMP, PPM, AVIF"),
        (_written(FILES["JPEG"][:400]), "image.png cannot be read as an image: "),
        (_written(bytes(1 << 21)), "image.png has 2097152 bytes; allowed: 1048576"),
    ],
    ids=["missing", "folder", "pipe", "empty", "text", "EPS", "TIFF", "cut off", "too large"],
)
def test_files_that_are_no_images_are_one_line(
    make: Callable[[Path], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    make(tmp_path / "image.png")
    with pytest.raises(ArgumentError) as caught:
        read_image(tmp_path / "image.png")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
