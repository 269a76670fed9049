"""The serving path under rules; the rules themselves have tests of their own."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.serve.conftest import QUESTION, TUNED, Served, serving
from tunesmith.errors import ConfigError
from tunesmith.serve.forms import Form, SchemaProcesses
from tunesmith.serve.guarded import Rules, without_unfinished
from tunesmith.serve.guarding import AnswerVerdict, Firing, PromptVerdict
from tunesmith.serve.guardrails.rules import Guardrails
from tunesmith.serve.guardrails.settings import load_settings
from tunesmith.serve.guards import open_guards
from tunesmith.serve.shapes import Choice
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
    needs_whole_words: bool = False
    pause: float = 0.0
    """Seconds that it takes to look at an answer."""
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

    def check_answer(self, text: str, messages: Sequence[Message], *, stop: Sequence[str] = ()) -> AnswerVerdict:
        assert "secret" not in messages[-1].content
        time.sleep(self.pause)
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
        guarded.client().completions.create(model=TUNED, prompt="What is 2?", logprobs=0)
    assert refused.value.param == "logprobs"
    with pytest.raises(openai.BadRequestError) as refused:
        guarded.client().completions.create(model=TUNED, prompt=[5, 6])
    assert refused.value.param == "prompt"


def test_too_many_completions_are_refused_before_anything_is_looked_at(guarded: Served) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        guarded.client().completions.create(model=TUNED, prompt=["forbidden"] * 17)
    assert refused.value.param == "n"
    with pytest.raises(openai.BadRequestError) as refused:
        ask(guarded, "forbidden", n=17)
    assert refused.value.param == "n"


def test_what_the_rules_refuse_is_not_in_the_log(
    models: tuple[ServedModel, ...], caplog: pytest.LogCaptureFixture, client: openai.OpenAI
) -> None:
    plain = client.chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=8)
    guard = FakeGuard(num_rejected=3, retry_temperature=0.0)
    with serving(models, guards={TUNED: guard}, log_prompts=True) as served, caplog.at_level(logging.INFO, logger="tunesmith.serve"):
        with pytest.raises(openai.InternalServerError, match="tries"):
            ask(served, "What is 1 and red?", temperature=0)
        served.wait_until(lambda: any(hasattr(one, "fields") and one.fields.get("status") == 500 for one in caplog.records))
    line = next(one.fields for one in caplog.records if hasattr(one, "fields") and one.fields.get("status") == 500)
    assert "answers" not in line
    assert (plain.choices[0].message.content or "") not in json.dumps(line)
    assert line["completion_tokens"] == 3 * plain.usage.completion_tokens  # type: ignore[union-attr]


def test_stop_strings_end_what_the_rules_left(guarded: Served, client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=8).choices[0].message.content or ""
    for stop, expected in (("]", f"[{plain}"), (plain[:2], "[")):
        choice = ask(guarded, "What is 1 and red?", stop=stop).choices[0]
        assert (choice.message.content, choice.finish_reason) == (expected, "stop")
    assert ask(guarded, "How is the weather?", stop="talk").choices[0].message.content == STOCK


JSON_AND_MORE, WITH_STOP_INSIDE = '{"a": 1}\nand more', '{"a": "x]y"}'
AN_OBJECT: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


@dataclass(kw_only=True)
class SaysAlways(FakeGuard):
    """Whatever the model said."""

    text: str
    retries: int = 0

    def check_answer(self, text: str, messages: Sequence[Message], *, stop: Sequence[str] = ()) -> AnswerVerdict:
        return AnswerVerdict(text=self.text)


@pytest.mark.parametrize("by", ["the form alone", "a guard and the form", "a rule of the guard's"])
class TestStopStringsAndForms:
    def ask(self, models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch, by: str, text: str, stop: str) -> Any:
        """Whose model says `text`, up to the stop string if decoding is told of it."""

        async def says(generation: Any, record: Any) -> list[Choice]:
            told = generation.requests[0].config.stop
            return [Choice(texts=[text.partition(told[0])[0] if told else text], finish="stop")]

        monkeypatch.setattr("tunesmith.serve.guarded.gather", says)
        rules = Guardrails.from_config(load_settings(None, ["json_schema={schema: {type: object}, retries: 0}"]))
        guards = {"the form alone": {}, "a guard and the form": {TUNED: SaysAlways(text=text)}, "a rule of the guard's": {TUNED: rules}}
        with serving(models, guards=guards[by]) as served:
            wanted = {} if by == "a rule of the guard's" else {"response_format": AN_OBJECT}
            return ask(served, "What is 1 and red?", stop=stop, **wanted).choices[0]

    def test_what_follows_a_stop_string_is_not_judged(
        self, models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch, by: str
    ) -> None:
        choice = self.ask(models, monkeypatch, by, JSON_AND_MORE, "\n")
        assert (choice.message.content, choice.finish_reason) == ('{"a": 1}', "stop")

    def test_what_a_stop_string_breaks_is_not_said(self, models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch, by: str) -> None:
        with pytest.raises(openai.InternalServerError) as failed:
            self.ask(models, monkeypatch, by, WITH_STOP_INSIDE, "]")
        assert failed.value.code == "guardrail_unsatisfied"


def test_half_a_word_is_not_said(models: tuple[ServedModel, ...], client: openai.OpenAI) -> None:
    cut = client.chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=3).choices[0]
    assert cut.finish_reason == "length"
    with serving(models, guards={TUNED: FakeGuard(needs_whole_words=True)}) as served:
        said = served.client().chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=3).choices[0]
    assert said.message.content == f"[{without_unfinished(cut.message.content or '')}]" != f"[{cut.message.content}]"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Write to ann@fi", "Write to"),
        ("Call +41 79 123", "Call"),
        ("one\ntwo", "one"),
        ("We sold 12 at 45", "We sold 12 at"),
        ("x", ""),
        ("", ""),
    ],
)
def test_a_number_goes_with_all_its_groups(text: str, kept: str) -> None:
    assert without_unfinished(text) == kept


def test_all_tries_have_the_time_of_one_request(models: tuple[ServedModel, ...]) -> None:
    guard = FakeGuard(num_rejected=20, retries=10, pause=0.2)
    with serving(models, guards={TUNED: guard}, request_seconds=0.5) as served:
        with pytest.raises(openai.InternalServerError) as late:
            ask(served, "What is 2?")
        assert (late.value.status_code, late.value.code) == (504, "timeout")
        served.wait_until(served.is_empty)


def test_a_redirected_prompt_does_not_take_the_others_log_probabilities(models: tuple[ServedModel, ...]) -> None:
    guard = Guardrails(prompt_rules=[WeatherRule()])
    with serving(models, guards={TUNED: guard}) as served:
        for_both = {"model": TUNED, "prompt": ["the weather", "one two"], "max_tokens": 4, "logprobs": 1}
        mixed: Any = served.client().completions.create(**for_both)
        assert mixed.choices[0].text == STOCK
        assert len(mixed.choices[1].logprobs.token_logprobs) > 0
        pieces: Any = served.client().completions.create(**for_both, stream=True)
        assert sum(len(one.choices[0].logprobs.token_logprobs) for one in pieces if one.choices[0].index == 1) > 0


class WeatherRule:
    """A rule for prompts alone."""

    name = "weather"

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        return FakeGuard().check_prompt(messages)


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

    def test_it_comes_on_top_of_the_model_s_own_rules(self, models: tuple[ServedModel, ...]) -> None:
        guard, form = FakeGuard(), Form(schema='{"type": "array", "maxItems": 1}', processes=SchemaProcesses())
        rules = Rules(guard=guard, form=form)
        assert (rules.look_at_answers, rules.retries, rules.retry_temperature) == (True, 2, 1.5)
        made = {"model": TUNED, "messages": QUESTION, "max_tokens": 8, "temperature": 0}
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}
        with serving(models, guards={TUNED: guard}) as served:
            with pytest.raises(openai.InternalServerError, match="satisfied the guardrails and response_format in 3 tries"):
                served.client().chat.completions.create(**made, response_format=wanted)
            firings = httpx2.get(f"{served.address}/metrics").text
        assert 'tunesmith_guardrail_firings_total{action="answer mask",guardrail="pii"} 3.0' in firings
        assert 'tunesmith_guardrail_firings_total{action="answer retry",guardrail="json_schema"} 3.0' in firings


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
