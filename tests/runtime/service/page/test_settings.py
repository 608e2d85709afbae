"""The page's modules for settings: of image files that Triptych and others wrote, and of URLs."""

import dataclasses
import io
import json
import random
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.runtime.image.pixels import to_image
from triptych.runtime.image.settings import Settings
from triptych.runtime.sampling.registry import find
from triptych.runtime.service.http.schema import Edit, Generation

pytest.importorskip("playwright")

from playwright.sync_api import Page

from tests.support.modules import encoded, evaluate
from tests.support.settings import SETTINGS as PLAIN

READ = """
const { readImageSettings } = await import("/page/settings/image_settings.js");
return Promise.all(argument.map((each) => readImageSettings(blobOf(each))));
"""
SETTINGS = dataclasses.replace(
    PLAIN,
    guidance_rescale=0.7,
    timesteps=[999.0, 500.5],
    original_size=[512, 768],
    scheduler_options={"use_karras_sigmas": True, "solver_order": 2},
    variation_seed=3,
    variation_strength=0.25,
)
PARAMETERS = """a fox, (red:1.2)
by a river, Steps: many
Negative prompt: blurry,
low quality
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, \
Model hash: 6ce0161689, Model: v1-5, Denoising strength: 0.7, Clip skip: 2, RNG: CPU, \
Lora hashes: "fox: a1, river: b2, \\"quoted\\": c3", Hashes: {"vae": "d4", "model": "6c"}, Hires upscale: 2, \
Version: v1.10.1"""
EXPECTED = {
    "source": "a1111",
    "values": {
        "prompt": "a fox, (red:1.2)\nby a river, Steps: many",
        "negative_prompt": "blurry,\nlow quality",
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "seed": "18446744073709551615",
        "size": "512x768",
        "model": "v1-5",
        "strength": 0.7,
        "noise": "torch",
        "upscale": 2,
        "scheduler": "DPM++ 2M Karras",
    },
    "unknown": [
        "Clip skip: 2",
        'Lora hashes: fox: a1, river: b2, "quoted": c3',
        'Hashes: {"vae": "d4", "model": "6c"}',
    ],
    "modelHash": "6ce0161689",
}


def pixels() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def own_png(settings: Settings = SETTINGS) -> bytes:
    return saved(to_image(np.asarray(pixels()), settings))


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def with_chunk(kind: bytes, content: bytes, *, last: bool = False) -> bytes:
    """A PNG with one more chunk, before or after the pixels."""
    png = saved(pixels())
    place = png.index(b"IEND") - 4 if last else 33
    return png[:place] + chunk(kind, content) + png[place:]


def tiff(comment: bytes, *, little: bool = False) -> bytes:
    """EXIF with one tag in the first directory and UserComment in the second."""
    order: Any = "little" if little else "big"

    def number(value: int, length: int) -> bytes:
        return value.to_bytes(length, order)

    def directory(tag: int, kind: int, count: int, value: int) -> bytes:
        entry = number(tag, 2) + number(kind, 2) + number(count, 4) + number(value, 4)
        return number(1, 2) + entry + number(0, 4)

    start = (b"II" if little else b"MM") + number(42, 2) + number(8, 4)
    return start + directory(0x8769, 4, 1, 26) + directory(0x9286, 7, len(comment), 44) + comment


def a1111_files(text: str) -> dict[str, bytes]:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", text)
    exif = b"Exif\0\0" + tiff(b"UNICODE\0" + text.encode("utf-16-be"))
    native = b"Exif\0\0" + tiff(b"UNICODE\0" + text.encode("utf-16-le"), little=True)
    pillow = Image.Exif()
    pillow.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    plain = b"Exif\0\0" + tiff(b"ASCII\0\0\0" + text.encode())
    raw, packed = text.encode("latin-1", "replace"), zlib.compress(text.encode())
    return {
        "PNG of Pillow": saved(pixels(), pnginfo=info),
        "tEXt after the pixels": with_chunk(b"tEXt", b"parameters\0" + raw, last=True),
        "zTXt": with_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(raw)),
        "iTXt": with_chunk(b"iTXt", b"parameters\0\0\0en\0p\0" + text.encode()),
        "compressed iTXt": with_chunk(b"iTXt", b"parameters\0\1\0\0\0" + packed),
        "JPEG": saved(pixels(), "JPEG", exif=exif),
        "WebP": saved(pixels(), "WEBP", exif=exif),
        "lossless WebP": saved(pixels(), "WEBP", exif=exif, lossless=True),
        "EXIF of Pillow": saved(pixels(), "JPEG", exif=pillow),
        "little-endian JPEG": saved(pixels(), "JPEG", exif=native),
        "little-endian WebP": saved(pixels(), "WEBP", exif=native),
        "ASCII": saved(pixels(), "JPEG", exif=plain),
    }


