"""Score a checkpoint or an ONNX package: ``python models/emoji/train/evaluate.py SOURCE --json FILE``.

The model card describes the figures, and recognise.py the search for the nearest emoji.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import captions
import data
import images
import torch
from captions import Concept
from painters import Painter, open_painter
from PIL import Image
from recognise import Gallery, background_name, foreground
from torch import Tensor

from triptych.export.verification.image_quality import record

WORK = Path(__file__).with_name("work")
BATCH = 32
SEED = 1000  # first seed of the scored images: seeds are never those of training
OPEN_WORDS = ("dog", "cat", "flower", "face", "heart", "bird", "fruit", "car")
OPEN_SEEDS = 8
MOST_COLOURED = 200  # pairs of concept and coloured background in each set


@dataclass(frozen=True)
class Query:
    """A prompt, and the subject and background that its image must show."""

    prompt: str
    accepted: frozenset[int]  # concepts, any of which is right
    background: int  # into images.BACKGROUND_NAMES
    seed: int


def paint_all(painter: Painter, queries: list[Query]) -> Tensor:
    """Images of all queries, [queries, 3, 64, 64] in 0..1."""
    parts = []
    for start in range(0, len(queries), BATCH):
        part = queries[start : start + BATCH]
        parts.append(painter([q.prompt for q in part], [q.seed for q in part]))
        print(f"{start + len(part)}/{len(queries)}", end="\r", flush=True)
    return torch.cat(parts)


def score(gallery: Gallery, painted: Tensor, queries: list[Query]) -> dict[str, object]:
    """Shares of images with the requested subject (top 1, top 5), the requested background, and both."""
    shown = foreground(painted)
    ranked, distance = gallery.rank(shown)
    first = torch.tensor([int(r[0]) in q.accepted for r, q in zip(ranked, queries, strict=True)])
    five = torch.tensor([bool(q.accepted & set(r.tolist())) for r, q in zip(ranked, queries, strict=True)])
    background = background_name(shown.background) == torch.tensor([q.background for q in queries])
    return {
        "pictures": len(queries),
        "top1": _share(first),
        "top5": _share(five),
        "background": _share(background),
        "top1_and_background": _share(first & background),
        "nearest_psnr_db": round(float((-10 * distance[:, 0].clamp(min=1e-6).log10()).median()), 2),
    }


def _share(right: Tensor) -> float:
    return round(float(right.float().mean()), 4)


def _recorded(scores: dict[str, Any]) -> dict[str, Any]:
    """Entry of a package's manifest for a set: number of images, and the share with right subject and background."""
    return {"pictures": scores["pictures"], "right": scores["top1_and_background"]}


def named_queries(concepts: list[Concept], seeds: int) -> list[Query]:
    """Every concept by its name alone."""
    meanings = captions.meanings(concepts)
    return [
        Query(concept.names[0], frozenset(meanings[concept.names[0]]), 0, SEED + seed)
        for seed in range(seeds)
        for concept in concepts
    ]


def coloured_queries(concepts: list[Concept], held_out: bool) -> list[Query]:
    """Concepts on coloured backgrounds: of the pairs held out of training, or of those in training."""
    meanings, rng = captions.meanings(concepts), random.Random(SEED)
    queries: list[Query] = []
    for concept in concepts:
        names = [n for n in images.BACKGROUND_NAMES[1:] if captions.held_out(concept, n) == held_out]
        for name in names if held_out else [rng.choice(names)]:
            prompt = f"{concept.names[0]} on a {name} background"
            background = images.BACKGROUND_NAMES.index(name)
            queries.append(Query(prompt, frozenset(meanings[concept.names[0]]), background, SEED + len(queries)))
    return rng.sample(queries, min(len(queries), MOST_COLOURED))


def open_word_scores(painter: Painter, gallery: Gallery, concepts: list[Concept]) -> dict[str, dict[str, float]]:
    """Difference between seeds, and number of emoji shown, for words with many meanings."""
    meanings, result = captions.meanings(concepts), {}
    for word in OPEN_WORDS:
        accepted = frozenset(meanings[word])
        painted = paint_all(painter, [Query(word, accepted, 0, SEED + seed) for seed in range(OPEN_SEEDS)])
        ranked, _ = gallery.rank(foreground(painted))
        shown = set(ranked[:, 0].tolist())
        pairs = torch.pdist(painted.flatten(1)).square() / painted[0].numel()
        result[word] = {
            "emoji_of_this_name": len(accepted),
            "different_emoji_shown": len(shown & accepted),
            "right": _share(torch.tensor([int(r) in accepted for r in ranked[:, 0]])),
            "mean_pairwise_psnr_db": round(float((-10 * pairs.log10()).mean()), 2),
        }
    return result


