"""The hub's client: found where it is installed, quiet, and with its errors as ours."""

import errno
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from types import ModuleType

from ..errors import HubError, TransferError, TriptychError, first_line, system_reason
from ..extras import needed

_ACCESS = (401, 403)
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


def client(command: str) -> ModuleType:
    """The module huggingface_hub.

    Raises:
        MissingExtraError: it is not installed, or too old; names the extra.
    """
    with needed("hub", f"`triptych {command}`"):
        import huggingface_hub
        from huggingface_hub import resolve_revision  # noqa: F401  tokenizers brings the library in any version
    return huggingface_hub


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids requests."""
    import huggingface_hub.constants

    return bool(huggingface_hub.constants.HF_HUB_OFFLINE)


@contextmanager
def talking(repository: str, *, progress: bool = False) -> Iterator[None]:
    """Requests to the hub: its client raises our errors, and prints nothing but progress.

    Args:
        repository: name with the revision, for messages.
        progress: show bars, if stderr is a terminal.

    Raises:
        HubError: no such repository or revision, or no access.
        TransferError: any other failure of hub, network or disk.
    """
    from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    level, shows = logging.get_verbosity(), progress and sys.stderr.isatty()
    hides = not shows and HF_HUB_DISABLE_PROGRESS_BARS is None  # the variable has priority
    logging.set_verbosity(ERROR)
    if hides:
        disable_progress_bars()
    try:
        yield
    except TriptychError:
        raise
    except Exception as error:  # the client raises its own, its HTTP library's and those of the system
        raise _translated(error, repository) from error
    finally:
        logging.set_verbosity(level)
        if hides:
            enable_progress_bars()
        if shows:
            gc.collect()  # the client closes no bars: cycles hold them, and the cursor stays among them


def _translated(error: Exception, repository: str) -> HubError:
    from huggingface_hub import errors

    name, _, revision = repository.partition("@")
    response = getattr(error, "response", None)
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{name} is gated: ask for access on its page on the hub, then {_LOGIN}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(f"the hub has no model {name}, or it is private; for a private one {_LOGIN}")
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{name} has no revision {revision or 'main'}; allowed: a branch, a tag or a whole commit")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubError(f"{repository} cannot be fetched: HF_HUB_OFFLINE is set")
    if response is not None and response.status_code in _ACCESS:
        return HubError(f"the hub refuses access to {name}: {_LOGIN} (with the right to write, for an upload)")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return TransferError(f"{repository} was not transferred: {system_reason(error)}; free some and run it again")
    if type(error) is ValueError:  # the hub does not take the card
        return HubError(f"{repository}: {' '.join(str(error).split())}")
    if isinstance(error, errors.RevisionResolutionError):
        return TransferError(f"the hub cannot be reached for {repository}: {first_line(error.__cause__ or error)}")
    return TransferError(f"{repository} was not transferred: {first_line(error)}; run the command again")
