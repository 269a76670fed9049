"""Numbers as people read them, the same in the terminal, in the report and on the page."""

from __future__ import annotations

import math

from tunesmith.evaluate.statistics import Interval


def signed(value: float, decimals: int) -> str:
    """`+0.13`, `-0.74`; plain `0.00` where nothing is left after rounding."""
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def bracketed(interval: Interval, decimals: int) -> str:
    """`[+0.10, +0.16]`."""
    return f"[{signed(interval.low, decimals)}, {signed(interval.high, decimals)}]"


def p_text(p_value: float) -> str:
    """`p = 0.031`, `p < 0.001`; never `p = 0`."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def share(count: int, total: int) -> str:
    """`61 %`; a dash where there is nothing to take a share of."""
    return f"{100 * count / total:.0f} %" if total else "–"


def roughly(count: int) -> str:
    """Two significant digits, rounded up: `420`, `1,300`."""
    step = 10 ** max(0, math.floor(math.log10(count)) - 1) if count else 1
    return f"{math.ceil(count / step) * step:,}"


def counted(count: int, noun: str) -> str:
    """`1 answer`, `1,200 answers`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def decimals_for(interval: Interval | None, usual: int) -> int:
    """As many digits as show the interval's width with at least one digit, at most two more than usual."""
    width = interval.high - interval.low if interval else 0.0
    wanted = math.ceil(-math.log10(width)) if width > 0 else usual
    return min(max(usual, wanted), usual + 2)
