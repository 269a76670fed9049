"""Rendered examples as lists a person can read."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from tunesmith.render.renderer import Renderer
from tunesmith.types import Example


class Shown(NamedTuple):
    """An example's tokens under their names in the vocabulary (`Ġ` a space, `Ċ` a newline)."""

    tokens: list[str]
    supervised: list[str]
    """Those that train, in order."""
    flags: str
    """`.` for a token of the prompt, `S` for a supervised one."""


def show(renderer: Renderer, example: Example) -> Shown:
    rendered = renderer.render(example)
    assert len(rendered.token_ids) == len(rendered.supervised)
    tokens = renderer.tokenizer.convert_ids_to_tokens(list(rendered.token_ids))
    supervised = [token for token, flag in zip(tokens, rendered.supervised, strict=True) if flag]
    return Shown(tokens, supervised, "".join("S" if flag else "." for flag in rendered.supervised))


def with_chat_template(tokenizer: Any, template: str | None) -> Any:
    """A copy of the tokenizer with another chat template."""
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other
