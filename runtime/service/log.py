"""Privacy of the log."""

import warnings

from ..errors import PromptWarning


def hide_prompts() -> None:
    """Silence, for the rest of this process, the warnings that quote a prompt. For processes that only serve."""
    warnings.simplefilter("ignore", PromptWarning)
