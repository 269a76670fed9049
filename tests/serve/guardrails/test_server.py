"""Rules before and after a real server's generation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.samples import messages
from tests.serve.conftest import BASE, TUNED, serving
from tunesmith.errors import ConfigError
from tunesmith.serve.guarding import AnswerVerdict
from tunesmith.serve.guardrails.rules import Guardrails
from tunesmith.serve.guardrails.settings import load_settings
from tunesmith.serve.guards import open_guards
from tunesmith.together import ServedModel

REDIRECTION = "Colours only, please."


def rails(*settings: str) -> Guardrails:
    return Guardrails.from_config(load_settings(None, settings), count_tokens=lambda text: len(text.split()))


def ask(client: openai.OpenAI, text: str, **options: Any) -> Any:
    return client.chat.completions.create(model=TUNED, messages=[{"role": "user", "content": text}], max_tokens=12, **options)


def test_prompt_rules(models: tuple[ServedModel, ...]) -> None:
    guard = rails("scope={by: none, answer: 'Colours only, please.', deny_words: [war]}", "length.max_prompt_tokens=9", "pii=true")
    with serving(models, guards={TUNED: guard}) as served, served.client() as client:
        redirected = ask(client, "Who won the war?").choices[0]
        assert (redirected.message.content, redirected.finish_reason) == (REDIRECTION, "content_filter")
        events = list(ask(client, "Who won the war?", stream=True, n=2))
        for index in (0, 1):
            mine = [choice for event in events for choice in event.choices if choice.index == index]
            assert "".join(choice.delta.content or "" for choice in mine) == REDIRECTION
            assert mine[-1].finish_reason == "content_filter"
        with pytest.raises(openai.BadRequestError, match="tokens"):
            ask(client, "one two three four five six seven eight nine ten")
        assert ask(client, "What is 1 and red?").choices[0].finish_reason in ("stop", "length")
        metrics = httpx.get(f"{served.address}/metrics").text
        assert 'tunesmith_guardrail_firings_total{action="prompt redirect",guardrail="scope"} 2.0' in metrics


def test_the_model_sees_what_was_masked(models: tuple[ServedModel, ...]) -> None:
    with serving(models, guards={TUNED: rails("pii.on=prompts")}) as served, served.client() as client:
        hidden = ask(client, "Write to ann@firm.org")
        assert hidden.choices[0].message.content == ask(client, "Write to [EMAIL]").choices[0].message.content
        assert hidden.usage.prompt_tokens == ask(client, "Write to [EMAIL]").usage.prompt_tokens


class SecondTry:
    """Wants an answer twice."""

    name = "second"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def check_answer(self, text: str, asked: object) -> AnswerVerdict:
        del asked
        self.seen.append(text)
        return AnswerVerdict(text=text, problem="once more" if len(self.seen) < 2 else None)


def test_an_answer_is_made_anew_with_another_seed(models: tuple[ServedModel, ...]) -> None:
    rule = SecondTry()
    guard = Guardrails(answer_rules=[rule], retries=3, retry_temperature=2.0)
    with serving(models, guards={TUNED: guard}) as served, served.client() as client:
        said = ask(client, "What is 1 and red?")
        assert len(rule.seen) == 2
        assert rule.seen[0] != rule.seen[1]
        assert said.choices[0].message.content == rule.seen[1]
        assert said.usage.completion_tokens > 12 or len(rule.seen[0].split()) < 12


def test_never_a_bad_answer(models: tuple[ServedModel, ...]) -> None:
    """The tiny model speaks no JSON: whole or as a stream, it is an error that says so, and no slot is lost."""
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": {"type": "object", "required": ["city"]}}}
    with serving(models, guards={TUNED: rails("json_schema.retries=1")}) as served, served.client() as client:
        for options in ({}, {"stream": True}, {"response_format": form}, {"response_format": {"type": "json_object"}}):
            with pytest.raises(openai.APIStatusError, match="tries"):
                list(ask(client, "What is 1 and red?", **options))
        outside = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "http://127.0.0.1:9/x"}}}
        with pytest.raises(openai.BadRequestError, match="refers to what is not in it"):
            ask(client, "What is 1 and red?", response_format=outside)
        served.wait_until(served.is_empty)


def test_token_ids_do_not_go_past_the_rules(models: tuple[ServedModel, ...]) -> None:
    with serving(models, guards={TUNED: rails("pii=true")}) as served, served.client() as client:
        with pytest.raises(openai.BadRequestError, match="Token ids"):
            client.completions.create(model=TUNED, prompt=[5, 6, 7])
        with pytest.raises(openai.BadRequestError, match="Log-probabilities"):
            ask(client, "Hi", logprobs=True)


def test_a_base_takes_the_subject_of_the_one_run_on_it(models: tuple[ServedModel, ...], tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("scope: {by: words, min_similarity: 0.1, answer: Nope}", encoding="utf-8")
    pair = [model for model in models if model.name in (TUNED, BASE)]
    notes: list[str] = []
    guards = open_guards(file, pair, say=notes.append)
    assert set(guards) == {TUNED, BASE}
    assert guards[BASE].check_prompt(messages(("u", "Mercury"))).answer == "Nope"
    assert guards[BASE].check_prompt(messages(("u", "What is 1 and red?"))).goes_on
    assert notes[0].startswith(f"{TUNED}: scope: prompts under a similarity of 0.10")
    with pytest.raises(ConfigError, match="no training prompts"):
        open_guards(file, models, say=notes.append)


def test_a_guard_answers_alike_without_a_server() -> None:
    """As the playground asks it."""
    guard = rails("scope={by: none, answer: 'Colours only, please.', deny_words: [war]}")
    assert guard.check_prompt(messages(("u", "The war?"))).answer == REDIRECTION
    assert guard.streams_live
