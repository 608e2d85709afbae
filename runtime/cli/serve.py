"""`triptych serve`, and `triptych ray-config` for the same service on Ray Serve."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import ArgumentError
from ..extras import needed
from . import completion
from .options import Option, group, loading
from .output import print_status
from .values import DURATION, SIZE

if TYPE_CHECKING:
    from ..service.limits import PoolLimits
    from ..service.options import Options

_POSITIVE = click.IntRange(min=1)


class _Range(click.FloatRange):
    """Range of numbers; NaN, which compares as neither below nor above, is outside."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the value, see `click.ParamType`."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number", param, ctx)
        return number


def _pool_limits(values: dict[str, Any]) -> "PoolLimits":
    from ..service.limits import PoolLimits

    return PoolLimits(values["keep"], values["max_memory"], values["idle"])


class Service(NamedTuple):
    """A service and its address."""

    options: "Options"
    host: str
    port: int


def _service(values: dict[str, Any]) -> Service:
    from ..service.limits import Limits
    from ..service.options import Options, is_local

    host = values["host"]
    limits = Limits(
        pixels=values["max_pixels"],
        steps=values["max_steps"],
        pictures=values["max_n"],
        prompt=values["max_prompt"],
        body=values["max_body"],
        upload_pixels=values["max_upload_pixels"],
        timeout=values["timeout"],
    )
    options = Options(
        packages=values["packages"],
        load={},
        limits=limits,
        batch=values["batch"],
        wait=values["wait"] / 1000,
        queue=values["queue"],
        local=is_local(host),
        without_api_key=values["without_api_key"],
        log_prompts=values["log_prompts"],
    )
    return Service(options, host, values["port"])


def _limit(name: str, default: float, text: str, kind: click.ParamType = _POSITIVE) -> Option:
    return click.option(name, type=kind, default=default, show_default=True, help=text)


serving = group(
    "service",
    {
        "packages": click.argument(
            "packages",
            nargs=-1,
            required=True,
            metavar="PACKAGE...",
            type=click.Path(path_type=Path),
            shell_complete=completion.packages,
        ),
        "host": click.option(
            "--host", default="127.0.0.1", show_default=True, help="Host name or address to listen on."
        ),
        "port": click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=8000,
            show_default=True,
            help="Port to listen on; 0 picks a free port.",
        ),
        "without_api_key": click.option(
            "--without-api-key", is_flag=True, help="Accept clients without an API key, even from other machines."
        ),
        "batch": click.option(
            "--batch", type=_POSITIVE, help="Maximum number of images in a call; if left out, 1 on the CPU, else 4."
        ),
        "wait": click.option(
            "--wait",
            type=_Range(min=0, max=60_000),
            default=10,
            show_default=True,
            help="Milliseconds that an image waits for others to join its batch.",
        ),
        "queue": _limit("--queue", 32, "Maximum number of queued images, for each package."),
        "max_pixels": _limit("--max-pixels", 2**20, "Maximum number of pixels in an image."),
        "max_steps": _limit("--max-steps", 100, "Maximum number of steps of an image."),
        "max_n": _limit("--max-n", 10, "Maximum number of images in a request."),
        "max_prompt": _limit("--max-prompt", 4000, "Maximum number of characters in a prompt."),
        "max_body": _limit("--max-body", 2**25, "Maximum number of bytes in a form."),
        "max_upload_pixels": _limit("--max-upload-pixels", 2**24, "Maximum number of pixels in an uploaded image."),
        "timeout": _limit(
            "--timeout", 300.0, "Maximum number of seconds for a request.", _Range(0, 86_400, min_open=True)
        ),
        "log_prompts": click.option("--log-prompts", is_flag=True, help="Write prompts to the log."),
    },
    _service,
)
"""Adds the options of a service; the command gets a `Service` as `service`."""


packages_loaded = group(
    "loaded",
    {
        "keep": click.option(
            "--keep", type=_POSITIVE, metavar="N", help="Maximum number of loaded packages; all if left out."
        ),
        "idle": click.option(
            "--idle",
            type=DURATION,
            metavar="DURATION",
            help="Unload a package that has had no request for this long, e.g. 30s, 10m or 2h; never if left out.",
        ),
        "max_memory": click.option(
            "--max-memory",
            type=SIZE,
            metavar="SIZE",
            help="Maximum estimated memory of the loaded packages, e.g. 6GiB; no limit if left out.",
        ),
    },
    _pool_limits,
)
"""Adds the limits of loaded packages; the command gets them as `loaded`."""


@click.command()
@click.option(
    "--api-key", envvar="TRIPTYCH_API_KEY", show_envvar=True, help="API key that clients send as a bearer token."
)
@packages_loaded
@click.option(
    "--keep-images",
    type=DURATION,
    metavar="DURATION",
    help="Allow response_format url: keep images in memory for this long, e.g. 10m. At most 256 MiB are kept; "
    "the oldest are removed first.",
)
@click.option("--ui", is_flag=True, help="Also serve a web page at /; if there is an API key, the page asks for it.")
@click.option("--sdapi", is_flag=True, help="Also serve the API of Stable Diffusion web UI (A1111), for its clients.")
@serving
@loading
def serve(
    service: Service,
    load: dict[str, Any],
    loaded: "PoolLimits",
    api_key: str | None,
    keep_images: int | None,
    ui: bool,
    sdapi: bool,
) -> None:
    """Serve PACKAGEs over HTTP with OpenAI's Images API; /docs describes it.

    Models are named after their folders. On SIGTERM, the service finishes accepted requests, then stops.
    """
    with needed("serve", "`triptych serve`"):
        from ..service.server import serve as run
    options = replace(service.options, load=load, api_key=api_key)
    address: dict[str, Any] = {"host": service.host, "port": service.port}
    run(options, **address, ui=ui, sdapi=sdapi, loaded=loaded, keep_images=keep_images, report=print_status)


@click.command("ray-config")
@click.option(
    "--min-replicas", type=_POSITIVE, default=1, show_default=True, help="Minimum number of replicas of each package."
)
@click.option(
    "--max-replicas", type=_POSITIVE, default=1, show_default=True, help="Maximum number of replicas of each package."
)
@click.option("--cpus-per-replica", type=_POSITIVE, help="CPUs per replica; if left out, each replica has a GPU.")
@serving
@loading
def ray_config(
    service: Service, load: dict[str, Any], min_replicas: int, max_replicas: int, cpus_per_replica: int | None
) -> None:
    """Print a Ray Serve configuration that serves PACKAGEs, for `serve run` and `serve deploy`.

    Every machine of the cluster needs PACKAGEs at the same paths, and the API key, if any, in its environment.
    """
    if max_replicas < min_replicas:
        raise ArgumentError(f"--max-replicas {max_replicas}; allowed: --min-replicas, {min_replicas}, or more")
    if cpus_per_replica is None and load["device"] == "cpu":
        raise ArgumentError("--device cpu: give the CPUs of each replica, with --cpus-per-replica")
    with needed("ray", "`triptych ray-config`"):
        from ..service.ray.config import config_of
    replicas = min_replicas, max_replicas
    options = replace(service.options, load=load)
    text = config_of(options, host=service.host, port=service.port, replicas=replicas, cpus=cpus_per_replica)
    click.echo(text, nl=False)
