"""Write the generated documentation: help, schedulers, families and launches. python docs/generate.py"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import click

from triptych.benchmarks.gpu.launches import recorded
from triptych.benchmarks.sampler_plot import save
from triptych.runtime.cli import scheduler_table
from triptych.runtime.cli.commands import cli
from triptych.runtime.families.family import FAMILIES, TASKS
from triptych.runtime.sampling import listing
from triptych.runtime.sampling.names import SUFFIXES
from triptych.runtime.sampling.registry import UNSUPPORTED

WIDTH = 100  # characters a line
DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
START, END = "<!-- families -->\n", "<!-- end of families -->\n"
TARGET = DOCS / "cli.md"
SCHEDULERS, PLOT = DOCS / "schedulers.md", DOCS / "schedulers.png"
CUDA = DOCS / "cuda.md"
LAUNCHES, END_OF_LAUNCHES = "<!-- launches -->\n", "<!-- end of launches -->\n"

_SCHEDULERS = """\
# Schedulers

A scheduler, or sampler, decides how much noise each step of an image removes. Here it is a table of coefficients that
is computed before the first step ([Sampler tables](explanation/sampler-tables.md)), and gives the latents that
diffusers' scheduler gives. Its name is diffusers' class name, as in `scheduler_config.json`, or a short name. The list
below is that of `triptych schedulers`: diffusers' defaults, except for the options that a short name stands for.

In every name case, spaces and symbols do not count, "++" is "pp", and a `k_` or `sample_` before it may be left out:
`Euler a`, `k_euler_ancestral`, `DPM++ 2M SDE`. A word after the name sets an option, if the scheduler has it:

{suffixes}

`scheduler_options={{"use_karras_sigmas": True}}` in Python, `--scheduler-option use_karras_sigmas=true` on the command
line and `scheduler_options` over HTTP and in batches set any option of diffusers' class. A scheduler for another kind
of models than the package's (flow matching, EDM) is refused.

{table}

*takes* lists the arguments of a run that a scheduler accepts: `eta`; `timesteps` or `sigmas`, a list or a name of Align
Your Steps (`ays_sd15`, `ays_sdxl`, and `ays_svd` for sigmas); and `mu`, the shift of a schedule with
`use_dynamic_shifting`.

![Noise levels and coefficients of every scheduler]({plot})

`triptych schedulers NAMES --plot FILE` draws a selection. [table.py](../runtime/sampling/table.py) states how a row of
coefficients is applied.

## Papers

{papers}

## Not supported, and why

{refused}
"""


_COMMAND_LINE = """\
# The command line

Results go to stdout, progress and summaries to stderr. Exit status: 0 done, 1 failed, 2 wrong use or bad input,
130 interrupted.

```sh
triptych generate sd15 "a red fox" -o fox.jpg --quality 90          # a JPEG, with its settings in the EXIF data
triptych generate sd15 --from-image fox.jpg -o again.png            # the same image again, from those settings
triptych generate sd15 "a red fox" --grid --scheduler ddim,euler --guidance 2,4,6    # a sheet of 2 by 3 images
triptych generate sd15 --prompts prompts.txt -n 4 -o out --json     # one JSON object per image and line
```

## Completion

Shells can complete commands, options, packages, schedulers (those that fit the package), devices and other names:

| shell | line to add | start-up file |
| --- | --- | --- |
| Bash 4.4 or later | `eval "$(_TRIPTYCH_COMPLETE=bash_source triptych)"` | `~/.bashrc` |
| Zsh | `eval "$(_TRIPTYCH_COMPLETE=zsh_source triptych)"` | `~/.zshrc` |
| fish | `_TRIPTYCH_COMPLETE=fish_source triptych \\| source` | `~/.config/fish/completions/triptych.fish` |

## triptych
"""


def text() -> str:
    """Page of the command line, from the commands."""
    root = cli.make_context("triptych", [], resilient_parsing=True, terminal_width=WIDTH)
    parts = [_COMMAND_LINE, _help(cli, root)]
    for name, command in sorted(cli.commands.items()):
        context = command.make_context(name, [], parent=root, resilient_parsing=True, terminal_width=WIDTH)
        parts += [f"## triptych {name}\n", _help(command, context)]
    return "\n".join(parts)


def schedulers() -> str:
    """Page of schedulers, from samplers that are built for it."""
    descriptions = [listing.describe(name) for name in listing.names()]
    head, *rows = scheduler_table.rows(descriptions)
    papers = [(f"`{name}`", _linked(paper)) for name, paper in scheduler_table.papers(descriptions).items()]
    refused = [(f"`{name}`", reason) for name, reason in sorted(UNSUPPORTED.items())]
    suffixes = [
        (f"`{suffix}`", ", ".join(f"`{key}={json.dumps(value)}`" for key, value in options.items() if value))
        for suffix, options in SUFFIXES.items()
    ]
    return _SCHEDULERS.format(
        suffixes="\n".join(_table(("word", "option"), suffixes)),
        table="\n".join(_table(head, [(f"`{name}`", f"`{kind}`", *rest) for name, kind, *rest in rows])),
        plot=PLOT.name,
        papers="\n".join(_table(("class", "paper"), papers)),
        refused="\n".join(_table(("class", "reason"), refused)),
    )


def families(readme: str) -> str:
    """The README with a current table of families."""
    rows = [
        (
            ", ".join(family.models),
            f"`{family.pipelines[0]}`",
            ", ".join(task for task in TASKS if task in family.tasks),
            str(family.num_inference_steps),
            f"{family.guidance_scale:g}",
        )
        for family in FAMILIES
    ]
    head = ("models", "pipeline of diffusers", "tasks", "default steps", "default guidance")
    before, rest = readme.split(START)
    return before + START + "\n".join(_table(head, rows)) + "\n" + END + rest.split(END)[1]


def launches(page: str) -> str:
    """The page of CUDA with the recorded launches."""
    found = recorded()
    rows = [(name, str(each["kernels"]), str(each["copies"])) for name, each in found["launches"].items()]
    table = "\n".join(_table(("graph", "kernels", "copies and memsets"), rows))
    counted = f"Counted on {found['date']} with onnxruntime-gpu {found['onnxruntime']}"
    source = f"\n{counted}; a product by cuBLAS and a convolution or an attention\nby cuDNN count as one.\n"
    before, rest = page.split(LAUNCHES)
    return before + LAUNCHES + table + "\n" + source + END_OF_LAUNCHES + rest.split(END_OF_LAUNCHES)[1]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def _linked(paper: str) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)


def _help(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(text())
    SCHEDULERS.write_text(schedulers())
    save(listing.names(), PLOT)
    README.write_text(families(README.read_text()))
    CUDA.write_text(launches(CUDA.read_text()))
