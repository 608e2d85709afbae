"""The page's history: in the browser's database over reloads, or in memory."""

from typing import Any

import pytest

from tests.support.images import example_image

pytest.importorskip("playwright")

from playwright.sync_api import Page

from tests.support.modules import encoded, evaluate

from ..serving import png

OPEN = """
const { openHistory, HistoryFullError } = await import("/page/history/store.js");
const history = await openHistory();
const entry = (values) => ({
  created: 1000, model: "sd15", seed: 7, settings: {prompt: "a fox"}, blob: new Blob(["x".repeat(100)]),
  thumbnail: new Blob(["t"]), ...values,
});
"""
ENTRIES = 500


@pytest.fixture
def temporary(page: Page) -> Page:
    """A page whose browser refuses a database, as some private windows do."""
    page.add_init_script("indexedDB.open = () => { throw new DOMException('denied', 'SecurityError'); }")
    page.reload()
    return page


def run(page: Page, body: str, argument: Any = None) -> Any:
    return evaluate(page, OPEN + body, argument)


def test_500_entries_over_a_reload(page: Page) -> None:
    run(
        page,
        """for (let index = 0; index < argument; index++) {
          await history.add(entry({
            created: index, seed: index, model: index % 2 ? "sd15" : "Tiny-XL",
            settings: {prompt: index % 10 ? "a fox" : "A red Fox by the river", negative_prompt: "Blurry"},
            blob: new Blob([`image ${index}`], {type: "image/png"}),
          }));
        }""",
        ENTRIES,
    )
    page.reload()
    search = """
      const found = await history.list(argument);
      return found.map((each) => [each.id, each.seed, each.created, each.thumbnail.size, "blob" in each]);
    """
    first = run(page, search, {"limit": 20})
    assert [each[1:] for each in first] == [[seed, seed, 1, False] for seed in range(499, 479, -1)]
    second = run(page, search, {"limit": 20, "before": first[-1][0]})
    assert [each[1] for each in second] == list(range(479, 459, -1))
    assert len(run(page, search, {})) == 50
    assert len(run(page, search, {"limit": 1000})) == ENTRIES

    for words, seeds in {
        "RED  river": list(range(490, -1, -10)),
        "fox blurry sd15": list(range(499, 0, -2)),
        "tiny 497": [],
        "sd15 497": [497],
        "Füchse": [],
    }.items():
        assert [each[1] for each in run(page, search, {"search": words, "limit": ENTRIES})] == seeds, words

    text = "const found = await history.get(argument); return found && [await found.blob.text(), found.blob.type];"
    assert run(page, text, first[0][0]) == ["image 499", "image/png"]
    assert run(page, text, 10_000) is None

    run(page, "await history.remove(argument)", [each[0] for each in first])
    assert run(page, text, first[0][0]) is None
    usage = run(page, "return history.usage()")
    assert usage["count"] == 480
    assert usage["bytes"] == sum(len(f"image {seed}") + 1 for seed in range(480))
    assert usage["available"] > 0
    run(page, "await history.clear()")
    page.reload()
    assert run(page, "return [await history.list(), (await history.usage()).count, history.persistent]") == [
        [],
        0,
        True,
    ]


def test_in_memory_where_there_is_no_database(temporary: Page) -> None:
    found = run(
        temporary,
        """
        const ids = [];
        for (const seed of [1, 2, 3, 4]) ids.push(await history.add(entry({seed, model: `m${seed % 2}`})));
        const seeds = async (query) => (await history.list(query)).map((each) => each.seed);
        const lists = [];
        for (const query of [{}, {limit: 2}, {before: ids[2]}, {search: "FOX m1"}]) lists.push(await seeds(query));
        const whole = await (await history.get(ids[0])).blob.text();
        const used = await history.usage();
        await history.remove([ids[3], 99]);
        const rest = await seeds();
        const listed = "blob" in (await history.list())[0];
        await history.clear();
        const gone = await history.get(ids[0]);
        return {lists, whole: whole.length, used, rest, listed, gone, kept: history.persistent};
        """,
    )
    assert found == {
        "lists": [[4, 3, 2, 1], [4, 3], [2, 1], [3, 1]],
        "whole": 100,
        "used": {"count": 4, "bytes": 404, "available": None},
        "rest": [3, 2, 1],
        "listed": False,
        "gone": None,
        "kept": False,
    }


def test_a_thumbnail_is_made_where_none_is_given(page: Page) -> None:
    sizes = run(
        page,
        """
        const sizes = [];
        for (const blob of [blobOf(argument), new Blob(["no image"])]) {
          await history.add(entry({thumbnail: undefined, blob}));
          const [{thumbnail}] = await history.list({limit: 1});
          const image = thumbnail && await createImageBitmap(thumbnail);
          sizes.push(thumbnail && [image.width, image.height, thumbnail.type]);
        }
        return sizes;
        """,
        encoded(png(example_image(640, 320))),
    )
    assert sizes == [[256, 128, "image/webp"], None]


def test_a_full_history_is_an_error_of_its_own(page: Page) -> None:
    origin = page.evaluate("location.origin")
    session = page.context.new_cdp_session(page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 200_000})
    run(page, "await history.add(entry())")
    added = """
      try { await history.add(entry({blob: new Blob([new Uint8Array(argument)])})); return null; }
      catch (error) { return [error instanceof HistoryFullError, error.name, error.message]; }
    """
    assert run(page, added, 5_000_000) == [
        True,
        "HistoryFullError",
        "The history is full. Remove images from it to make room.",
    ]
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin})
    assert run(page, "return (await history.usage()).count") == 1
    assert run(page, added, 5_000) is None


def test_two_tabs_share_a_history(page: Page) -> None:
    other = page.context.new_page()
    other.goto(page.url)
    run(page, "await history.add(entry({seed: 1}))")
    run(other, "await history.add(entry({seed: 2}))")
    assert run(page, "return (await history.list()).map((each) => each.seed)") == [2, 1]
