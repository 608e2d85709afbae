"""The table of schedulers that `triptych schedulers` prints."""

from collections.abc import Iterable, Sequence

from ..sampling.listing import STEPS, Description
from .columns import columns

_HEAD = ("name", "class", "order", "calls a step", f"of {STEPS} steps", "draws noise", "takes")


def rows(descriptions: Iterable[Description]) -> list[tuple[str, ...]]:
    """Table header, then a row for each scheduler."""
    return [_HEAD, *(_row(each) for each in descriptions)]


def papers(descriptions: Iterable[Description]) -> dict[str, str]:
    """Class name -> paper."""
    return {each.class_name: each.paper for each in descriptions}


def as_text(descriptions: Sequence[Description]) -> str:
    """The table, and the papers below it."""
    return "\n".join([*columns(rows(descriptions)), "", *columns(list(papers(descriptions).items()))])


def _row(description: Description) -> tuple[str, ...]:
    return (
        description.name,
        description.class_name,
        str(description.order),
        str(description.calls_per_step),
        str(description.calls),
        description.noise,
        ", ".join(description.takes) or "-",
    )
