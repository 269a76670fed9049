"""Show what the model sees: decoded tokens, the supervised ones marked.

<|im_start|>user
What is LoRA?<|im_end|>
<|im_start|>assistant
⟦A low-rank adapter.<|im_end|>⟧
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from tunesmith.types import RenderedExample

if TYPE_CHECKING:
    from rich.text import Text

    from tunesmith.render.renderer import Renderer


class Span(NamedTuple):
    """Neighbouring tokens of one kind, decoded together (a character may be made of several tokens)."""

    text: str
    supervised: bool


def spans(rendered: RenderedExample, renderer: Renderer) -> list[Span]:
    """Decode the example span by span."""
    pairs = zip(rendered.token_ids, rendered.supervised, strict=True)
    return [Span(renderer.decode([token for token, _ in group]), supervised) for supervised, group in groupby(pairs, key=lambda p: p[1])]


def plain(rendered: RenderedExample, renderer: Renderer, max_characters: int = 2000) -> str:
    """The picture without colours, for files and errors; supervised tokens stand between ⟦ and ⟧."""
    text = "".join(f"⟦{span.text}⟧" if span.supervised else span.text for span in spans(rendered, renderer))
    if len(text) <= max_characters:
        return text
    half = max_characters // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters …\n{text[-half:]}"


def coloured(rendered: RenderedExample, renderer: Renderer) -> Text:
    """The picture for a terminal: supervised tokens green and underlined, the prompt dim."""
    from rich.text import Text

    text = Text()
    for span in spans(rendered, renderer):
        text.append(span.text, style="bold green underline" if span.supervised else "dim")
    return text
