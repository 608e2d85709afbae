"""`triptych serve`, and `triptych ray-config` for the same service on Ray Serve."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import ArgumentError, TriptychError
from .options import Option, group, loading
from .output import say

if TYPE_CHECKING:
    from ..service.options import Options

_POSITIVE = click.IntRange(min=1)


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
            "packages", nargs=-1, required=True, metavar="PACKAGE...", type=click.Path(path_type=Path)
        ),
        "host": click.option("--host", default="127.0.0.1", show_default=True, help="Name or address to listen at."),
        "port": click.option(
            "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any free port."
        ),
        "without_api_key": click.option(
            "--without-api-key", is_flag=True, help="Serve every client that reaches HOST, from other machines too."
        ),
        "batch": click.option(
            "--batch", type=_POSITIVE, help="Images of a call at most; 1 on the CPU, else 4, if left out."
        ),
        "wait": click.option(
            "--wait",
            type=click.FloatRange(min=0),
            default=10,
            show_default=True,
            help="Milliseconds that an image waits for others, to share a call.",
        ),
        "queue": _limit("--queue", 32, "Images in the queue at most, for each package."),
        "max_pixels": _limit("--max-pixels", 2**20, "Pixels of an image at most."),
        "max_steps": _limit("--max-steps", 100, "Steps of an image at most."),
        "max_n": _limit("--max-n", 10, "Images of a request at most."),
        "max_prompt": _limit("--max-prompt", 4000, "Characters of a prompt at most."),
        "max_body": _limit("--max-body", 2**25, "Bytes of a form at most."),
        "max_upload_pixels": _limit("--max-upload-pixels", 2**24, "Pixels of an uploaded image at most."),
        "timeout": _limit("--timeout", 300.0, "Seconds of a request at most.", click.FloatRange(min=0, min_open=True)),
        "log_prompts": click.option("--log-prompts", is_flag=True, help="Write prompts to the log."),
    },
    _service,
)
"""Adds the options of a service, wherever it runs; the command gets a `Service` as `service`."""


@click.command()
@click.option("--api-key", envvar="TRIPTYCH_API_KEY", show_envvar=True, help="Key that clients send as bearer token.")
@click.option("--ui", is_flag=True, help="Serve a page at /; with an API key, browsers ask for it.")
@serving
@loading
def serve(service: Service, load: dict[str, Any], api_key: str | None, ui: bool) -> None:
    """Serve PACKAGEs over HTTP, as OpenAI's Images API has it; /docs describes it.

    Models are named as the folders. SIGTERM stops the service after the accepted requests are finished.
    """
    try:
        from ..service.server import serve as run
    except ImportError as error:
        raise TriptychError(f"triptych serve needs FastAPI: pip install 'triptych[serve]' ({error})") from None
    if ui:
        try:
            import gradio  # noqa: F401
        except ImportError as error:
            raise TriptychError(f"triptych serve --ui needs Gradio: pip install 'triptych[ui]' ({error})") from None
    options = replace(service.options, load=load, api_key=api_key)
    run(options, host=service.host, port=service.port, ui=ui, report=say)


@click.command("ray-config")
@click.option("--min-replicas", type=_POSITIVE, default=1, show_default=True, help="Replicas of each package at least.")
@click.option("--max-replicas", type=_POSITIVE, default=1, show_default=True, help="Replicas of each package at most.")
@click.option("--cpus-per-replica", type=_POSITIVE, help="CPUs of each; a GPU if left out.")
@serving
@loading
def ray_config(
    service: Service, load: dict[str, Any], min_replicas: int, max_replicas: int, cpus_per_replica: int | None
) -> None:
    """Print Ray Serve's configuration for a service of PACKAGEs, for `serve run FILE` and `serve deploy FILE`.

    Each machine of the cluster has PACKAGEs at the same paths, and the API key, if there is one, in its environment.
    """
    if max_replicas < min_replicas:
        raise ArgumentError(f"--max-replicas {max_replicas}; allowed: --min-replicas, {min_replicas}, or more")
    if cpus_per_replica is None and load["device"] == "cpu":
        raise ArgumentError("--device cpu: give the CPUs of each replica, with --cpus-per-replica")
    try:
        from ..service.ray.config import config_of
    except ImportError as error:
        raise TriptychError(f"triptych ray-config needs PyYAML: pip install 'triptych[ray]' ({error})") from None
    replicas = min_replicas, max_replicas
    options = replace(service.options, load=load)
    text = config_of(options, host=service.host, port=service.port, replicas=replicas, cpus=cpus_per_replica)
    click.echo(text, nl=False)
