"""Tokens as OpenAI shows them: their text and the bytes it is made of.

Decoders of SentencePiece's kind take the space off what they decode, so a token by itself would lose its own; here each is decoded behind
another, as it stands in an answer. Only the first token of an answer may then have a space that the answer does not begin with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

REPLACEMENT = "\ufffd"
BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
"""How tokenizers of SentencePiece's kind write a single byte."""
MOST_KEPT = 65_536
"""Tokens whose text need not be found anew."""


class TokenText(NamedTuple):
    """What a token stands for."""

    text: str
    """Of one that holds a part of a character its bytes, written `\\xf0\\x9f`; so no two tokens' look alike because they hold parts."""
    name: str
    """In the older API, where it is a key: the text, behind `bytes:` where it is written so."""
    bytes: list[int] | None
    """None where the tokenizer does not tell."""


class TokenTexts:
    """Of one tokenizer; may be asked by several threads."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._before = self._backend.encode("a", add_special_tokens=False).ids[-1:]
        """A token to decode others behind."""
        self.of = lru_cache(MOST_KEPT)(self._of)

    def _of(self, token: int) -> TokenText:
        text = self._behind_another(token)
        found = list(text.encode()) if REPLACEMENT not in text else self._bytes(token)
        if found is None:
            return TokenText(text, text, None)
        try:
            text = bytes(found).decode()
        except UnicodeDecodeError:
            written = "".join(f"\\x{byte:02x}" for byte in found)
            return TokenText(written, f"bytes:{written}", found)
        return TokenText(text, text, found)

    def _behind_another(self, token: int) -> str:
        before: str = self._backend.decode(self._before, skip_special_tokens=False)
        both: str = self._backend.decode([*self._before, token], skip_special_tokens=False)
        return both.removeprefix(before) if both.startswith(before) else self._backend.decode([token], skip_special_tokens=False)

    def _bytes(self, token: int) -> list[int] | None:
        """Of a token that is no text by itself, from how the tokenizer writes it."""
        piece = self._backend.id_to_token(token) or ""
        if match := BYTE_TOKEN.fullmatch(piece):
            return [int(match[1], 16)]
        numbers = [_byte_of().get(character) for character in piece]
        return None if None in numbers else numbers  # type: ignore[return-value]


@cache
def _byte_of() -> Mapping[str, int]:
    """The printable character that byte-level tokenizers write for each byte (GPT-2, Radford et al. 2019, its `encoder.py`).

    Bytes that are printable in Latin-1 stand for themselves, the others for the characters from U+0100 on, in order.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
