"""schemathesis asks what the OpenAPI description allows and what it does not: no 5xx, nothing that it does not say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.support.images import picture
from triptych.runtime.service.http.schema import Edit, setting_names

from .serving import png, service

QUICK, MANY = 20, 300
"""Requests of each operation and mode."""

OPERATIONS = [
    ("/v1/images/generations", "POST"),
    ("/v1/images/edits", "POST"),
    ("/v1/models", "GET"),
    ("/v1/models/{name}", "GET"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
    ("/metrics", "GET"),
]
POSSIBLE = {"num_inference_steps": 2, "size": "64x64", "n": 1}
"""What the model can do, of all that a description can say."""
IMPOSSIBLE = ("model", "mask", *{*setting_names(Edit), "strength"} - {"prompt", "negative_prompt", *POSSIBLE})
"""Fields whose values depend on the model, or on each other."""

MAKE = OPERATIONS[:2]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
ALIKE = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def description(package: Path) -> Iterator[Any]:
    """Of a service whose pictures take little time."""
    with service(package, steps=2, pixels=64 * 64, pictures=2, local=False) as running:
        yield schemathesis.openapi.from_asgi("/openapi.json", running.app)


def ask(description: Any, path: str, method: str, mode: GenerationMode, count: int) -> set[int]:
    """So many requests, each answered as the description says; the statuses that there were."""
    statuses = set()

    @settings(ALIKE, max_examples=count)
    @given(case=description[path][method].as_strategy(generation_mode=mode), possible=st.booleans())
    def answers(case: schemathesis.Case, possible: bool) -> None:
        if possible and mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            body: dict[str, Any] = case.body
            body |= POSSIBLE | ({"image": png(picture(64, 64))} if "image" in case.body else {})
            for name in IMPOSSIBLE:
                body.pop(name, None)
        checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
        statuses.add(case.call_and_validate(checks=checks).status_code)

    answers()
    return statuses


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_is_allowed_is_answered_as_described(description: Any, path: str, method: str) -> None:
    assert 200 in ask(description, path, method, GenerationMode.POSITIVE, QUICK) or "{" in path


@pytest.mark.parametrize(("path", "method"), MAKE)
def test_what_is_not_allowed_is_refused_as_described(description: Any, path: str, method: str) -> None:
    ask(description, path, method, GenerationMode.NEGATIVE, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("path", "method"), MAKE)
def test_so_it_is_of_many_more(description: Any, path: str, method: str, mode: GenerationMode) -> None:
    ask(description, path, method, mode, MANY)


def test_all_errors_are_described_alike(description: Any) -> None:
    """It has all paths and, for errors, the one shape that they have."""
    paths = description.raw_schema["paths"]
    assert paths.keys() == {path for path, _ in OPERATIONS}
    for operations in paths.values():
        for operation in operations.values():
            of_errors = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert of_errors == {"$ref": "#/components/schemas/Failed"}
