"""Defaults of a package: values for arguments that a call leaves out, and facts for people."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import SamplerError
from ..families.family import TASKS
from ..request import LARGEST, MAX_PIXELS, MAX_TEXT
from ..sampling.options import MAX_STEPS
from ..sampling.registry import find
from .json_file import JsonObject

UPSCALING = "upscaling"
TASK_NAMES = (*(task.replace(" ", "-") for task in TASKS), UPSCALING)
"""Tasks as the HTTP API and packages name them."""

_MAX_EXAMPLES = 100
_MAX_LICENSE = 200  # characters


@dataclass(frozen=True)
class Defaults:
    """Values that a package states; None, or an empty list, where it states nothing.

    Attributes:
        num_inference_steps: steps of the scheduler.
        guidance_scale: one number for all steps.
        negative_prompt: for every prompt that comes without one.
        width, height: pixels; graphs of fixed shapes keep theirs.
        scheduler: in place of that of scheduler_config.json; a name as `Request.scheduler` takes it.
        scheduler_options: options of this scheduler.
        example_prompts: prompts that show what the model is made for.
        tasks: of `TASK_NAMES`, those that the model is made for; none stands for all that the graphs can do.
        license: of the weights, an SPDX identifier or a name.
    """

    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    scheduler: str | None = None
    scheduler_options: Mapping[str, Any] | None = None
    example_prompts: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    license: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The values that are stated, as the manifest holds them."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {name: value for name, value in listed.items() if value not in (None, [])}

    def arguments(self) -> dict[str, Any]:
        """The values that are stated for arguments of `Request`."""
        return {name: value for name, value in self.as_json().items() if name not in FACTS}


NONE_STATED = Defaults()

FACTS = ("example_prompts", "tasks", "license")
"""Names of values that are not arguments of `Request`."""

NAMES = tuple(each.name for each in fields(Defaults))
"""Names of all values."""


def read_defaults(facts: JsonObject) -> Defaults:
    """Defaults in a JSON object; other keys are left alone.

    Raises:
        PackageError: a value is of another type or out of its range; names the key and what is allowed.
    """
    return Defaults(
        num_inference_steps=facts.optional_whole("num_inference_steps", 1, MAX_STEPS),
        guidance_scale=facts.optional_number("guidance_scale", 0, LARGEST),
        negative_prompt=_text(facts, "negative_prompt", MAX_TEXT),
        width=facts.optional_whole("width", 1, MAX_PIXELS),
        height=facts.optional_whole("height", 1, MAX_PIXELS),
        scheduler=_scheduler(facts),
        scheduler_options=facts.optional("scheduler_options", dict),
        example_prompts=_texts(facts, "example_prompts"),
        tasks=_tasks(facts),
        license=_text(facts, "license", _MAX_LICENSE),
    )


def _scheduler(facts: JsonObject) -> str | None:
    name = facts.optional("scheduler", str)
    if name is not None:
        try:
            find(name)
        except SamplerError:
            raise facts.error("scheduler", "a name that `triptych schedulers` lists") from None
    return name


def _tasks(facts: JsonObject) -> tuple[str, ...]:
    tasks = _texts(facts, "tasks")
    if not set(tasks) <= set(TASK_NAMES):
        raise facts.error("tasks", f"a list of: {', '.join(TASK_NAMES)}")
    return tasks


def _texts(facts: JsonObject, key: str) -> tuple[str, ...]:
    texts = () if facts.get(key) is None else facts.texts(key)
    if len(texts) > _MAX_EXAMPLES or any(len(text) > MAX_TEXT for text in texts):
        raise facts.error(key, f"a list of at most {_MAX_EXAMPLES} texts of at most {MAX_TEXT} characters")
    return texts


def _text(facts: JsonObject, key: str, most: int) -> str | None:
    text = facts.optional(key, str)
    if text is not None and len(text) > most:
        raise facts.error(key, f"a text of at most {most} characters")
    return text
