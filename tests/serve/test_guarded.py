"""The serving path under rules; the rules themselves have tests of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.serve.conftest import QUESTION, TUNED, Served, serving
from tunesmith.errors import ConfigError
from tunesmith.serve.guarding import AnswerVerdict, Firing, PromptVerdict
from tunesmith.serve.guards import open_guards
from tunesmith.together import ServedModel
from tunesmith.types import Message

STOCK = "Let's talk about colours."


@dataclass(kw_only=True)
class FakeGuard:
    """Says a stock answer to `weather`, refuses `forbidden`, hides `secret`, and wants answers that `accepts` takes."""

    streams_live: bool = False
    checks_prompts: bool = True
    retries: int = 2
    retry_temperature: float = 1.5
    num_rejected: int = 0
    """Answers to reject before one is taken."""

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        text = messages[-1].content
        if "weather" in text:
            return PromptVerdict(messages=tuple(messages), answer=STOCK, fired=(firing("scope", "prompt", "redirect"),))
        if "forbidden" in text:
            return PromptVerdict(messages=tuple(messages), refusal="The prompt is too long.")
        shown = tuple(replace(one, content=one.content.replace("secret", "red")) for one in messages)
        return PromptVerdict(messages=shown)

    def check_answer(self, text: str, messages: Sequence[Message]) -> AnswerVerdict:
        assert "secret" not in messages[-1].content
        if self.num_rejected:
            self.num_rejected -= 1
            return AnswerVerdict(text="", problem="no JSON", fired=(firing("schema", "answer", "retry"),))
        return AnswerVerdict(text=f"[{text}]", fired=(firing("pii", "answer", "mask"),))


def firing(rule: str, side: Any, action: Any) -> Firing:
    return Firing(rule=rule, side=side, action=action, detail="1 thing")


GUARD = FakeGuard()


@pytest.fixture(scope="module")
def guarded(models: tuple[ServedModel, ...]) -> Iterator[Served]:
    with serving(models, guards={TUNED: GUARD}) as one:
        yield one


def ask(served: Served, text: str, **settings: Any) -> Any:
    return served.client().chat.completions.create(model=TUNED, messages=[{"role": "user", "content": text}], max_tokens=8, **settings)


def test_an_answer_goes_through_the_rules(guarded: Served, client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=8).choices[0].message.content
    answer = ask(guarded, "What is 1 and secret?", n=2)
    assert [choice.message.content for choice in answer.choices] == [f"[{plain}]"] * 2
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(guarded, "What is 1 and secret?", stream=True)]
    assert "".join(pieces) == f"[{plain}]"
    assert 'tunesmith_guardrail_firings_total{action="answer mask",guardrail="pii"}' in httpx2.get(f"{guarded.address}/metrics").text


def test_a_stock_answer_asks_no_model(guarded: Served) -> None:
    answer = ask(guarded, "How is the weather?")
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (STOCK, "content_filter")
    assert answer.usage.completion_tokens == 0
    chunks = list(ask(guarded, "How is the weather?", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == STOCK
    mixed = guarded.client().completions.create(model=TUNED, prompt=["the weather", "one two"], max_tokens=4)
    assert mixed.choices[0].text == STOCK
    assert mixed.choices[1].text.startswith("[")


def test_a_refused_prompt(guarded: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="too long") as refused:
        ask(guarded, "forbidden")
    assert (refused.value.code, refused.value.param) == ("guardrail", "messages")


def test_an_answer_is_made_anew(guarded: Served) -> None:
    GUARD.num_rejected = 2
    answer = ask(guarded, "What is 2?")
    assert answer.choices[0].message.content.startswith("[")
    assert answer.usage.completion_tokens > 8, "of all three tries"
    GUARD.num_rejected = 3
    with pytest.raises(openai.InternalServerError) as failed:
        ask(guarded, "What is 2?")
    assert failed.value.code == "guardrail_unsatisfied"
    guarded.wait_until(guarded.is_empty)


def test_nothing_goes_past_the_rules(guarded: Served) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(guarded, "What is 2?", logprobs=True)
    assert refused.value.param == "logprobs"
    with pytest.raises(openai.BadRequestError) as refused:
        guarded.client().completions.create(model=TUNED, prompt=[5, 6])
    assert refused.value.param == "prompt"


class TestResponseFormat:
    def test_a_schema_is_kept_or_it_is_an_error(self, client: openai.OpenAI) -> None:
        asked: dict[str, Any] = {"model": TUNED, "messages": QUESTION, "max_tokens": 8}
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
        with pytest.raises(openai.InternalServerError) as failed:
            client.chat.completions.create(**asked, response_format=wanted)
        assert failed.value.code == "guardrail_unsatisfied"
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(**asked, response_format={"type": "json_object"}, stream=True)
        assert client.chat.completions.create(**asked, response_format={"type": "text"}).choices


def test_the_rules_of_a_file(models: tuple[ServedModel, ...], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("models: [colours]\nlength: {max_prompt_characters: 20}\n", encoding="utf-8")
    guards = open_guards(tmp_path / "rules.yaml", models, say=print)
    assert set(guards) == {TUNED}
    with serving(models, guards=guards) as served:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(served, "What is 1 and red? " * 2)
        assert refused.value.code == "guardrail"
        assert list(ask(served, "What is 2?", stream=True)), "a rule for prompts alone does not hold answers"
    (tmp_path / "rules.yaml").write_text("models: [nowhere]\nprofanity: true\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="rules for 'nowhere', which is not served"):
        open_guards(tmp_path / "rules.yaml", models, say=print)
