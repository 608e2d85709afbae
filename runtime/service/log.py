"""What is kept out of the log."""

import warnings


def quiet_of_prompts() -> None:
    """From now on, nothing says what was left out of a prompt, which quotes it."""
    warnings.filterwarnings("ignore", "the prompt is longer")
