"""The text of a growing completion: whole characters only, and nothing that may yet turn out to begin a stop string.

>>> stream = TextStream(parse, stop=["\\n\\n"])
>>> stream.add(token)       # what may be shown now, often one word, sometimes nothing
' password'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"
"""What a decoder shows for a character whose bytes are not all there yet."""


class TextStream:
    """Token ids in, pieces of text out; joined, the pieces are the text of all ids, cut before the first stop string."""

    def __init__(self, parse: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._parse = parse
        self._stop = stop
        self._ids: list[int] = []
        # Tokens are decoded together with those before them, which decide about spaces; ids before `_context` no longer matter.
        self._context, self._done = 0, 0
        self._held = ""
        self.is_stopped = False
        """A stop string came; nothing follows."""

    def add(self, token: int) -> str:
        """The text that is certain now and was not before."""
        self._ids.append(token)
        return self._pass_on(self._decode(incomplete=False), is_last=False)

    def end(self) -> str:
        """The rest, once no token follows: what was held back, a broken character shown as such."""
        return self._pass_on(self._decode(incomplete=True), is_last=True)

    def _decode(self, *, incomplete: bool) -> str:
        before = self._parse(self._ids[self._context : self._done])
        text = self._parse(self._ids[self._context :])
        if len(text) <= len(before) or (text.endswith(REPLACEMENT) and not incomplete):
            return ""
        self._context, self._done = self._done, len(self._ids)
        return text[len(before) :]

    def _pass_on(self, piece: str, *, is_last: bool) -> str:
        if self.is_stopped:
            return ""
        text = self._held + piece
        ends = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if ends:
            self.is_stopped, self._held = True, ""
            return text[: min(ends)]
        keep = 0 if is_last else self._num_undecided(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _num_undecided(self, text: str) -> int:
        """Characters at the end of `text` with which a stop string begins."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        return next(
            (size for size in range(min(longest, len(text)), 0, -1) if any(stop.startswith(text[-size:]) for stop in self._stop)), 0
        )
