"""The text encoder: a small CLIPTextModel, first trained alone to predict the image's latents.

Without that first lesson the U-Net learns to ignore a text that means nothing yet, and goes on ignoring it.
"""

import random
from pathlib import Path

import images
import tokens
import torch
import torch.nn.functional as F  # noqa: N812
from captions import Concept, caption
from latents import Latents
from loop import Plan, step_generator, train
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

PLAN = Plan("text", steps=1500, rate=1e-3, warmup=50)
BATCH = 128
SEED = 3
WIDTH = 128
CODES = 128  # principal components of the latents that the text has to foretell
DROPOUT = 0.1  # share of captions replaced by nothing, for guidance


def build(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The untrained encoder: two layers of WIDTH, about 0.6 M parameters."""
    torch.manual_seed(SEED)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokens.LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids of prompts, int64 [prompts, LENGTH]."""
    encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=tokens.LENGTH, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids


class Sampler:
    """Batches of latents with fresh captions, determined by the step number."""

    def __init__(self, seed: int, batch: int, concepts: list[Concept], data: Latents, tokenizer: CLIPTokenizer) -> None:
        self.seed, self.batch, self.concepts, self.data, self.tokenizer = seed, batch, concepts, data, tokenizer

    def draw(self, step: int, dropout: float = 0.0) -> tuple[Tensor, Tensor, torch.Generator]:
        """Indices of images int64 [batch], token ids of their captions, and the step's generator."""
        generator = step_generator(self.seed, step)
        rng = random.Random(self.seed * 10_000_019 + step)
        index = torch.randint(len(self.data.latents), (self.batch,), generator=generator)
        texts = [self._caption(int(i), rng) if rng.random() >= dropout else "" for i in index]
        return index, token_ids(self.tokenizer, texts), generator

    def _caption(self, index: int, rng: random.Random) -> str:
        background = images.BACKGROUND_NAMES[self.data.background[index]]
        return caption(self.concepts[self.data.concept[index]], background, rng)


def image_codes(data: Latents) -> Tensor:
    """Code of each image for the text encoder to predict, float32 [images, CODES + 3], each of about unit variance.

    They are the principal components of its concept's mean latents on white, and its background's colour.
    """
    concepts = int(data.concept.max()) + 1
    means = torch.zeros(concepts, data.latents[0].numel())
    for concept in range(concepts):
        chosen = (data.concept == concept) & (data.background == 0)
        means[concept] = data.latents[chosen].float().mean(dim=0).flatten()
    means = means - means.mean(dim=0)
    left, _, _ = torch.linalg.svd(means, full_matrices=False)
    codes = left[:, :CODES] * concepts**0.5
    colours = torch.tensor(list(images.BACKGROUNDS.values())) / 127.5 - 1
    return torch.cat([codes[data.concept], 2 * colours[data.background]], dim=1)


def fit(sampler: Sampler, encoder: CLIPTextModel, folder: Path) -> CLIPTextModel:
    """Train the encoder alone: its last token, through one linear layer, regresses the image's code."""
    codes = image_codes(sampler.data)
    network = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(WIDTH, codes.shape[1])})

    def loss_of_step(step: int) -> Tensor:
        index, ids, _ = sampler.draw(step)
        return F.mse_loss(network["head"](encoder(ids).pooler_output), codes[index])

    train(PLAN, network, loss_of_step, folder)
    return encoder
