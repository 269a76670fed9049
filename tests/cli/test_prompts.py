"""Files of prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.prompts import Prompt, PromptFile, read_prompts, single_prompt
from tunesmith.errors import DataError
from tunesmith.types import Message


def read(path: Path, text: str | bytes) -> PromptFile:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_prompts(path)


def read_row(tmp_path: Path, row: dict[str, Any]) -> Prompt:
    (prompt,) = read(tmp_path / "prompts.jsonl", json.dumps(row) + "\n").prompts
    return prompt


def user(text: str) -> Message:
    return Message(role="user", content=text)


def test_one_prompt_a_line(tmp_path: Path) -> None:
    found = read(tmp_path / "q.txt", "\ufeffWo ist\u2028die Tür?\r\n\r\n  \r\nUnd\tjetzt?\r\n")
    assert [prompt.messages for prompt in found.prompts] == [(user("Wo ist\u2028die Tür?"),), (user("Und\tjetzt?"),)]
    assert [prompt.source for prompt in found.prompts] == ["q.txt:1", "q.txt:4"]
    assert found.notes == ("2 blank lines of q.txt left out",)


def test_a_file_without_blank_lines_has_no_note(tmp_path: Path) -> None:
    assert read(tmp_path / "q.txt", "a\nb").notes == read(tmp_path / "q.txt", "a\nb\n").notes == ()


@pytest.mark.parametrize("column", ["prompt", "question", "instruction", "Question"])
def test_columns(column: str, tmp_path: Path) -> None:
    assert read_row(tmp_path, {column: "Hi?", "answer": "Hello."}).messages == (user("Hi?"),)


def test_instruction_and_input_stay_apart_as_in_training(tmp_path: Path) -> None:
    prompt = read_row(tmp_path, {"instruction": "Add.", "input": "1, 2"})
    assert prompt.messages == (user("Add.\n\n1, 2"),)
    assert prompt.fields == {"instruction": "Add.", "input": "1, 2"}
    assert read_row(tmp_path, {"instruction": "Add.", "input": ""}).messages == (user("Add."),)


@pytest.mark.parametrize("ending", [[], [{"role": "assistant", "content": "Hello."}]])
def test_conversations(ending: list[dict[str, str]], tmp_path: Path) -> None:
    begin = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi?"}]
    path = tmp_path / "prompts.jsonl"
    found = read(path, json.dumps({"messages": begin + ending}) + "\n")
    assert [prompt.messages for prompt in found.prompts] == [(Message(role="system", content="Be kind."), user("Hi?"))]
    assert found.notes == (("1 of 1 conversations end in an answer, which is left out",) if ending else ())


def test_sharegpt(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]}
    assert read_row(tmp_path, row).messages == (user("Hi?"),)


def test_csv(tmp_path: Path) -> None:
    found = read(tmp_path / "q.csv", "question\nHi?\nBye?\n")
    assert [prompt.source for prompt in found.prompts] == ["q.csv:2", "q.csv:3"]


def test_a_system_message_replaces_the_one_that_is_there() -> None:
    prompt = single_prompt("Hi?").with_system("Be brief.")
    assert prompt.messages == (Message(role="system", content="Be brief."), user("Hi?"))
    assert prompt.with_system("Be kind.").messages[0].content == "Be kind."
    assert prompt.with_system(None) == prompt


@pytest.mark.parametrize(
    ("name", "content", "place", "found"),
    [
        ("q.txt", b"\n \n", "q.txt", "no prompts"),
        ("q.txt", "Tür\n".encode("cp1252"), "q.txt:1", "not UTF-8"),
        ("q.jsonl", b'{"text": "Hi?"}\n', "q.jsonl:1", "the columns text"),
        ("q.jsonl", b'{"prompt": 7}\n', "q.jsonl:1", "is 7, of type int"),
        ("q.jsonl", b'{"prompt": "Hi?"\n', "q.jsonl:1", "broken JSON"),
        ("q.jsonl", b'{"messages": []}\n', "q.jsonl:1", "message"),
        ("q.jsonl", b'{"messages": "Hi?"}\n', "q.jsonl:1", "of type str"),
        ("q.jsonl", b'{"messages": [{"role": "robot", "content": "Hi?"}]}\n', "q.jsonl:1", "robot"),
    ],
)
def test_what_cannot_be_read(name: str, content: bytes, place: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=found) as caught:
        read(tmp_path / name, content)
    assert caught.value.place == place


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_prompts(tmp_path / "owner" / "q.txt")
