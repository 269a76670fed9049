"""Tokens as OpenAI shows them: their text and the bytes it is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from tunesmith.render.renderer import Renderer
from tunesmith.serve.answers import ChatTokenLogprob, LikelyToken
from tunesmith.types import TokenLogprob

REPLACEMENT = "\ufffd"
BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
"""How tokenizers of SentencePiece's kind write a single byte."""


def chat_logprob(renderer: Renderer, found: TokenLogprob) -> ChatTokenLogprob:
    """A token with the likeliest ones in its place."""
    top = [likely_token(renderer, token, logprob) for token, logprob in found.top]
    return ChatTokenLogprob(**likely_token(renderer, found.token, found.logprob).model_dump(), top_logprobs=top)


def likely_token(renderer: Renderer, token: int, logprob: float) -> LikelyToken:
    """A token by itself."""
    return LikelyToken(token=renderer.decode([token]), logprob=logprob, bytes=token_bytes(renderer.tokenizer, token))


def token_bytes(tokenizer: Any, token: int) -> list[int] | None:
    """The bytes of a token, also of one that holds a part of a character; None where the tokenizer does not tell."""
    text = tokenizer.backend_tokenizer.decode([token], skip_special_tokens=False)
    if REPLACEMENT not in text:
        return list(text.encode())
    piece = tokenizer.backend_tokenizer.id_to_token(token) or ""
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
