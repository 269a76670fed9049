"""What a split looks like on a screen: an example coloured on a terminal, with ⟦ ⟧ around what is supervised elsewhere; lengths."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tunesmith.cli.terminal import harmless, table

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.render.lengths import Histogram
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


BAR_WIDTH = 30


def histogram_lines(histogram: Histogram, max_length: int) -> list[str]:
    """How many examples have how many tokens, and how many a limit at the end of each line would take in."""
    highest = max(histogram.counts, default=0) or 1
    rows = []
    for number, (count, covered) in enumerate(zip(histogram.counts, histogram.coverage, strict=True)):
        first, last = number * histogram.width + 1, (number + 1) * histogram.width
        bar = "█" * math.ceil(BAR_WIDTH * count / highest)
        over = "  over --max-length" if first > max_length else ""
        rows.append((f"{first:,}-{last:,}", f"{count:,}", f"{100 * covered:.0f} %", f"{bar}{over}"))
    return table(("tokens", "examples", "so far", ""), rows, right=(0, 1, 2))