def seed_psnr(painted: Tensor, count: int) -> float:
    """Median PSNR in dB between two seeds of one prompt: ``painted`` has ``count`` prompts twice."""
    error = (painted[:count] - painted[count : 2 * count]).square().mean(dim=(1, 2, 3))
    return round(float((-10 * error.log10()).median()), 2)


def wrong_with_both_seeds(gallery: Gallery, painted: Tensor, queries: list[Query]) -> list[str]:
    """Prompts of which neither image shows the subject; ``queries`` has all prompts twice."""
    ranked, _ = gallery.rank(foreground(painted))
    wrong = [int(r[0]) not in q.accepted for r, q in zip(ranked, queries, strict=True)]
    half = len(queries) // 2
    return [q.prompt for q, first, second in zip(queries, wrong[:half], wrong[half:], strict=False) if first and second]


def vae_psnr(source: Path, sprites: Tensor) -> dict[str, float]:
    """Mean PSNR in dB of all emoji coded and decoded: upright on white, and posed on random backgrounds."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(source / "vae", low_cpu_mem_usage=False).float()
    generator = torch.Generator().manual_seed(SEED)
    parts: dict[str, list[Tensor]] = {"upright_on_white_db": [], "posed_on_colours_db": []}
    for batch in sprites.split(BATCH):
        count = len(batch)
        colours = images.background_colours(torch.randint(10, (count,), generator=generator), generator)
        upright = images.compose(batch, images.plain_pose(count), torch.ones(count, 3))
        posed = images.compose(batch, images.random_pose(count, generator), colours)
        for name, image in zip(parts, (upright, posed), strict=True):
            with torch.no_grad():
                decoded = vae.decode(vae.encode(image).latent_dist.mean).sample.clamp(-1, 1)
            parts[name].append(-10 * ((decoded - image) / 2).square().mean(dim=(1, 2, 3)).log10())
    return {name: round(float(torch.cat(values).mean()), 2) for name, values in parts.items()}


def real_images(sprites: Tensor) -> tuple[Tensor, list[Query]]:
    """Fresh images of the data, which give the score of a perfect model."""
    generator, count = torch.Generator().manual_seed(SEED), len(sprites)
    background = torch.randint(10, (count,), generator=generator)
    pose = images.random_pose(count, generator)
    painted = images.compose(sprites, pose, images.background_colours(background, generator)) / 2 + 0.5
    return painted, [Query("", frozenset({i}), int(b), 0) for i, b in enumerate(background)]


def sheet(painted: Tensor, columns: int, path: Path) -> None:
    """Write images side by side into one file."""
    rows = -(-len(painted) // columns)
    canvas = Image.new("RGB", (columns * images.SIDE, rows * images.SIDE), "white")
    for index, image in enumerate(painted):
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        canvas.paste(Image.fromarray(pixels), (index % columns * images.SIDE, index // columns * images.SIDE))
    canvas.save(path)


def main() -> None:
    """Evaluate, print the figures, and write the requested files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a diffusers checkpoint or an ONNX package")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--every", type=int, default=1, help="score every n-th concept only, for a quick look")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--record", action="store_true", help="write the scores into the manifest of the package, too")
    parser.add_argument("--sheet", type=Path, help="write the images of the names alone to this PNG")
    options = parser.parse_args()
    began = time.monotonic()

    WORK.mkdir(exist_ok=True)
    concepts = captions.load_concepts()
    sprites = data.load_sprites(WORK)
    taught = data.concept_sprites(sprites, concepts)
    gallery = Gallery(taught)
    painter = open_painter(options.source, options.steps, options.guidance)

    figures: dict[str, Any] = {"steps": options.steps, "guidance": options.guidance, "concepts": len(concepts)}
    if (options.source / "vae").exists():
        figures["vae"] = vae_psnr(options.source, torch.stack(list(sprites.values())[:: options.every]))
    figures["data_itself"] = score(gallery, *real_images(taught))
    names = named_queries(concepts, seeds=2)
    names = names[: len(concepts) : options.every] + names[len(concepts) :: options.every]
    painted = paint_all(painter, names)
    figures["names"] = score(gallery, painted, names) | {
        "two_seeds_psnr_db": seed_psnr(painted, len(names) // 2),
        "wrong_with_both_seeds": wrong_with_both_seeds(gallery, painted, names),
    }
    if options.sheet:
        sheet(painted, 20, options.sheet)
    sets = {
        "coloured_backgrounds": coloured_queries(concepts, held_out=False),
        "held_out_pairs": coloured_queries(concepts, held_out=True),
    }
    for name, queries in sets.items():
        chosen = queries[:: options.every]
        figures[name] = score(gallery, paint_all(painter, chosen), chosen)
    figures["open_words"] = open_word_scores(painter, gallery, concepts)
    if options.record:
        record(options.source, "semantic", {name: _recorded(figures[name]) for name in ("names", *sets)})
    figures["seconds"] = round(time.monotonic() - began)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.parent.mkdir(exist_ok=True)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
