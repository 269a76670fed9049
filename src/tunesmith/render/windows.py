"""A raw text longer than a training sequence -> consecutive windows, so that all of it trains.

    tokens        a b c d e f g h <end>
    3 windows     a b c d
    of 4                d e f g          d and g only give something to predict from
                              g h <end>

Every token is predicted exactly once, from what precedes it in its window. A model that wants a beginning-of-sequence token
gets it at the start of every window.
"""

from __future__ import annotations

import dataclasses

from tunesmith.types import RenderedExample


def cut_into_windows(rendered: RenderedExample, max_length: int, bos_id: int | None) -> tuple[RenderedExample, ...]:
    """The rendered text in windows of at most `max_length` tokens, all but the last full; itself alone when it fits."""
    if len(rendered.token_ids) <= max_length:
        return (rendered,)
    lead = () if bos_id is None else (bos_id,)
    ids = rendered.token_ids[len(lead) :]
    flags = rendered.supervised[len(lead) :]
    starts = _starts(len(ids), max_length - len(lead))
    return tuple(
        dataclasses.replace(
            rendered,
            token_ids=(*lead, *ids[start:stop]),
            # What a later window begins with was predicted at the end of the one before.
            supervised=(*(False for _ in lead), flags[start] and start == 0, *flags[start + 1 : stop]),
            window=number,
            num_windows=len(starts),
        )
        for number, start in enumerate(starts)
        for stop in (min(start + max_length - len(lead), len(ids)),)
    )


def _starts(num_tokens: int, size: int) -> range:
    """Where windows of `size` tokens begin that overlap by one, up to the first that reaches the end."""
    return range(0, num_tokens - 1, size - 1)
