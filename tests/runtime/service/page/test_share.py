"""The page's settings in the fragment of a URL."""

from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page

from tests.support.modules import evaluate

SHARE = """
const { toFragment, fromFragment } = await import("/page/settings/share.js");
"""


def test_settings_survive_a_url(shared: Page) -> None:
    values = {
        "prompt": "a fox & (river:1.2) + 25% #1\nゆき",
        "negative_prompt": "",
        "model": "sd15",
        "size": "512x768",
        "num_inference_steps": 20,
        "guidance_scale": [7.5, 1],
        "seed": "18446744073709551615",
        "variation_strength": 0.1,
        "scheduler": "dpmpp_2m",
        "scheduler_options": {"use_karras_sigmas": True, "beta_schedule": "linear"},
        "timesteps": "trailing",
        "sigmas": [14.6, 0.5],
        "n": 4,
    }
    given = values | {"image": "data:", "key": "secret", "stream": True, "b64_json": "x"}
    fragment, back = evaluate(
        shared, SHARE + "const written = toFragment(argument); return [written, fromFragment(written)];", given
    )
    assert back == values
    assert fragment.startswith("#prompt=a+fox")
    assert "secret" not in fragment
    href = f"http://localhost/{fragment}"
    assert evaluate(shared, SHARE + "return fromFragment(new URL(argument).hash)", href) == values


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("", None),
        ("#", None),
        ("#key=secret&image=x", None),
        ("#seed=-1&num_inference_steps=2.5&size=axb&guidance_scale=", None),
        ("#seed=18446744073709551616&scheduler_options=[1]&eta=NaN", None),
        ("#scheduler_options={&prompt=fox&__proto__=x&constructor=y", {"prompt": "fox"}),
        ("#prompt=%E0%A4%A&seed=007", {"prompt": "\ufffdA", "seed": 7}),
        ("prompt=fox", {"prompt": "fox"}),
        ("#prompt=" + "x" * 70_000, None),
        ("#prompt=" + "x" * 300_000, None),
    ],
    ids=range(10),
)
def test_fragments_of_anybody_are_checked(shared: Page, fragment: str, expected: dict[str, Any] | None) -> None:
    found = evaluate(shared, SHARE + "return fromFragment(argument)", fragment)
    if found and "\ufffd" in found.get("prompt", ""):
        found["prompt"] = "\ufffdA"
    assert found == expected


def test_no_settings_are_no_fragment(shared: Page) -> None:
    assert evaluate(shared, SHARE + "return [toFragment({}), toFragment({key: 'x', seed: -1})]") == ["", ""]
