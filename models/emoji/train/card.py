"""The model card's table of figures, written from models/emoji/evaluation: ``python models/emoji/train/card.py``."""

import json
from pathlib import Path

MODEL = Path(__file__).parents[1]
CARD = MODEL / "README.md"
SOURCES = {"checkpoint": "PyTorch", "onnx-fp32": "ONNX fp32", "onnx-fp16": "ONNX fp16", "onnx-int8": "ONNX int8"}
START, END = "<!-- figures -->\n", "<!-- end of figures -->\n"

# Label, aim, keys in evaluate.py's JSON, and format
ROWS = (
    ("names: right in the top 1", "90%", ("names", "top1"), "{:.0%}"),
    ("names: right in the top 5", "", ("names", "top5"), "{:.0%}"),
    (
        "on a coloured background: subject and background right",
        "",
        ("coloured_backgrounds", "top1_and_background"),
        "{:.0%}",
    ),
    ("background right", "97%", ("coloured_backgrounds", "background"), "{:.0%}"),
    (
        "pairs held out of training: subject and background right",
        "85%",
        ("held_out_pairs", "top1_and_background"),
        "{:.0%}",
    ),
    ("two seeds of one prompt, median PSNR", "< 22 dB", ("names", "two_seeds_psnr_db"), "{:.1f} dB"),
    ("nearest image of the training set, median PSNR", "", ("names", "nearest_psnr_db"), "{:.1f} dB"),
    ("the same of fresh images of the data", "", ("data_itself", "nearest_psnr_db"), "{:.1f} dB"),
)


def table() -> str:
    """The table in Markdown: a row for each figure, a column for each source."""
    results = {name: json.loads((MODEL / "evaluation" / f"{name}.json").read_text()) for name in SOURCES}
    first = results["checkpoint"]
    coder = first["vae"]
    images = [first[part]["pictures"] for part in ("names", "coloured_backgrounds", "held_out_pairs")]
    lines = [
        f"{first['concepts']} concepts; coder, PSNR over all emoji: {coder['upright_on_white_db']:.1f} dB upright on "
        f"white, {coder['posed_on_colours_db']:.1f} dB posed on colours. {first['steps']} steps, guidance "
        f"{first['guidance']:g}; {images[0]} images of names, {images[1]} on coloured backgrounds, {images[2]} "
        "of pairs held out:",
        "",
        "| figure | aimed at | " + " | ".join(SOURCES.values()) + " |",
        "|---|---|" + "---|" * len(SOURCES),
    ]
    for label, aim, (part, key), form in ROWS:
        values = " | ".join(form.format(result[part][key]) for result in results.values())
        lines.append(f"| {label} | {aim} | {values} |")
    lines += ["", "| open word | emoji of this name | different ones shown in 8 seeds | right |", "|---|---|---|---|"]
    for word, facts in first["open_words"].items():
        lines.append(
            f"| {word} | {facts['emoji_of_this_name']} | {facts['different_emoji_shown']} | {facts['right']:.0%} |"
        )
    wrong = first["names"]["wrong_with_both_seeds"]
    lines += ["", f"Wrong with both seeds: {', '.join(wrong) or 'none'}."]
    return "\n".join(lines) + "\n"


def with_table(card: str) -> str:
    """The card's text with the current table."""
    before, rest = card.split(START)
    _, after = rest.split(END)
    return before + START + table() + END + after


if __name__ == "__main__":
    CARD.write_text(with_table(CARD.read_text()))
