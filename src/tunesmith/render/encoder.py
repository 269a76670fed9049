"""Text -> token ids, one text at a time or many at once; the same ids either way.

encoder = Encoder(tokenizer)
with encoder.remembering(pieces):      # all given to the tokenizer in two calls
    encoder(pieces[0].text, literal=True)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tunesmith.render.templates import Piece


class Encoder:
    """A tokenizer, asked for nothing but the ids of a text as it stands: no special tokens added, nothing cut or padded."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[tuple[str, bool], list[int]] = {}

    def __call__(self, text: str, *, literal: bool) -> list[int]:
        """`literal`: strings that look like special tokens are plain text."""
        known = self._known.get((text, literal))
        return self._encode([text], literal)[0] if known is None else known

    @contextmanager
    def remembering(self, pieces: Iterable[Piece]) -> Iterator[None]:
        """Encode the texts of all pieces at once, several threads together, and know them within the block."""
        wanted: dict[bool, dict[str, None]] = {True: {}, False: {}}
        for piece in pieces:
            if piece.text:
                wanted[piece.literal][piece.text] = None
        try:
            for literal, texts in wanted.items():
                if texts:
                    self._known.update(((text, literal), ids) for text, ids in zip(texts, self._encode(list(texts), literal), strict=True))
            yield
        finally:
            self._known = {}

    def _encode(self, texts: list[str], literal: bool) -> list[list[int]]:
        """By the tokenizer's compiled part: what transformers adds around it takes as long again, and is of no use here."""
        backend = self._tokenizer.backend_tokenizer
        backend.no_truncation()  # some tokenizer files ask for these
        backend.no_padding()
        backend.encode_special_tokens = literal
        return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
