"""Requests that are recorded and replayed: every setting of an image occurs in one of them."""

from dataclasses import dataclass, field
from typing import Any

SD, INPAINTING, PIX2PIX = "stable-diffusion", "inpainting", "instruct-pix2pix"
XL, REFINER = "sdxl", "sdxl-refiner"

IMAGE, MASK = "image.png", "mask.png"
"""Files of the folder that a recording runs in; as arguments of a call they stand for the opened images."""

_SMALL: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 3, "seed": 7, "height": 64, "width": 64}


@dataclass(frozen=True)
class Call:
    """Call of `TextToImage`, or of `upscaled` where it has `upscale`, on a package of `tests.support.tiny_package`."""

    arguments: dict[str, Any]
    kind: str = SD
    memory: str = "fast"


@dataclass(frozen=True)
class Post:
    """HTTP request; `body` is JSON, or the fields of a form where there are `files`: field -> file name."""

    path: str
    body: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def _call(kind: str = SD, memory: str = "fast", **arguments: Any) -> Call:
    return Call(_SMALL | arguments, kind, memory)


CALLS = {
    "own size": Call({"prompt": "a red fox", "num_inference_steps": 4, "seed": 7}),
    "several prompts": _call(prompt=["a red fox", "an owl"], negative_prompt=["grey", ""], num_images_per_prompt=2),
    "seeds": _call(prompt=["a fox", "an owl"], seed=[3, 2**64 - 1]),
    "weights and chunks": _call(prompt="a (red:1.4) fox, [blurry] BREAK in the snow (owl)"),
    "guidance list": _call(guidance_scale=[1.0, 4.0, 2.5], scheduler="ddim"),
    "no guidance": _call(guidance_scale=1.0, negative_prompt="an owl"),
    "guidance rescale": _call(guidance_rescale=0.7, guidance_scale=9.0),
    "guidance interval": _call(guidance_interval=[0.28, 5.42], num_inference_steps=6),
    "guidance projection": _call(guidance_projection=[0.0, 15.0, -0.5]),
    "eta": _call(eta=0.5, scheduler="ddim", num_inference_steps=5),
    "timesteps": _call(timesteps=[900, 500, 100], scheduler="dpmpp_2m"),
    "timesteps by name": _call(timesteps="ays_sd15", scheduler="dpmpp_2m"),
    "timesteps of a scheduler without": _call(timesteps=[900, 500, 100]),
    "sigmas": _call(sigmas=[10.0, 3.0, 0.5], scheduler="euler"),
    "scheduler with noise": _call(scheduler="euler_a", num_inference_steps=5),
    "scheduler of several steps": _call(scheduler="dpmpp_2m_sde", num_inference_steps=6),
    "scheduler by class": _call(scheduler="UniPCMultistepScheduler", num_inference_steps=5),
    "scheduler of two stages": _call(scheduler="heun"),
    "CUDA noise": _call(noise="torch_cuda"),
    "NumPy noise": _call(noise="numpy", height=48, width=80),
    "image to image": _call(image=IMAGE, strength=0.6, num_inference_steps=5),
    "image of its own size": Call({"prompt": "an owl", "image": IMAGE, "num_inference_steps": 5, "seed": 1}),
    "mask": _call(image=IMAGE, mask_image=MASK, num_inference_steps=4),
    "mask and strength": _call(image=IMAGE, mask_image=MASK, strength=0.5, scheduler="euler_a", num_inference_steps=6),
    "denoising end": _call(denoising_end=0.6, num_inference_steps=5),
    "denoising start": _call(denoising_start=0.6, image=IMAGE, num_inference_steps=5),
    "upscale": _call(upscale=1.5, strength=0.4, num_inference_steps=5),
    "low memory": _call(memory="low", height=64, width=640),
    "inpainting": _call(INPAINTING, image=IMAGE, mask_image=MASK),
    "inpainting with strength": _call(INPAINTING, image=IMAGE, mask_image=MASK, strength=0.7, num_inference_steps=6),
    "editing": _call(PIX2PIX, image=IMAGE, image_guidance_scale=2.0, guidance_scale=5.0),
    "SDXL": _call(XL),
    "SDXL second prompts": _call(XL, prompt_2="an owl", negative_prompt="grey", negative_prompt_2="snow"),
    "SDXL sizes": _call(XL, original_size=[512, 256], crops_coords_top_left=[8, 32], target_size=[128, 64]),
    "refiner": _call(REFINER, image=IMAGE, aesthetic_score=7.5, negative_aesthetic_score=1.5, num_inference_steps=8),
    "refiner, denoising start": _call(REFINER, image=IMAGE, denoising_start=0.8, num_inference_steps=10),
    "unknown scheduler": _call(scheduler="nope"),
    "size": _call(height=65),
    "negative seed": _call(seed=-1),
    "second prompt of one encoder": _call(prompt_2="an owl"),
    "mask without image": _call(mask_image=MASK),
    "inpainting without image": _call(INPAINTING),
    "eta of a scheduler without": _call(eta=0.5, scheduler="euler"),
}

