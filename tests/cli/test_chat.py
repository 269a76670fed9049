"""The chat in the terminal: streaming whole characters, commands, and a conversation that outgrows the context."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith, Workspace
from tunesmith.cli.chat import chat, stream
from tunesmith.config import GenerateConfig
from tunesmith.tuned import OpenedModel, open_model
from tunesmith.types import Message


@pytest.fixture(scope="session")
def opened(tiny_llama: Path) -> OpenedModel:
    return open_model(tiny_llama, dtype="float32", device="cpu")


def test_streamed_is_what_is_generated_at_once(opened: OpenedModel) -> None:
    config = GenerateConfig(max_new_tokens=24)
    messages = [Message(role="user", content="What is the capital of France?")]
    pieces: list[str] = []
    answer = stream(opened, messages, config, pieces.append)
    (completion,) = opened.complete([messages], config)
    assert answer.text == "".join(pieces) == completion.text
    assert (answer.num_tokens, answer.finish_reason) == (len(completion.token_ids), completion.finish_reason)


def converse(opened: OpenedModel, lines: list[str], config: GenerateConfig, system: str | None = None) -> list[str]:
    written: list[str] = []
    script = iter(lines)

    def read(prompt: str) -> str:
        assert prompt == "> "
        try:
            return next(script)
        except StopIteration:
            raise EOFError from None

    chat(opened, config, system=system, read=read, write=written.append)
    return "".join(written).splitlines(keepends=True)


@pytest.fixture
def asked(opened: OpenedModel, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The messages the model was shown at each turn."""
    seen: list[list[str]] = []
    whole = OpenedModel.prompt_ids

    def prompt_ids(self: OpenedModel, messages: list[Message], *rest: object, **named: object) -> tuple[int, ...]:
        seen.append([message.content for message in messages])
        return whole(self, messages, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenedModel, "prompt_ids", prompt_ids)
    return seen


def test_a_conversation_is_remembered_and_reset(opened: OpenedModel, asked: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    converse(opened, ["One?", "", "Two?", "/reset", "Three?", "/help", "/exit", "Never?"], GenerateConfig(max_new_tokens=2), "Be kind.")
    assert [turn[0] for turn in asked] == ["Be kind."] * 3
    assert [turn[-1] for turn in asked] == ["One?", "Two?", "Three?"]
    assert [len(turn) for turn in asked] == [2, 4, 2]
    remarks = capsys.readouterr().err
    assert "a new conversation" in remarks
    assert "/help: no such command" in remarks
    assert "--max-new-tokens allows more" in remarks


def test_the_oldest_turns_are_forgotten_aloud(opened: OpenedModel, asked: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    long = "red green blue one two three four five " * 3
    converse(opened, [f"{number} {long}" for number in range(6)], GenerateConfig(max_new_tokens=8))
    assert asked[0][0].startswith("0 ")
    assert asked[-1][-1].startswith("5 ")
    assert not asked[-1][0].startswith("0 ")
    assert "no longer fit" in capsys.readouterr().err


def test_an_answer_can_be_stopped(opened: OpenedModel, capsys: pytest.CaptureFixture[str]) -> None:
    class Impatient:
        """Presses Ctrl-C at the second piece."""

        count = 0

        def __call__(self, piece: str) -> None:
            self.count += 1
            if self.count == 2:
                raise KeyboardInterrupt

    answer = stream(opened, [Message(role="user", content="What is 1?")], GenerateConfig(max_new_tokens=50), Impatient())
    assert answer.finish_reason is None
    assert answer.num_tokens < 50


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace standard input by a terminal on which this is typed."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    return lambda text: monkeypatch.setattr("sys.stdin", Terminal(text))


def test_without_a_prompt_a_terminal_chats(tunesmith: Tunesmith, workspace: Workspace, typed: Callable[[str], None]) -> None:
    typed("What is 1?\n/exit\n")
    result = tunesmith("generate", workspace.run, "--max-new-tokens", "4")
    assert result.code == 0, result.stderr
    assert result.stdout.startswith("> ")
    assert "/reset begins a new one" in result.stderr


def test_a_chat_has_no_json(tunesmith: Tunesmith, workspace: Workspace, typed: Callable[[str], None]) -> None:
    typed("")
    result = tunesmith("generate", workspace.run, "--json")
    assert result.code == 2
    assert "--json without a prompt" in result.stderr


def test_without_a_terminal_standard_input_is_the_prompt(
    tunesmith: Tunesmith, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("What is\nzwölf?\n".encode())))
    result = tunesmith("generate", workspace.run, "--max-new-tokens", "2", "--json")
    assert result.document["prompt"] == "What is\nzwölf?"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("zwölf".encode("cp1252"))))
    refused = tunesmith("generate", workspace.run)
    assert refused.code == 2
    assert "standard input:1: byte 0xf6" in refused.stderr
