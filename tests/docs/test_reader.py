"""The reader of blocks: languages, lines and markers, in pages as they may be written."""

import json
import shutil
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks
from tests.docs.workplace import Workplace, package, uses

PAGE = """\
# Title

```sh
triptych doctor
```

1. In a list:

   <!-- needs: gpu -->
   ```python title="x"
   print(1)
   ```

text

    indented

<!-- tested: tests/a.py -->
~~~
no language
~~~
"""


def test_blocks_have_language_line_and_marker() -> None:
    assert list(blocks(PAGE)) == [
        Block("sh", "triptych doctor\n", 4),
        Block("python", "print(1)\n", 11, needs="gpu"),
        Block("", "indented\n", 16),
        Block("", "no language\n", 20, tested="tests/a.py"),
    ]
    assert [block.executed for block in blocks(PAGE)] == [True, False, False, False]


def test_a_marker_in_the_first_line_is_for_the_whole_page() -> None:
    tested = [block.tested for block in blocks(f"<!-- tested: tests/b.py -->\n{PAGE}")]
    assert tested == ["tests/b.py", None, "tests/b.py", "tests/a.py"]


@pytest.mark.parametrize("rest", ["text", "", "\n\n## Heading"])
def test_a_marker_without_a_block_is_refused(rest: str) -> None:
    with pytest.raises(ValueError, match="'needs': 'hub'"):
        list(blocks(f"# Title\n\n<!-- needs: hub -->\n{rest}"))


def test_a_name_is_given_unless_the_page_makes_it() -> None:
    assert uses('triptych generate sd15 "a fox"', "sd15")
    assert not uses("triptych export sd15-checkpoint sd15\ntriptych inspect sd15", "sd15")
    assert uses("triptych export sd15-checkpoint sd15", "sd15-checkpoint")
    assert not uses("triptych generate sd15-style -o fox.png\nopen fox.png", "sd15")
    assert not uses("triptych generate sd15 -o fox.png\nopen fox.png", "fox.png")


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    with Workplace(folder) as place:
        place.run(Block("sh", "echo one > made\n", 1), Path("page.md"))
        assert (folder / "made").read_text() == "one\n"
        with pytest.raises(AssertionError, match=r"page\.md:7: exit status 3"):
            place.run(Block("sh", "sh -c 'exit 3'\necho on > late\n", 7), Path("page.md"))
        assert not (folder / "late").exists()
        place.run(Block("python", "value = 1\n", 1), Path("page.md"))
        with pytest.raises(AssertionError):
            place.run(Block("python", "assert value == 2\n", 1), Path("page.md"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_a_service_answers_and_its_errors_are_found(tmp_path: Path) -> None:
    package(folder := tmp_path / "folder" / "sd15")
    address = "http://127.0.0.1:8000/v1"
    with Workplace(folder.parent) as place:
        place.run(
            Block("sh", f"triptych serve sd15  # waits\ncurl {address}/models > models.json\n", 1), Path("page.md")
        )
        assert json.loads((folder.parent / "models.json").read_text())["data"][0]["id"] == "sd15"
        with pytest.raises(AssertionError, match="404"):
            place.run(Block("sh", f"curl {address}/nothing\n", 3), Path("page.md"))