COMMANDS = {
    "generate": "generate sd 'a red fox' 'an owl' --steps 2 --seed 5 --num 2 --grid --out several --device cpu",
    "own settings": "generate sd --from-image several/an-owl-6.png --out again.png --device cpu",
    "name that is taken": "generate sd 'a red fox' --steps 2 --seed 5 --out several --device cpu",
    "all options": "generate sd 'a (red:1.3) fox' --steps 4 --guidance 1,3,5,2 --guidance-interval 0.1,9 --seed 3"
    " --guidance-rescale 0.5 --negative grey --scheduler ddim --eta 0.25 --width 64 --height 48 --noise numpy"
    " --memory low --out options.png --device cpu",
    "timesteps": "generate sd fox --timesteps 900,500,100 --scheduler dpmpp_2m --seed 1 --out t.png --device cpu",
    "sigmas": "generate sd fox --sigmas ays_sd15 --scheduler euler --seed 1 --out s.png --device cpu",
    "image": "generate sd owl --image image.png --mask mask.png --strength 0.5 --steps 4 --seed 2 --out i.png"
    " --device cpu",
    "upscale": "generate sd owl --upscale 1.5 --strength 0.4 --steps 4 --seed 2 --out u.png --device cpu",
    "walk": "generate sd fox owl --walk 3 --to-seed 9 --steps 2 --seed 2 --width 64 --out walk --device cpu",
    "SDXL": "generate xl fox --prompt-2 owl --negative-2 snow --original-size 512x256 --crop 8x32 --target-size 128x64"
    " --steps 2 --seed 2 --out xl.png --device cpu",
    "refiner": "generate refiner fox --image image.png --aesthetic 7 --negative-aesthetic 2 --steps 5 --seed 2"
    " --out refined.png --device cpu",
    "editing": "generate pix2pix fox --image image.png --image-guidance 2 --steps 2 --seed 2 --out e.png --device cpu",
    "batch": "batch sd jobs.jsonl table --device cpu --batch 3",
    "batch, again": "batch sd jobs.jsonl table --device cpu",
    "batch of CSV": "batch xl jobs.csv csv --device cpu",
    "batch of changed rows": "batch sd changed.jsonl table --device cpu",
    "batch, overwritten": "batch sd changed.jsonl table --device cpu --overwrite",
    "inspect": "inspect sd --json --verify",
    "schedulers": "schedulers ddim euler_a dpmpp_2m --json",
    "no command": "",
    "unknown command": "draw",
    "unknown option": "generate sd fox --nope",
    "no prompt": "generate sd",
    "no package": "generate missing fox",
    "unknown scheduler": "generate sd fox --scheduler nope --device cpu",
    "unknown device": "generate sd fox --device nope",
    "walk of one prompt": "generate sd fox --walk 3 --device cpu",
    "no settings": "generate sd --from-image image.png",
    "no jobs": "batch sd missing.jsonl nowhere",
}
"""Arguments of `triptych` as in a shell, run one after the other.

The folder holds the packages sd, xl, refiner and pix2pix, the files of `JOBS`, and `IMAGE` and `MASK`.
"""

_ROW: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 3, "height": 64, "width": 64}

