"""`triptych serve`: its options."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .cli_options import loading
from .errors import TriptychError

_POSITIVE = click.IntRange(min=1)


def limiting(command: Callable[..., None]) -> Callable[..., None]:
    """The options that bound a request; the command gets them as `limits`, arguments of `service.limits.Limits`."""

    @functools.wraps(command)
    def with_limits(
        max_pixels: int,
        max_steps: int,
        max_n: int,
        max_prompt: int,
        max_body: int,
        max_upload_pixels: int,
        timeout: float,
        **others: Any,
    ) -> None:
        limits = {
            "pixels": max_pixels,
            "steps": max_steps,
            "pictures": max_n,
            "prompt": max_prompt,
            "body": max_body,
            "upload_pixels": max_upload_pixels,
            "timeout": timeout,
        }
        command(limits=limits, **others)

    for name, kind, default, text in (
        ("--timeout", click.FloatRange(min=0, min_open=True), 300.0, "Seconds that a request may take."),
        ("--max-upload-pixels", _POSITIVE, 2**24, "Of a picture that is sent."),
        ("--max-body", _POSITIVE, 2**25, "Bytes of a form."),
        ("--max-prompt", _POSITIVE, 4000, "Characters of a prompt."),
        ("--max-n", _POSITIVE, 10, "Pictures of a request."),
        ("--max-steps", _POSITIVE, 100, "Steps of a picture."),
        ("--max-pixels", _POSITIVE, 2**20, "Pixels of a picture."),
    ):
        with_limits = click.option(name, type=kind, default=default, show_default=True, help=text)(with_limits)
    return with_limits


@click.command()
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Name or address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any that is free.")
@click.option("--api-key", envvar="TRIPTYCH_API_KEY", show_envvar=True, help="That callers must give, as bearer token.")
@click.option("--without-api-key", is_flag=True, help="Let all who reach HOST call, from other machines too.")
@click.option("--batch", type=_POSITIVE, help="Pictures of a call at most; on the CPU 1, else 4 if left out.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=10, show_default=True, help="Milliseconds to wait for company."
)
@click.option("--queue", type=_POSITIVE, default=32, show_default=True, help="Pictures that may wait, of a package.")
@click.option("--ui", is_flag=True, help="Have a page to play on, at /; with an API key, browsers ask for it.")
@limiting
@click.option("--log-prompts", is_flag=True, help="Let prompts be in the log.")
@loading
def serve(
    packages: tuple[Path, ...],
    host: str,
    port: int,
    api_key: str | None,
    without_api_key: bool,
    batch: int | None,
    wait: float,
    queue: int,
    ui: bool,
    limits: dict[str, Any],
    log_prompts: bool,
    load: dict[str, Any],
) -> None:
    """Serve PACKAGEs over HTTP, as OpenAI's Images API has it; /docs describes it.

    Models go by the names of the folders. SIGTERM ends it once what was accepted is finished.
    """
    try:
        from .service.limits import Limits
        from .service.server import serve as run
    except ImportError as error:
        raise TriptychError(f"triptych serve needs FastAPI: pip install 'triptych[serve]' ({error})") from None
    if ui:
        try:
            import gradio  # noqa: F401
        except ImportError as error:
            raise TriptychError(f"triptych serve --ui needs Gradio: pip install 'triptych[ui]' ({error})") from None
    run(
        packages,
        load,
        Limits(**limits),
        host=host,
        port=port,
        api_key=api_key,
        without_api_key=without_api_key,
        batch=batch,
        wait=wait / 1000,
        queue=queue,
        log_prompts=log_prompts,
        ui=ui,
        report=lambda line: click.echo(line, err=True),
    )
