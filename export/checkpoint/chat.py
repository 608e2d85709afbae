"""Chat templates: the text that they put around a prompt, found by applying them."""

from pathlib import Path

from triptych.runtime.errors import PackageError
from triptych.runtime.package.manifest import Template

from ..quiet import quiet
from ..sources import one_line

_PROMPTS = ("\ufffcprompt\ufffc", " a\n", "<tool_response>")


def chat_template(folder: Path, thinking: bool) -> Template:
    """The text around the message of a user and before the answer, from a tokenizer's folder.

    Args:
        folder: of the tokenizer.
        thinking: value of the template's `enable_thinking`.

    Raises:
        PackageError: there is no template, it cannot be applied, or the text around a prompt depends on the prompt.
    """
    texts = _applied(folder, thinking)
    before, _, after = texts[0].partition(_PROMPTS[0])
    if texts != [f"{before}{prompt}{after}" for prompt in _PROMPTS]:
        raise PackageError(f"{folder} has a chat template that changes prompts; allowed: text before and after them")
    return Template(before, after)


def _applied(folder: Path, thinking: bool) -> list[str]:
    """The template with each of the prompts."""
    from transformers import PreTrainedTokenizerFast

    try:
        with quiet():
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
            return [
                str(
                    tokenizer.apply_chat_template(
                        [{"role": "user", "content": prompt}],
                        tokenize=False,
                        add_generation_prompt=True,
                        enable_thinking=thinking,
                    )
                )
                for prompt in _PROMPTS
            ]
    except Exception as error:  # of any kind: a template is a program
        raise PackageError(f"{folder} has no chat template that can be applied ({one_line(error)})") from None
