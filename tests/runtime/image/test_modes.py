"""Images of any mode, and arrays, as RGB."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from tests.support.images import example_image
from triptych.runtime.errors import ArgumentError
from triptych.runtime.image.inputs import images_of
from triptych.runtime.image.modes import from_array, to_alpha, to_rgb

IMAGE = example_image(24, 16)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "RGBX", "LA", "PA", "CMYK", "YCbCr", "HSV"])
def test_opaque_images_are_those_that_pillow_converts(mode: str) -> None:
    image = IMAGE.convert("L").convert(mode) if mode == "PA" else IMAGE.convert(mode)
    converted = to_rgb(image, "image")
    assert converted.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(converted), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBa", "La"])
def test_premultiplied_alpha_is_divided_out(mode: str) -> None:
    straight = Image.new({"RGBa": "RGBA", "La": "LA"}[mode], (4, 4), (200, 100, 50, 128)[: 4 if mode == "RGBa" else 1])
    straight.putalpha(128)
    image = straight.convert(mode)
    np.testing.assert_allclose(
        np.asarray(to_rgb(image, "image")).astype(int), np.asarray(straight.convert("RGB")), atol=2
    )
    alpha = to_alpha(image, "image")
    assert alpha is not None
    assert alpha.getextrema() == (128, 128)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_ignored_as_in_diffusers(mode: str) -> None:
    image = IMAGE.convert(mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    np.testing.assert_array_equal(
        np.asarray(to_rgb(image, "image")), np.asarray(IMAGE.convert(mode[:-1]).convert("RGB"))
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("transparency", [IMAGE.convert("P").getpixel((0, 0)), bytes(range(256))])
def test_a_transparent_colour_of_a_palette_is_ignored(transparency: object) -> None:
    image = IMAGE.convert("P")
    expected = np.asarray(image.convert("RGB"))
    image.info["transparency"] = transparency
    np.testing.assert_array_equal(np.asarray(to_rgb(image, "image")), expected)
    assert image.info["transparency"] == transparency
    alpha = to_alpha(image, "image")
    assert alpha is not None
    assert np.asarray(alpha).min() < 255


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_16_bits_are_scaled(mode: str) -> None:
    values = np.array([[0, 128, 129, 257, 32767, 32768, 65535]], {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode])
    image = Image.frombytes(mode, (values.size, 1), values.tobytes())
    np.testing.assert_array_equal(np.asarray(to_rgb(image, "image"))[0, :, 0], [0, 0, 1, 1, 127, 128, 255])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("F", (4, 4)), "image has pixels of floating point; allowed: whole numbers of 1 to 16 bits"),
        (Image.new("I", (4, 4), 65536), "image has pixels from 65536 to 65536; allowed: 0 to 65535"),
        (Image.new("I", (4, 4), -1), "image has pixels from -1 to -1; allowed: 0 to 65535"),
    ],
)
def test_pixels_of_unknown_range_are_refused(image: Image.Image, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        to_rgb(image, "image")


@pytest.mark.parametrize(("orientation", "turn"), TURNS.items())
def test_the_orientation_is_applied_once(orientation: int, turn: Image.Transpose) -> None:
    image = IMAGE.copy()
    exif = Image.Exif()
    exif[0x112] = orientation
    image.info["exif"] = exif.tobytes()
    upright = to_rgb(image, "image")
    np.testing.assert_array_equal(np.asarray(upright), np.asarray(IMAGE.transpose(turn)))
    np.testing.assert_array_equal(np.asarray(to_rgb(upright, "image")), np.asarray(upright))
    assert image.size == IMAGE.size, "the image of the caller is not changed"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(exif=st.binary(max_size=100))
def test_malformed_exif_data_is_no_reason_to_refuse(exif: bytes) -> None:
    image = IMAGE.copy()
    image.info["exif"] = b"Exif\0\0MM\0*" + exif
    assert sorted(to_rgb(image, "image").size) == sorted(IMAGE.size)


def test_an_image_that_was_closed_is_one_line(tmp_path: Any) -> None:
    IMAGE.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        pass
    with pytest.raises(ArgumentError, match=r"^image has pixels that cannot be used, of mode RGB: [^\n]+$"):
        to_rgb(image, "image")


@given(
    array=arrays(
        st.sampled_from([np.uint8, np.bool_, np.int64, np.complex64]), array_shapes(min_side=0, max_dims=4, max_side=5)
    )
)
def test_arrays_of_8_bits_are_images_and_others_one_line(array: np.ndarray) -> None:
    image_like = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype == np.uint8 and image_like and array.size:
        image = to_rgb(from_array(array, "image"), "image")
        colours = array.reshape(*array.shape[:2], -1)[..., :3]
        np.testing.assert_array_equal(np.asarray(image), np.broadcast_to(colours, (*array.shape[:2], 3)))
    else:
        with pytest.raises(ArgumentError, match=r"^image is an array [^\n]+$"):
            from_array(array, "image")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 1), (4, 16, 4)])
def test_floats_from_0_to_1_are_images(dtype: type, shape: tuple[int, ...]) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(shape)
    image = from_array((pixels / 255).astype(dtype), "image")
    np.testing.assert_array_equal(np.asarray(image), np.asarray(from_array(pixels, "image")))


@pytest.mark.parametrize(("value", "values"), [(-0.5, "-0.5 to 1"), (1.5, "1 to 1.5"), (255.0, "1 to 255")])
def test_floats_outside_of_0_to_1_are_refused(value: float, values: str) -> None:
    array = np.ones((4, 4, 3), np.float32)
    array[0, 0, 0] = value
    with pytest.raises(ArgumentError) as raised:
        from_array(array, "mask_image")
    assert str(raised.value) == f"mask_image is an array float32 with values from {values}; allowed: 0 to 1"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floats_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ArgumentError, match=r"^image is an array float32 with values from [^\n]+; allowed: 0 to 1$"):
        from_array(np.full((4, 4), value, np.float32), "image")


def test_files_pillow_images_and_arrays_are_one_image(tmp_path: Any) -> None:
    IMAGE.save(tmp_path / "a.png")
    pixels = np.asarray(IMAGE)
    for given_image in (tmp_path / "a.png", str(tmp_path / "a.png"), IMAGE, pixels):
        (image,) = images_of("image", given_image, 1, 1)
        np.testing.assert_array_equal(np.asarray(image), pixels)
    assert len(images_of("image", tmp_path / "a.png", 2, 3)) == 6
    assert len(images_of("image", [tmp_path / "a.png", IMAGE], 2, 3)) == 6
    with pytest.raises(ArgumentError, match="image must be the name of a file, a Pillow image or an array, not bytes"):
        images_of("image", b"a.png", 1, 1)