def read(shared: Page, *files: bytes) -> Any:
    return evaluate(shared, READ, [encoded(file) for file in files])


def test_settings_of_triptych_are_fields_of_the_api(shared: Page) -> None:
    [found] = read(shared, own_png())
    values = found["values"]
    assert (found["source"], found["unknown"], found["modelHash"]) == ("triptych", [], "0123456789ab")
    assert (values.pop("size"), values.pop("seed")) == ("24x16", str(2**64 - 1))
    expected = {name: value for name, value in dataclasses.asdict(SETTINGS).items() if value is not None}
    for name in ("width", "height", "seed", "precision", "version", "model_hash"):
        del expected[name]
    assert values == expected
    Generation.model_validate({**values, "size": "24x16", "seed": 2**64 - 1})


def test_every_field_of_settings_is_a_field_of_the_api(shared: Page) -> None:
    fields = evaluate(shared, "return Object.keys((await import('/page/settings/fields.js')).FIELDS)")
    assert set(fields) <= {*Generation.model_fields, *Edit.model_fields}
    recorded = {field.name for field in dataclasses.fields(Settings)}
    about = {"width", "height", "model_hash", "precision", "version", "denoising_start", "denoising_end"}
    assert recorded - about <= set(fields)


@pytest.mark.parametrize("seed", [0, 7, 2**53 - 1, 2**53, 2**53 + 1, 2**64 - 1, None])
def test_seeds_keep_their_digits(shared: Page, seed: int | None) -> None:
    prompt = 'a "quoted" 9999999999999999999 \\ "seed": 9007199254740993'
    [found] = read(shared, own_png(dataclasses.replace(SETTINGS, seed=seed, prompt=prompt)))
    value = found["values"].get("seed")
    assert found["values"]["prompt"] == prompt
    assert value == (seed if seed is None or seed < 2**53 else str(seed))


def test_values_that_a_request_does_not_allow_are_named(shared: Page) -> None:
    content = json.loads(SETTINGS.to_json()) | {"guidance_scale": 1e9, "later": 1, "seed": 2**64, "denoising_end": 0.5}
    [found] = read(shared, with_chunk(b"iTXt", b"triptych\0\0\0\0\0" + json.dumps(content).encode()))
    assert sorted(found["unknown"]) == ["denoising_end", "guidance_scale", "later", "seed"]
    assert found["values"]["num_inference_steps"] == 20


def test_text_of_a1111_in_every_kind_of_file(shared: Page) -> None:
    files = a1111_files(PARAMETERS)
    for name, found in zip(files, read(shared, *files.values()), strict=True):
        assert found == EXPECTED, name


def test_text_of_a1111_in_other_scripts(shared: Page) -> None:
    text = PARAMETERS.replace("a fox", "赤い狐が川のほとりにいる、とても美しい 🦊")
    prompt = EXPECTED["values"]["prompt"].replace("a fox", "赤い狐が川のほとりにいる、とても美しい 🦊")  # type: ignore[index]
    files = {name: file for name, file in a1111_files(text).items() if not name.startswith(("tEXt", "zTXt"))}
    for name, found in zip(files, read(shared, *files.values()), strict=True):
        assert found["values"]["prompt"] == prompt, name


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected", "unknown"),
    [
        ("DPM++ 2M Karras", "", "DPM++ 2M Karras", []),
        ("DPM++ 2M Karras", "Karras", "DPM++ 2M Karras", []),
        ("Euler a", "Automatic", "Euler a", []),
        ("DPM++ 2M SDE", "Exponential", "DPM++ 2M SDE Exponential", []),
        ("Euler", "SGM Uniform", "Euler SGM Uniform", []),
        ("Euler", "Beta", "Euler Beta", []),
        ("DDIM", "Uniform", "DDIM", []),
        ("DPM++ SDE", "Karras", "DPM++ SDE Karras", []),
        ("Heun", "Align Your Steps", "Heun", ["Schedule type: Align Your Steps"]),
    ],
)
def test_sampler_and_schedule_type_are_a_scheduler_that_triptych_finds(
    shared: Page, sampler: str, schedule: str, expected: str, unknown: list[str]
) -> None:
    line = f"Steps: 4, Sampler: {sampler}, " + (f"Schedule type: {schedule}, " if schedule else "") + "Seed: 1"
    [found] = read(shared, with_chunk(b"tEXt", f"parameters\0fox\n{line}".encode()))
    assert (found["values"]["scheduler"], found["unknown"]) == (expected, unknown)
    find(expected)


