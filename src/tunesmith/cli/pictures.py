"""A rendered example on a screen: coloured on a terminal, with ⟦ ⟧ around what is supervised elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.cli.terminal import harmless, table

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.render.renderer import Renderer
    from tunesmith.types import RenderedExample

NO_LIMIT = 10**9


def draw(rendered: RenderedExample, renderer: Renderer, screen: Console, what: str = "") -> None:
    """The example's source, what it is where that needs saying (`chosen`), its counts, then its tokens decoded."""
    from rich.text import Text

    from tunesmith.render import picture

    place = f"{rendered.example.source}, {what}" if what else rendered.example.source
    title = f"{place}: {len(rendered.token_ids)} tokens, {rendered.num_supervised} of them supervised"
    if screen.is_terminal and not screen.no_color:
        screen.print(Text.assemble((title, "bold"), ("  (", "dim"), ("green", "bold green underline"), (" is what trains)", "dim")))
        text = picture.coloured(rendered, renderer)
        text.plain = harmless(text.plain)
        screen.print(text)
    else:
        screen.print(f"{title}  (⟦ ⟧ is what trains)")
        screen.print(picture.plain(rendered, renderer, NO_LIMIT))


def token_lines(rendered: RenderedExample, renderer: Renderer) -> list[str]:
    """One line a token: position, id, text, and whether it is supervised."""
    rows = [
        (str(position), str(token), repr(renderer.decode([token])), "supervised" if supervised else "")
        for position, (token, supervised) in enumerate(zip(rendered.token_ids, rendered.supervised, strict=True))
    ]
    return table(("position", "id", "token", ""), rows, right=(0, 1))
