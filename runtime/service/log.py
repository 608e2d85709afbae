"""Privacy settings of the log."""

import warnings

from ..errors import PromptWarning


def hide_prompts() -> None:
    """Silence the warnings that quote a prompt, for the rest of this process; for server processes only."""
    warnings.simplefilter("ignore", PromptWarning)
