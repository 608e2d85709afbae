"""`triptych schedulers`: everything in it is found out from the registry and from samplers."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import refused, run
from triptych.benchmarks.sampler_plot import coefficients, draw
from triptych.runtime.cli import scheduler_table
from triptych.runtime.sampling.listing import STEPS, describe, names, sampler_named
from triptych.runtime.sampling.registry import SCHEDULERS, find


def test_every_scheduler_is_listed_by_names_that_find_it() -> None:
    assert {find(name)[0].class_name for name in names()} == {scheduler.class_name for scheduler in SCHEDULERS}
    assert len(set(names())) == len(names())
    for scheduler in SCHEDULERS:
        assert set(scheduler.short_names) <= set(names())


@pytest.mark.parametrize("name", names())
def test_what_is_listed_is_what_is_built(name: str) -> None:
    found, sampler, longer = describe(name), sampler_named(name), sampler_named(name, 2 * STEPS)
    assert (found.class_name, found.order, found.calls) == (sampler.name, sampler.order, len(sampler))
    assert len(longer) == found.calls + STEPS * found.calls_per_step
    assert found.draws_noise == bool(sampler.table.noise.any())
    assert found.paper


@pytest.mark.parametrize(
    ("name", "order", "calls_per_step", "calls", "noise"),
    [("ddim", 1, 1, 20, "with eta"), ("pndm", 2, 1, 29, "no"), ("euler", 1, 1, 20, "no"), ("dpmpp_2m", 2, 1, 20, "no")],
)
def test_known_schedulers(name: str, order: int, calls_per_step: int, calls: int, noise: str) -> None:
    found = describe(name)
    assert (found.order, found.calls_per_step, found.calls, found.noise) == (order, calls_per_step, calls, noise)


def test_the_command_lists_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("schedulers", capsys=capsys)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1 : 1 + len(names())]] == names()
    assert "arXiv 2010.02502" in out
    status, out, _ = run("schedulers", "--json", capsys=capsys)
    listed: list[dict[str, Any]] = json.loads(out)
    assert [each["name"] for each in listed] == names()
    (ddim,) = (each for each in listed if each["name"] == "ddim")
    assert "eta" in ddim["takes"]
    assert ddim["class_name"] == "DDIMScheduler"


def test_names_choose_what_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("schedulers", "euler", "DDIMScheduler", "--json", capsys=capsys)
    assert status == 0
    assert [each["name"] for each in json.loads(out)] == ["euler", "DDIMScheduler"]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_plot_is_written_whole(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"plot{suffix}"
    status, out, _ = run("schedulers", "euler", "pndm", "--plot", path, capsys=capsys)
    assert status == 0
    assert out.splitlines()[1].startswith("euler")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    if suffix == ".png":
        with Image.open(path) as image:
            assert image.info["Title"] == "euler, pndm"
            assert np.asarray(image.convert("L")).std() > 10, "an empty image"
    else:
        assert "<svg" in path.read_text()


def test_the_plot_shows_every_coefficient_that_counts() -> None:
    labels, values = coefficients(sampler_named("euler").table)
    assert labels == ["$x \\leftarrow s$", "$x \\leftarrow m$"]
    np.testing.assert_array_equal(values, sampler_named("euler").table.advance.T)
    table = sampler_named("pndm").table
    labels, values = coefficients(table)
    everything = np.concatenate([table.correct.T, table.advance.T, table.noise[None]])
    assert np.abs(values).sum() == pytest.approx(np.abs(everything).sum())
    assert "$s \\leftarrow s_{-1}$" in labels


def test_every_scheduler_can_be_drawn() -> None:
    drawn = draw(names(), ".svg")
    assert drawn.startswith(b"<?xml")
    assert drawn.count(b'<g id="axes_') == 2 * len(names()) + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eulr"], "unknown scheduler 'eulr'; did you mean euler"),
        (["--plot", "a.jpg"], "--plot a.jpg: the name must end in .png or .svg"),
        (["--plot", "/proc/nothing/a.png"], "cannot be written"),
    ],
    ids=" ".join,
)
def test_bad_use_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused("schedulers", *arguments, capsys=capsys)


def test_without_matplotlib_the_plot_says_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "triptych.benchmarks.sampler_plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    line = refused("schedulers", "--plot", tmp_path / "a.png", capsys=capsys)
    assert (
        "`triptych schedulers --plot` needs matplotlib, which is not installed: pip install 'triptych[bench]'" in line
    )
    assert list(tmp_path.iterdir()) == []
    assert run("schedulers", capsys=capsys)[0] == 0, "the list needs nothing"


def test_the_list_is_a_table_with_the_papers_below() -> None:
    text = scheduler_table.as_text([describe("ddim"), describe("euler")])
    head, *lines = text.splitlines()
    assert head.split()[:2] == ["name", "class"]
    assert lines[0].split()[:2] == ["ddim", "DDIMScheduler"]
    assert lines[3].startswith("DDIMScheduler")
