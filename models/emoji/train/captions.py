"""Names, aliases and open words of the emoji, and captions made of them."""

import random
import re
from dataclasses import dataclass
from pathlib import Path

import emoji
from images import BACKGROUND_NAMES

CONCEPTS = Path(__file__).with_name("concepts.txt")
UNSPOKEN = {"hankey", "shit", "harambe", "flipper", "joy", "mag", "v", "x"}  # aliases that name nothing seen
HELD_OUT_SHARE = 0.1  # of the pairs of concept and coloured background, never shown in training


@dataclass(frozen=True)
class Concept:
    """One emoji to learn. ``names[0]`` is its CLDR name, the others are aliases."""

    text: str  # the emoji itself
    names: tuple[str, ...]
    open_words: tuple[str, ...]  # words that it shares with others: "dog", "fruit"


def _words(shortcode: str) -> str:
    """Convert ``":dog_face:"`` to ``"dog face"``."""
    return re.sub(r"[_\s]+", " ", shortcode.strip(":")).replace("’", "'").strip()


def all_emoji() -> dict[str, str]:
    """Every fully qualified emoji without skin tones and flags, by its CLDR name."""
    found: dict[str, str] = {}
    for text, entry in emoji.EMOJI_DATA.items():
        is_flag = "\U0001f3f4" in text or all("\U0001f1e6" <= c <= "\U0001f1ff" for c in text)
        toned = any("\U0001f3fb" <= c <= "\U0001f3ff" for c in text)
        if entry["status"] == emoji.STATUS["fully_qualified"] and not is_flag and not toned:
            found[_words(entry["en"])] = text
    return found


def load_concepts() -> list[Concept]:
    """Read concepts.txt and look up the aliases; in the order of the file."""
    by_name = all_emoji()
    open_words: dict[str, list[str]] = {}
    for line in CONCEPTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        words, names = line.split(":", 1)
        for name in (part.strip() for part in names.split(";")):
            if name not in by_name:
                raise ValueError(f"concepts.txt: no emoji is named {name!r}")
            group = open_words.setdefault(name, [])
            group += [word.strip() for word in words.split(",") if word.strip()]
    return [_concept(by_name[name], name, words) for name, words in open_words.items()]


def _concept(text: str, name: str, open_words: list[str]) -> Concept:
    aliases = [_words(alias) for alias in emoji.EMOJI_DATA[text].get("alias", [])]
    # "dog2" and the like are counters, "+1" and the like are signs: no words.
    spoken = [a for a in aliases if re.fullmatch(r"[A-Za-z' -]+", a) and a not in UNSPOKEN | {name}]
    return Concept(text, (name, *dict.fromkeys(spoken)), tuple(open_words))


def meanings(concepts: list[Concept]) -> dict[str, set[int]]:
    """Phrase -> concepts that it may mean: one for most names, many for an open word."""
    found: dict[str, set[int]] = {}
    for index, concept in enumerate(concepts):
        for phrase in (*concept.names, *concept.open_words):
            found.setdefault(phrase, set()).add(index)
    return found


def held_out(concept: Concept, background: str) -> bool:
    """Whether this pair is held out of training, to measure composition. White is never held out."""
    if background == "white":
        return False
    return random.Random(f"{concept.names[0]}/{background}").random() < HELD_OUT_SHARE


def subject_phrase(concept: Concept, rng: random.Random) -> str:
    """Choose a name of a concept: mostly its first one, else an alias or an open word."""
    roll = rng.random()
    if roll < 0.2 and concept.open_words:
        return rng.choice(concept.open_words)
    if roll < 0.4 and len(concept.names) > 1:
        return rng.choice(concept.names[1:])
    return concept.names[0]


def caption(concept: Concept, background: str, rng: random.Random) -> str:
    """Write a caption for an image: what it shows, and the colour behind it."""
    subject = subject_phrase(concept, rng)
    article = "an" if subject[0].lower() in "aeiou" else "a"
    form = rng.choice(["{s}", "{s}", "{s}", "{a} {s}", "{a} {s}", "an emoji of {a} {s}", "a picture of {a} {s}"])
    text = form.format(s=subject, a=article)
    if background == "white" and rng.random() < 0.75:
        return text
    return text + rng.choice([" on a {} background", " on a {} background", " on {}", ", {} background"]).format(
        background
    )


def sample_captions(concepts: list[Concept], count: int, seed: int) -> list[str]:
    """Captions of every concept on random backgrounds: the training text of the tokenizer."""
    rng = random.Random(seed)
    return [caption(concept, rng.choice(BACKGROUND_NAMES), rng) for concept in concepts for _ in range(count)]
