"""Who answers: an endpoint over real HTTP, a model on this machine; and what users' settings choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chat.endpoint import Endpoint, serving
from tunesmith.chat.budget import Budget, Prices
from tunesmith.chat.calls import Call
from tunesmith.chat.ledger import Ledger
from tunesmith.chat.models import CALLS_TOGETHER, Answered, ChatModel, EndpointModel, LocalModel, choose_chat_model
from tunesmith.config import ChatConfig, GenerateConfig, SynthesizeConfig
from tunesmith.errors import ConfigError
from tunesmith.tuned import OpenedModel
from tunesmith.types import Completion, Message


def call(number: int, *, text: str = "Say a word.", sample: int = 0) -> Call:
    return Call(
        key=f"test {number}", messages=(Message(role="user", content=f"{text} {number}"),), sample=sample, context={"of": "any kind"}
    )


def budget(max_tokens: int | None = None) -> Budget:
    return Budget(max_tokens=max_tokens, max_cost=None, prices=Prices(), tokens_per_reply=16)


def ask(model: ChatModel, calls: list[Call], limit: Budget | None = None) -> list[Answered]:
    return list(model.answer(calls, limit or budget()))


def silent(text: str) -> None:
    del text


def test_another_sample_has_another_seed_and_is_never_greedy() -> None:
    config = ChatConfig(endpoint_model="m", temperature=0.0, seed=5, concurrency=1)
    with serving(Endpoint(lambda text: "yes")) as endpoint:
        model = EndpointModel(endpoint.url, config, say=silent)
        answered = ask(model, [call(0), call(0, sample=2)])
    assert [one.outcome.text for one in answered] == ["yes", "yes"]
    assert [(request["seed"], request["temperature"]) for request in endpoint.requests] == [(5, 0.0), (7, 0.7)]


def test_samples_are_kept_apart_in_the_ledger(tmp_path: Path) -> None:
    with serving(Endpoint(lambda text: "yes")) as endpoint:
        model = EndpointModel(endpoint.url, ChatConfig(endpoint_model="m"), say=silent)
        with Ledger(tmp_path / "calls.jsonl", model.name) as ledger:
            for answered in ask(model, [call(0)]):
                ledger.append(*answered)
    again = Ledger(tmp_path / "calls.jsonl", model.name)
    assert again.find(call(0)) is not None
    assert again.find(call(0, sample=1)) is None
    assert Ledger(tmp_path / "calls.jsonl", "another model").find(call(0)) is None
    assert (again.spent_before.prompt_tokens, again.spent_before.completion_tokens) == (50, 20)


def test_a_local_model_answers_some_at_a_time(tiny_llama: Path) -> None:
    model = LocalModel(str(tiny_llama), ChatConfig(temperature=0.0, max_new_tokens=16), say=silent)
    calls = [call(number) for number in range(CALLS_TOGETHER + 3)]
    spent = budget()
    answered = ask(model, calls, spent)
    assert [one.call for one in answered] == calls
    assert all((one.outcome.text is None) == (one.outcome.error is not None) for one in answered)
    assert all(one.outcome.usage.prompt_tokens > 0 and one.outcome.usage.completion_tokens <= 16 for one in answered)
    assert spent.spent.total == sum(one.outcome.usage.total for one in answered)
    assert [one.outcome for one in ask(model, calls)] == [one.outcome for one in answered]


def test_a_local_model_samples_what_it_is_asked_again(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[GenerateConfig] = []
    complete = OpenedModel.complete

    def noted(opened: OpenedModel, conversations: Any, config: GenerateConfig) -> list[Completion]:
        settings.append(config)
        return complete(opened, conversations, config)

    monkeypatch.setattr(OpenedModel, "complete", noted)
    model = LocalModel(str(tiny_llama), ChatConfig(temperature=0.0, max_new_tokens=16), say=silent)
    assert len(ask(model, [call(0), call(0, sample=1), call(0, sample=2)])) == 3
    ask(model, [call(0, sample=3)])
    assert [one.temperature for one in settings] == [0.0, 0.7, 0.7]
    assert settings[1].seed != settings[2].seed


def test_a_prompt_too_long_for_a_local_model_is_not_cut(tiny_llama: Path) -> None:
    model = LocalModel(str(tiny_llama), ChatConfig(max_new_tokens=16), say=silent)
    long, short = ask(model, [call(0, text="word " * 400), call(1)])
    assert long.outcome.text is None
    assert "too long for the model" in (long.outcome.error or "")
    assert "too long" not in (short.outcome.error or "")


def test_a_local_model_stops_at_the_budget(tiny_llama: Path) -> None:
    model = LocalModel(str(tiny_llama), ChatConfig(max_new_tokens=16), say=silent)
    limit = budget(max_tokens=1000)
    calls = [call(number) for number in range(50)]
    assert 0 < len(ask(model, calls, limit)) < 50
    assert limit.spent.total <= 1000


class OtherConfig(ChatConfig):
    verb = "judge"
    option = "--judge"
    model_option = "--judge-model"


@pytest.mark.parametrize(("config", "option"), [(SynthesizeConfig, "--teacher"), (OtherConfig, "--judge"), (ChatConfig, "--endpoint")])
def test_what_is_missing_is_named_as_the_user_names_it(config: type[ChatConfig], option: str) -> None:
    with pytest.raises(ConfigError, match=rf"no {option} is given") as caught:
        choose_chat_model(config(), silent)
    assert caught.value.remedy == f"add {option}"
    with pytest.raises(ConfigError, match=f"{option}-model is not given"):
        choose_chat_model(config(endpoint="http://127.0.0.1:9/v1"), silent)
    assert isinstance(choose_chat_model(config(endpoint="a-folder"), silent), LocalModel)
