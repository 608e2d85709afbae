"""`triptych serve`, and `triptych ray-config` for the same service on Ray Serve."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ArgumentError, TriptychError
from .options import loading
from .output import say

if TYPE_CHECKING:
    from ..service.options import Options

_POSITIVE = click.IntRange(min=1)


def serving(command: Callable[..., None]) -> Callable[..., None]:
    """What a service is told wherever it runs; the command gets it as `options`, and where it listens as others."""

    @functools.wraps(command)
    def with_options(
        packages: tuple[Path, ...],
        host: str,
        without_api_key: bool,
        batch: int | None,
        wait: float,
        queue: int,
        max_pixels: int,
        max_steps: int,
        max_n: int,
        max_prompt: int,
        max_body: int,
        max_upload_pixels: int,
        timeout: float,
        log_prompts: bool,
        load: dict[str, Any],
        **others: Any,
    ) -> None:
        from ..service.limits import Limits
        from ..service.options import Options, is_local

        limits = Limits(
            pixels=max_pixels,
            steps=max_steps,
            pictures=max_n,
            prompt=max_prompt,
            body=max_body,
            upload_pixels=max_upload_pixels,
            timeout=timeout,
        )
        options = Options(
            packages=packages,
            load=load,
            limits=limits,
            batch=batch,
            wait=wait / 1000,
            queue=queue,
            local=is_local(host),
            without_api_key=without_api_key,
            log_prompts=log_prompts,
        )
        command(options=options, host=host, **others)

    decorated = loading(with_options)
    decorated = click.option("--log-prompts", is_flag=True, help="Let prompts be in the log.")(decorated)
    for name, kind, default, text in (
        ("--timeout", click.FloatRange(min=0, min_open=True), 300.0, "Seconds that a request may take."),
        ("--max-upload-pixels", _POSITIVE, 2**24, "Of a picture that is sent."),
        ("--max-body", _POSITIVE, 2**25, "Bytes of a form."),
        ("--max-prompt", _POSITIVE, 4000, "Characters of a prompt."),
        ("--max-n", _POSITIVE, 10, "Pictures of a request."),
        ("--max-steps", _POSITIVE, 100, "Steps of a picture."),
        ("--max-pixels", _POSITIVE, 2**20, "Pixels of a picture."),
    ):
        decorated = click.option(name, type=kind, default=default, show_default=True, help=text)(decorated)
    for option in (
        click.option(
            "--queue", type=_POSITIVE, default=32, show_default=True, help="Pictures that may wait, of a package."
        ),
        click.option(
            "--wait",
            type=click.FloatRange(min=0),
            default=10,
            show_default=True,
            help="Milliseconds to wait for company.",
        ),
        click.option("--batch", type=_POSITIVE, help="Pictures of a call at most; on the CPU 1, else 4 if left out."),
        click.option("--without-api-key", is_flag=True, help="Let all who reach HOST call, from other machines too."),
        click.option(
            "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any that is free."
        ),
        click.option("--host", default="127.0.0.1", show_default=True, help="Name or address to listen at."),
        click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...", type=click.Path(path_type=Path)),
    ):
        decorated = option(decorated)
    return decorated


@click.command()
@click.option("--api-key", envvar="TRIPTYCH_API_KEY", show_envvar=True, help="That callers must give, as bearer token.")
@click.option("--ui", is_flag=True, help="Have a page to play on, at /; with an API key, browsers ask for it.")
@serving
def serve(options: "Options", api_key: str | None, host: str, port: int, ui: bool) -> None:
    """Serve PACKAGEs over HTTP, as OpenAI's Images API has it; /docs describes it.

    Models go by the names of the folders. SIGTERM ends it once what was accepted is finished.
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
    run(
        replace(options, api_key=api_key),
        host=host,
        port=port,
        ui=ui,
        report=say,
    )


@click.command("ray-config")
@click.option("--min-replicas", type=_POSITIVE, default=1, show_default=True, help="Of each package.")
@click.option("--max-replicas", type=_POSITIVE, default=1, show_default=True, help="Where there is work for them.")
@click.option("--cpus-per-replica", type=_POSITIVE, help="CPUs of each; a GPU if left out.")
@serving
def ray_config(
    options: "Options", host: str, port: int, min_replicas: int, max_replicas: int, cpus_per_replica: int | None
) -> None:
    """Print the service of PACKAGEs as Ray Serve's configuration, for `serve run FILE` and `serve deploy FILE`.

    Each machine of the cluster has PACKAGEs at the same paths, and the API key, if there is one, in its environment.
    """
    if max_replicas < min_replicas:
        raise ArgumentError(f"--max-replicas {max_replicas}; allowed: --min-replicas, {min_replicas}, or more")
    if cpus_per_replica is None and options.load["device"] == "cpu":
        raise ArgumentError("--device cpu: say how many CPUs each replica has, with --cpus-per-replica")
    try:
        from ..service.ray.config import config_of
    except ImportError as error:
        raise TriptychError(f"triptych ray-config needs PyYAML: pip install 'triptych[ray]' ({error})") from None
    replicas = min_replicas, max_replicas
    click.echo(config_of(options, host=host, port=port, replicas=replicas, cpus=cpus_per_replica), nl=False)
