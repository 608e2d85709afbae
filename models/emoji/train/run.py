"""Train the demo model: ``python models/emoji/train/run.py``. A killed run is resumed.

Stages: draw the emoji, image coder, latents, tokenizer, text encoder alone, U-Net with text encoder, checkpoint.
``--coder-from`` starts from the coder of a checkpoint. ``--snapshot`` publishes the U-Net's last saved step without
training.
"""

import argparse
from pathlib import Path

import captions
import data
import diffusion
import latents
import text
import tokens
import torch
import vae
from loop import load_average
from publish import publish
from transformers import CLIPTokenizer

WORK = Path(__file__).with_name("work")
CHECKPOINT = Path(__file__).parents[1]
CAPTIONS_EACH = 30  # of each concept, for the tokenizer


def main() -> None:
    """Run all stages that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--coder-from", type=Path, help="a checkpoint whose coder is trained further")
    parser.add_argument("--snapshot", action="store_true", help="publish the last saved weights and stop")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    WORK.mkdir(exist_ok=True)

    concepts = captions.load_concepts()
    sprites = data.load_sprites(WORK)
    print(f"{len(sprites)} emoji drawn, {len(concepts)} to be taught", flush=True)
    coder = vae.fit(torch.stack(list(sprites.values())), WORK, options.coder_from)

    tokenizer_folder = WORK / "tokenizer"
    if not tokenizer_folder.exists():
        tokens.write(captions.sample_captions(concepts, CAPTIONS_EACH, text.SEED), tokenizer_folder)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    views = latents.make(coder, concepts, data.concept_sprites(sprites, concepts), WORK)
    print(f"{len(views.latents)} latents, deviation {views.latents.float().std():.3f}", flush=True)

    encoder = text.build(tokenizer)
    if options.snapshot:
        unet = diffusion.build()
        network = torch.nn.ModuleDict({"unet": unet, "encoder": encoder})
        print("snapshot of step", load_average(diffusion.PLAN, network, WORK))
    else:
        text.fit(text.Sampler(text.SEED, text.BATCH, concepts, views, tokenizer), encoder, WORK)
        sampler = text.Sampler(diffusion.SEED, diffusion.BATCH, concepts, views, tokenizer)
        unet, encoder = diffusion.fit(sampler, encoder, WORK)
    publish(coder, unet, encoder, tokenizer, tokenizer_folder, CHECKPOINT)


if __name__ == "__main__":
    main()