JOBS: dict[str, list[dict[str, Any]]] = {
    "jobs.jsonl": [
        {"id": "plain", **_ROW},
        {"id": "a/b", **_ROW, "seed": 5, "negative_prompt": "grey", "scheduler": "euler_a"},
        {"id": 12, **_ROW, "guidance_scale": [1, 2, 3, 4], "guidance_rescale": 0.5, "guidance_interval": [0, 9]},
        {"id": "projection", **_ROW, "guidance_projection": [0, 15, -0.5], "noise": "numpy"},
        {"id": "eta", **_ROW, "eta": 0.5, "scheduler": "ddim"},
        {"id": "timesteps", **_ROW, "timesteps": [900, 500, 100], "seed": "3", "scheduler": "dpmpp_2m"},
        {"id": "sigmas", **_ROW, "sigmas": "ays_sd15", "scheduler": "euler"},
        {"id": "image", **_ROW, "image": IMAGE, "mask_image": MASK, "strength": 0.5},
        {"id": "resumed", **_ROW, "image": IMAGE, "denoising_start": 0.5},
        {"id": "stopped", **_ROW, "denoising_end": 0.5},
        {"id": "typed", **_ROW, "seed": "x"},
        {"id": "scheduler", **_ROW, "scheduler": "nope"},
        {"id": "size", **_ROW, "width": 65},
        {"id": "missing", **_ROW, "image": "missing.png"},
        {"id": "no prompt"},
        {"id": "second", **_ROW, "prompt_2": "an owl"},
    ],
    "jobs.csv": [
        {"id": "one", **_ROW, "prompt_2": "an owl", "negative_prompt_2": "", "original_size": "", "seed": "7.0"},
        {"id": "two", **_ROW, "prompt_2": "", "negative_prompt_2": "snow", "original_size": "512,256", "seed": ""},
    ],
    "changed.jsonl": [{"id": "plain", **_ROW}, {"id": "a/b", **_ROW, "seed": 6}, {"id": "new", **_ROW}],
}

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
_BODY: dict[str, Any] = {"prompt": "a red fox", "size": "64x64", "num_inference_steps": 2, "seed": 7}
_FORM: dict[str, Any] = {name: value for name, value in _BODY.items() if name != "size"}

REQUESTS = {
    "generation": Post(GENERATIONS, _BODY),
    "all fields": Post(
        GENERATIONS,
        _BODY
        | {"model": "sd", "n": 2, "negative_prompt": "grey", "guidance_scale": 3.0, "scheduler": "euler_a"}
        | {"response_format": "b64_json", "output_format": "png"},
    ),
    "own size": Post(GENERATIONS, _BODY | {"size": "auto"}),
    "SDXL": Post(GENERATIONS, _BODY | {"model": "xl"}),
    "stream": Post(GENERATIONS, _BODY | {"stream": True, "partial_images": 2, "num_inference_steps": 6}),
    "stream without previews": Post(GENERATIONS, _BODY | {"stream": True}),
    "edit": Post(EDITS, _FORM | {"strength": 0.7}, {"image": IMAGE}),
    "edit with mask": Post(EDITS, _BODY, {"image": IMAGE, "mask": "transparent.png"}),
    "edit, streamed": Post(EDITS, _FORM | {"stream": "true", "partial_images": "1"}, {"image": IMAGE}),
    "no prompt": Post(GENERATIONS, {}),
    "unknown field": Post(GENERATIONS, _BODY | {"styles": "vivid"}),
    "unknown model": Post(GENERATIONS, _BODY | {"model": "nope"}),
    "unknown scheduler": Post(GENERATIONS, _BODY | {"scheduler": "nope"}),
    "too many images": Post(GENERATIONS, _BODY | {"n": 9}),
    "too many steps": Post(GENERATIONS, _BODY | {"num_inference_steps": 999}),
    "too large": Post(GENERATIONS, _BODY | {"size": "4096x4096"}),
    "size": Post(GENERATIONS, _BODY | {"size": "65x64"}),
    "prompt too long": Post(GENERATIONS, _BODY | {"prompt": "fox " * 500}),
    "edit without image": Post(EDITS, _FORM, {"mask": "transparent.png"}),
    "edit with a mask that covers nothing": Post(EDITS, _FORM, {"image": IMAGE, "mask": IMAGE}),
    "edit of text": Post(EDITS, _FORM, {"image": "jobs.jsonl"}),
    "unknown path": Post("/v1/images/variations", _BODY),
}

PATHS = ("/v1/models", "/v1/models/sd", "/v1/models/nope", "/healthz", "/readyz", GENERATIONS)
"""Paths that are read."""
