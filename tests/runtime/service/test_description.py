"""OpenAPI description: schemathesis sends valid and invalid requests, and checks each response against it."""

import base64
import re
from collections.abc import Iterable, Iterator
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

from tests.support.images import example_image
from triptych.runtime.service.errors import SDAPI_PREFIXES
from triptych.runtime.service.http.kept import KeptImages
from triptych.runtime.service.http.schema import Edit, setting_names
from triptych.runtime.service.sdapi.schema import CONSTANT, REFRESH

from .serving import png, service

QUICK = 20
"""Number of requests per operation and mode."""

MANY = {"POST": 440, "GET": 20}
"""The same for the slow test: 2,000 in all, with those of `WALKS`."""

WALKS, STEPS = 10, 8
"""Number of sequences of requests that follow lists to what they list, and their length."""

OPERATIONS = [
    ("/v1/images/generations", "POST"),
    ("/v1/images/edits", "POST"),
    ("/v1/models", "GET"),
    ("/v1/models/{name}", "GET"),
    ("/v1/schedulers", "GET"),
    ("/v1/images/files/{name}", "GET"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
    ("/metrics", "GET"),
    ("/", "GET"),
    ("/page/{path}", "GET"),
]

SDAPI = [
    ("/sdapi/v1/txt2img", "POST"),
    ("/sdapi/v1/img2img", "POST"),
    ("/sdapi/v1/png-info", "POST"),
    ("/sdapi/v1/interrupt", "POST"),
    ("/sdapi/v1/skip", "POST"),
    ("/sdapi/v1/options", "POST"),
    *((f"/sdapi/v1/{name}", "GET") for name in ("options", "progress", "samplers", "schedulers", "sd-models")),
    *((f"/sdapi/v1{path}", "GET") for path in CONSTANT),
    *((f"/sdapi/v1{path}", "POST") for path in REFRESH),
    ("/internal/ping", "GET"),
    ("/queue/status", "GET"),
]
"""Operations of the API of Stable Diffusion web UI."""

_SMALL = {"prompt": "a red fox", "steps": 2, "width": 64, "height": 64}
_IMAGE = base64.b64encode(png(example_image(64, 64))).decode()
SDAPI_SUPPORTED: dict[str, dict[str, Any]] = {
    "/sdapi/v1/txt2img": _SMALL,
    "/sdapi/v1/img2img": _SMALL | {"init_images": [_IMAGE]},
    "/sdapi/v1/png-info": {"image": _IMAGE},
    "/sdapi/v1/options": {},
}
"""Bodies that the test model supports."""

UNDESCRIBED = {"/docs", "/docs/oauth2-redirect", "/docs-files", "/openapi.json"}
"""Paths of the documentation itself."""

SUPPORTED = {"num_inference_steps": 2, "size": "64x64", "n": 1}
"""Values that the test model supports."""
DEPENDENT = ("model", "mask", *{*setting_names(Edit), "strength"} - {"prompt", "negative_prompt", *SUPPORTED})
"""Fields whose values depend on the model, or on each other."""

UPSCALE = 1.5
"""Factor that keeps within the limit of pixels."""

GENERATING = OPERATIONS[:2]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
DETERMINISTIC = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def description(package: Path) -> Iterator[Any]:
    """OpenAPI description of a service with fast requests."""
    with service(
        package, steps=2, pixels=128 * 128, pictures=2, local=False, ui=True, kept=KeptImages(60), sdapi=True
    ) as running:
        yield schemathesis.openapi.from_asgi("/openapi.json", running.app)


def send(description: Any, path: str, method: str, mode: GenerationMode, count: int) -> set[int]:
    """Send requests, check each response against the description, and return the statuses."""
    statuses = set()

    @settings(DETERMINISTIC, max_examples=count)
    @given(case=description[path][method].as_strategy(generation_mode=mode), supported=st.booleans())
    def check(case: schemathesis.Case, supported: bool) -> None:
        if supported and mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            body: dict[str, Any] = case.body
            if path.startswith(SDAPI_PREFIXES):
                body.clear()
                body |= SDAPI_SUPPORTED[path]
            else:
                body |= SUPPORTED | ({"image": png(example_image(64, 64))} if "image" in case.body else {})
                for name in DEPENDENT:
                    body.pop(name, None)
                if body.get("upscale") is not None:
                    body["upscale"] = UPSCALE
        checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
        statuses.add(case.call_and_validate(checks=checks).status_code)

    check()
    return statuses


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_valid_requests_have_responses_as_described(description: Any, path: str, method: str) -> None:
    assert 200 in send(description, path, method, GenerationMode.POSITIVE, QUICK) or "{" in path


@pytest.mark.parametrize(("path", "method"), GENERATING)
def test_invalid_requests_are_rejected_as_described(description: Any, path: str, method: str) -> None:
    send(description, path, method, GenerationMode.NEGATIVE, QUICK)


@pytest.mark.parametrize(("path", "method"), SDAPI)
def test_requests_of_web_ui_have_responses_as_described(description: Any, path: str, method: str) -> None:
    send(description, path, method, GenerationMode.POSITIVE, QUICK if path in SDAPI_SUPPORTED else 2)
    if path in SDAPI_SUPPORTED and method == "POST":
        send(description, path, method, GenerationMode.NEGATIVE, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        *((*operation, mode) for operation in GENERATING for mode in GenerationMode),
        *((*operation, GenerationMode.POSITIVE) for operation in OPERATIONS[2:]),
    ],
)
def test_many_requests_have_responses_as_described(
    description: Any, path: str, method: str, mode: GenerationMode
) -> None:
    send(description, path, method, mode, MANY[method])


def test_what_is_listed_is_found(description: Any) -> None:
    """Sequences of requests whose parameters are of earlier responses: names of models, for example."""
    found = set()

    lists = description.exclude(path_regex="^/sdapi/")  # a sampler that is listed leads to images of any size there

    class Walk(lists.as_state_machine()):  # type: ignore[misc]  # a class that is made of the description
        def after_call(self, response: Any, case: schemathesis.Case) -> None:
            found.add((case.path, response.status_code))

    Walk.run(settings=settings(DETERMINISTIC, max_examples=WALKS, stateful_step_count=STEPS))
    assert ("/v1/models/{name}", 200) in found


def test_all_errors_have_the_same_schema(description: Any) -> None:
    """All paths are described, and all errors refer to the same schema."""
    paths = description.raw_schema["paths"]
    assert paths.keys() == {path for path, _ in [*OPERATIONS, *SDAPI]}
    for path, operations in paths.items():
        schema = "Rejection" if path.startswith(SDAPI_PREFIXES) else "Failed"
        for operation in operations.values():
            of_errors = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert of_errors == {"$ref": f"#/components/schemas/{schema}"}


def test_every_route_is_described(package: Path) -> None:
    with service(package, ui=True, key="secret", kept=KeptImages(60), sdapi=True) as running:
        routes = {re.sub(r":\w+}", "}", path) for path in paths_of(running.app.routes)}
        assert routes - UNDESCRIBED == running.app.openapi()["paths"].keys()
        assert routes >= UNDESCRIBED


def paths_of(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """Paths of all routes, those of included routers too."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from paths_of(route.original_router.routes, prefix + route.include_context.prefix)
        else:
            yield prefix + route.path
