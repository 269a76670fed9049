"""What a GGUF file says of prompts and answers beside its tokens: the chat template, the special ids, whether BOS is put first.

>>> read_header(Path("faq-f16.gguf")) == intended_header(renderer, jinja)
True
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


def read_header(file: Path) -> Header:
    """As any program finds it."""
    reader = GGUFReader(file)

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


def require_header(file: Path, expected: Header) -> None:
    """Compare what a file says with what was meant.

    Raises:
        ParityError: it says something else.
    """
    found, meant = asdict(read_header(file)), asdict(expected)
    for name, value in meant.items():
        if found[name] != value:
            remedy = "export again; if it stays so, report it"
            raise ParityError(str(file), f"its {name} is {found[name]!r}", expected=repr(value), remedy=remedy)


def writing_of_file(file: Path, renderer: Renderer) -> Callable[[ParityPrompt], str]:
    """A prompt -> the text that the file's own chat template gives; BOS, which llama.cpp adds by itself, taken off."""
    source = read_header(file).chat_template

    def text(prompt: ParityPrompt) -> str:
        if source is None:
            remedy = "export again; if it stays so, report it"
            raise ParityError(str(file), "the file has no chat template", expected="one, as the model is asked in chats", remedy=remedy)
        return render_jinja(renderer, prompt.messages, True, fields=prompt.fields, without_bos=True, source=source)

    return text
