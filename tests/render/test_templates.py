"""Templates by name and by file, and what is wrong with them said in one paragraph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.samples import messages
from tunesmith.errors import ConfigError
from tunesmith.render.renderer import Renderer
from tunesmith.render.templates import field_names, resolve_template


def write(directory: Path, text: str | bytes) -> str:
    file = directory / "mine.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def prompt(tokenizer: Any, template: str, **fields: str) -> str:
    renderer = Renderer.for_model(tokenizer, template)
    return renderer.decode(renderer.prompt_ids(messages(("u", "one")), fields))


def test_field_names() -> None:
    assert field_names("{prompt} {{not}} {input!r:>3}") == {"prompt", "input"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no field\n", "fields []"),
        ("", "fields []"),
        ("{answer}\n", "fields ['answer']"),
        ("{prompt\n", "not a template"),
        ("}{prompt}\n", "not a template"),
        (b"Kunde: {prompt} \xe4\n", "not UTF-8"),
    ],
)
def test_bad_files(gemma_tokenizer: Any, tmp_path: Path, text: str | bytes, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_template(write(tmp_path, text), gemma_tokenizer)
    assert found in caught.value.found
    assert caught.value.place == str(tmp_path / "mine.txt")


@pytest.mark.parametrize("field", ["{mood}", "{prompt.real}", "{}", "{0}", "{prompt[0]}"])
def test_a_field_the_example_does_not_have(gemma_tokenizer: Any, tmp_path: Path, field: str) -> None:
    template = write(tmp_path, f"{{prompt}} {field}\n")
    with pytest.raises(ConfigError, match=r"template mine.txt: the field \{.*expected one of input, instruction, prompt, system"):
        prompt(gemma_tokenizer, template)


def test_columns_are_fields(gemma_tokenizer: Any, tmp_path: Path) -> None:
    assert prompt(gemma_tokenizer, write(tmp_path, "{mood}: {prompt}"), mood="kind {x}") == "<bos>kind {x}: one\n"


def test_braces_byte_order_mark_and_windows_line_ends(gemma_tokenizer: Any, tmp_path: Path) -> None:
    assert prompt(gemma_tokenizer, write(tmp_path, b"\xef\xbb\xbf{{json}}\r\n{prompt}\r\n")) == "<bos>{json}\none\n"


@pytest.mark.parametrize("name", ["qaa", "no/such/file.txt"])
def test_unknown_names(gemma_tokenizer: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"template {name}: no such template or file"):
        resolve_template(name, gemma_tokenizer)


def test_chat_needs_a_chat_model(gemma_tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        resolve_template("chat", gemma_tokenizer)