def test_text_of_civitai(shared: Page) -> None:
    line = (
        "Steps: 30, CFG scale: 7, Sampler: Euler a, Seed: 12, Size: 832x1216, Created Date: 2024-05-01T12:00:00.1Z, "
        'Civitai resources: [{"type":"checkpoint","air":"a, b"},{"weight":0.8}], Civitai metadata: {}'
    )
    [found] = read(shared, with_chunk(b"tEXt", f"parameters\0fox\n{line}".encode()))
    assert found["values"] == {
        "prompt": "fox",
        "num_inference_steps": 30,
        "guidance_scale": 7,
        "scheduler": "Euler a",
        "seed": 12,
        "size": "832x1216",
    }
    assert found["unknown"] == [
        "Created Date: 2024-05-01T12:00:00.1Z",
        'Civitai resources: [{"type":"checkpoint","air":"a, b"},{"weight":0.8}]',
        "Civitai metadata: {}",
    ]


def test_own_parameters_text_is_read_when_the_own_json_is_gone(shared: Page) -> None:
    settings = dataclasses.replace(SETTINGS, guidance_scale=[7.5, 1.0, 3.0])
    [found] = read(shared, with_chunk(b"iTXt", b"parameters\0\0\0\0\0" + settings.to_parameters().encode()))
    assert found["values"] == {
        "prompt": SETTINGS.prompt,
        "negative_prompt": "blurry",
        "num_inference_steps": 20,
        "scheduler": "DDIMScheduler",
        "guidance_scale": [7.5, 1.0, 3.0],
        "variation_seed": 3,
        "variation_strength": 0.25,
        "seed": str(2**64 - 1),
        "size": "24x16",
        "model": "sd15",
    }


def test_damaged_files_are_read_or_have_no_settings(shared: Page) -> None:
    """Cut and altered files of every kind, and no files at all: never an error, never a wait."""
    chance = random.Random(0)
    good = [own_png(), *a1111_files(PARAMETERS).values()]
    files = [b"", b"\x89PNG\r\n\x1a\n", b"RIFF", b"\xff\xd8", b"\xff\xd8\xff\xe1", b"GIF89a", bytes(100)]
    for _ in range(600):
        file = bytearray(chance.choice(good))
        for _ in range(chance.choice([0, 1, 5, 50])):
            file[chance.randrange(min(len(file), 900))] = chance.randrange(256)
        files.append(bytes(file[: chance.choice([len(file), chance.randrange(len(file))])]))
    for found in read(shared, *files):
        assert found is None or found["source"] in ("triptych", "a1111")
        assert found is None or isinstance(found["values"], dict)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        "{}",
        '{"prompt": 3}',
        '{"__proto__": {"prompt": "x"}}',
        "[" * 500_000 + "]" * 500_000,
        '"' + '\\"' * 400_000,
        '{"prompt": "' + '\\"' * 300_000,
    ],
    ids=range(10),
)
def test_json_that_is_no_settings_is_none(shared: Page, text: str) -> None:
    assert read(shared, with_chunk(b"tEXt", b"triptych\0" + text.encode())) == [None]


@pytest.mark.parametrize(
    "text",
    [
        "only a prompt",
        "Steps: ",
        "fox\nSteps: 3" + ", a: [" * 100_000,
        'fox\nSteps: 3, a: "' + "\\" * 300_000,
        "fox\nSteps: 3" + ", " * 300_000,
        "fox\n" * 200_000 + "Steps: 1, Seed: -1, Size: axb, CFG scale: , Model: " + "m" * 1000,
    ],
    ids=range(6),
)
def test_text_of_nobody_is_read_in_one_pass(shared: Page, text: str) -> None:
    [found] = read(shared, with_chunk(b"tEXt", b"parameters\0" + text.encode()))
    assert found is None or (len(found["unknown"]) <= 50 and all(len(each) <= 200 for each in found["unknown"]))
    assert found is None or set(found["values"]) <= {"prompt", "num_inference_steps"}


def test_what_decompresses_to_too_much_is_left(shared: Page) -> None:
    bomb = zlib.compress(bytes(50_000_000))
    files = [with_chunk(b"zTXt", b"parameters\0\0" + bomb), with_chunk(b"iTXt", b"triptych\0\1\0\0\0" + bomb)]
    assert read(shared, *files, with_chunk(b"zTXt", b"parameters\0\0no zlib")) == [None, None, None]
