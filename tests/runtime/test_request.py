"""One request: the signature of the pipeline and the tables of settings, columns, options and HTTP fields cover it."""

import inspect
import json
from contextlib import suppress
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.runtime import TextToImage
from triptych.runtime.batch import values
from triptych.runtime.cli import options
from triptych.runtime.errors import ArgumentError
from triptych.runtime.image import settings
from triptych.runtime.image.settings import Settings
from triptych.runtime.request import FIELDS, RULES, Request, check, seeds_from

CALL = inspect.signature(TextToImage.__call__).parameters


def covered(table: Any, left_out: dict[str, str]) -> None:
    """Every field is in the table or left out with a reason, none in both, and nothing else is in either."""
    assert set(table) | set(left_out) == set(FIELDS)
    assert not set(table) & set(left_out)
    assert all(reason.strip() for reason in left_out.values())


def test_the_pipeline_takes_every_argument_with_its_default() -> None:
    assert [name for name in CALL if name not in ("self", "callback", "progress")] == list(FIELDS)
    for each in fields(Request):
        default = CALL[each.name].default
        assert default is inspect.Parameter.empty if each.name == "prompt" else default == each.default


def test_the_pipeline_documents_no_argument_twice() -> None:
    """`Request` documents each; a copy elsewhere would drift."""
    assert Request.__doc__ is not None
    assert TextToImage.__call__.__doc__ is not None
    missing = [name for name in FIELDS if f"{name}:" not in Request.__doc__ and f"{name}," not in Request.__doc__]
    assert missing == []
    assert "Args:" not in TextToImage.__call__.__doc__


def test_settings_cover_every_argument() -> None:
    covered(settings.RECORDED, settings.LEFT_OUT)
    assert set(settings.RECORDED) <= {each.name for each in fields(Settings)}


def test_columns_cover_every_argument() -> None:
    covered(values.VALUES, values.LEFT_OUT)


def test_options_cover_every_argument() -> None:
    covered(options.IMAGE_OPTIONS, options.LEFT_OUT)


def test_http_fields_cover_every_argument() -> None:
    schema = pytest.importorskip("triptych.runtime.service.http.schema")
    edit = set(schema.Edit.model_fields)
    assert set(schema.NAMES.values()) <= edit
    assert {"image", "strength", "seed"} <= edit
    covered([*schema.NAMES, *(name for name in FIELDS if name in edit)], schema.LEFT_OUT)
    passed_on = set(schema.setting_names(schema.Edit))
    assert passed_on | {"seed", "image", "strength", *schema.NAMES} | set(schema.LEFT_OUT) == set(FIELDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"guidance_scale": "7"}, "guidance_scale='7'; allowed: a number, or one for each denoiser call"),
        ({"guidance_rescale": 2}, "guidance_rescale=2; allowed: a number from 0 to 1"),
        ({"guidance_interval": (2, 1)}, r"guidance_interval=\(2, 1\); allowed: two noise levels"),
        ({"guidance_projection": (0, -1, 0)}, "guidance_projection=.* allowed: .eta, norm_threshold, momentum."),
        ({"image_guidance_scale": 0.5}, "image_guidance_scale=0.5; allowed: a number, 1 or more"),
        ({"seed": -1}, r"seed=-1; allowed: a whole number from 0 to 2\^64 - 1, or one for each image"),
        ({"seed": 1.5}, "seed=1.5; allowed"),
        ({"seed": "7"}, "seed='7'; allowed"),
        ({"height": "64"}, "height='64'; allowed: a whole number of pixels"),
        ({"width": 64.0}, "width=64.0; allowed: a whole number of pixels"),
        ({"original_size": (64,)}, r"original_size=\(64,\); allowed: two whole numbers of pixels, none below 0"),
        ({"aesthetic_score": "6"}, "aesthetic_score='6'; allowed: a number, for example 6"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt=0; allowed: a whole number, 1 or more"),
        ({"scheduler": 3}, "scheduler=3; allowed: a name"),
        ({"prompt": 3}, "prompt must be text or a list of texts, not int"),
        ({"prompt": []}, "the list of prompts is empty"),
        ({"prompt_2": ["a", "b"]}, "prompt_2 has 2 texts for 1 prompts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_value_that_no_package_can_use_is_refused_without_one(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        Request(**({"prompt": "a fox"} | arguments))
    assert "\n" not in str(caught.value)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=2), st.none()), max_size=4),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@given(st.sampled_from(sorted(RULES)), JUNK)
def test_checks_accept_or_refuse_and_never_fail(name: str, value: Any) -> None:
    with suppress(ArgumentError):
        check(name, value)


@given(st.integers(0, 2**64 - 1), st.integers(1, 5))
def test_seeds_count_up(seed: int, count: int) -> None:
    assert seeds_from(seed, count) == [(seed + k) % 2**64 for k in range(count)]


def test_settings_are_json() -> None:
    request = Request("a fox", guidance_scale=float(np.float32(3)), timesteps=np.array([900.0, 1.0]).tolist())
    written = {name: convert(getattr(request, name)) for name, convert in settings.RECORDED.items()}
    assert json.loads(json.dumps(written))["guidance_scale"] == 3.0
