"""Files of the page: fixed paths, strict headers, no key, and nothing else behind them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from triptych.runtime.service.page.files import PREFIX, page_files

from .serving import Service, service

KEY = "geheim"


@pytest.fixture(scope="module")
def with_page(package: Path) -> Iterator[Service]:
    with service(package, key=KEY, ui=True, load=False) as running:
        yield running


def test_the_page_needs_no_key_and_the_api_does(with_page: Service) -> None:
    client = with_page.client
    for path in ("/", *(PREFIX + each for each in page_files())):
        answer = client.get(path)
        assert answer.status_code == 200, path
        policy = dict(each.split(" ", 1) for each in answer.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert not any(word in answer.headers["Content-Security-Policy"] for word in ("unsafe", "http", "*"))
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/v1/models").status_code == 401


def test_a_file_that_the_client_has_is_not_sent_again(with_page: Service) -> None:
    first = with_page.client.get("/")
    again = with_page.client.get("/", headers={"If-None-Match": f'"x", W/{first.headers["ETag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert with_page.client.get("/", headers={"If-None-Match": '"x"'}).status_code == 200


@pytest.mark.parametrize("path", ["x.js", "../files.py", "..%2ffiles.py", "/etc/passwd", "%2fetc%2fpasswd", "", "%00"])
def test_no_other_file_can_be_named(with_page: Service, path: str) -> None:
    assert with_page.client.get(PREFIX + path).status_code in (401, 404)


def test_there_is_no_page_without_ui(served: Service) -> None:
    assert served.client.get("/").status_code == 404
    assert served.client.get(f"{PREFIX}index.html").status_code == 404


def test_the_page_weighs_little(with_page: Service) -> None:
    files = page_files()
    assert sum(len(file.compressed) for file in files.values()) < 90_000
    answer = with_page.client.get("/", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.content == files["index.html"].content
