"""What a GGUF file says of prompts and answers beside its tokens: the chat template, the special ids, whether BOS is put first.

>>> header_of(GGUFReader("faq-f16.gguf")) == intended_header(renderer, jinja)
True

A reader goes through every token of the vocabulary when it is made, seconds where there are 262,144: it is made once for each file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from tunesmith.export.chat_template import render_jinja
from tunesmith.export.parity import ParityError
from tunesmith.export.prompts import ParityPrompt
from tunesmith.render.renderer import Renderer


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """None where the file does not say."""

    chat_template: str | None
    bos_id: int | None
    eos_id: int | None
    eot_id: int | None
    """Of the end of a turn, where that is another token than EOS."""
    adds_bos: bool | None


def header_of(reader: GGUFReader) -> Header:
    """As any program finds it."""

    def value(key: str) -> Any:
        field = reader.get_field(key)
        return field.contents() if field else None

    return Header(
        chat_template=value("tokenizer.chat_template"),
        bos_id=value("tokenizer.ggml.bos_token_id"),
        eos_id=value("tokenizer.ggml.eos_token_id"),
        eot_id=value("tokenizer.ggml.eot_token_id"),
        adds_bos=value("tokenizer.ggml.add_bos_token"),
    )


def intended_header(renderer: Renderer, chat_template: str | None) -> Header:
    """What prompts the model with our tokens and ends its answers where we do."""
    eos_id, end_of_turn_id = renderer.tokenizer.eos_token_id, renderer.end_of_turn_id
    return Header(
        chat_template=chat_template or None,
        bos_id=renderer.tokenizer.bos_token_id,
        eos_id=eos_id,
        eot_id=end_of_turn_id if end_of_turn_id != eos_id else None,
        adds_bos=renderer.bos_id is not None,
    )


def require_header(reader: GGUFReader, expected: Header, *, file: Path) -> None:
    """Compare what a file says with what was meant.

    Raises:
        ParityError: it says something else.
    """
    found, meant = asdict(header_of(reader)), asdict(expected)
    for name, value in meant.items():
        if found[name] != value:
            remedy = "export again; if it stays so, report it"
            raise ParityError(str(file), f"its {name} is {found[name]!r}", expected=repr(value), remedy=remedy)


def writing_of(header: Header, renderer: Renderer, *, file: Path) -> Callable[[ParityPrompt], str]:
    """A prompt -> the text that the file's own chat template gives; BOS, which llama.cpp adds by itself, taken off."""

    def text(prompt: ParityPrompt) -> str:
        if header.chat_template is None:
            remedy = "export again; if it stays so, report it"
            raise ParityError(str(file), "the file has no chat template", expected="one, as the model is asked in chats", remedy=remedy)
        return render_jinja(renderer, prompt.messages, True, fields=prompt.fields, without_bos=True, source=header.chat_template)

    return text
