"""The official client against the server: what it gets is what our own generation gives."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest

from tests.samples import messages
from tests.serve.conftest import BASE, OTHER, QUESTION, TUNED, Served
from tunesmith.config import GenerateConfig
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.together import ServedModel

SAMPLED = {"temperature": 1.2, "max_tokens": 24}


def ours(model: ServedModel, text: str = "What is 1 and red?") -> str:
    """The greedy answer of the engine, asked directly."""
    decoder = Decoder(model.base.network, context_length=model.context_length, batch_size=1)
    ids = model.renderer.prompt_ids(messages(("u", text)))
    decoder.submit(model.request(ids, GenerateConfig(max_new_tokens=24), with_text=True))
    pieces = []
    while not decoder.is_idle:
        pieces += [new.text for new in decoder.step()]
    return "".join(pieces)


def test_models(client: openai.OpenAI) -> None:
    assert {one.id for one in client.models.list()} == {TUNED, OTHER, BASE}
    assert client.models.retrieve(TUNED).id == TUNED


@pytest.mark.parametrize("name", [TUNED, OTHER, BASE])
def test_a_chat_is_answered_as_the_engine_answers(client: openai.OpenAI, models: tuple[ServedModel, ...], name: str) -> None:
    model = next(one for one in models if one.name == name)
    answer = client.chat.completions.create(model=name, messages=QUESTION, max_tokens=24)
    assert answer.choices[0].message.content == ours(model)
    assert answer.choices[0].message.role == "assistant"
    assert answer.model == name
    assert answer.usage is not None
    prompt = model.renderer.prompt_ids(messages(("u", "What is 1 and red?")))
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_adapters_differ(client: openai.OpenAI) -> None:
    answers = {name: _text(client, name) for name in (TUNED, OTHER, BASE)}
    assert len(set(answers.values())) == 3, "else the tests of adapters would show nothing"


def _text(client: openai.OpenAI, name: str, **settings: Any) -> str:
    answer = client.chat.completions.create(**{"model": name, "messages": QUESTION, "max_tokens": 24, **settings})
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize("settings", [{"max_tokens": 24}, {**SAMPLED, "seed": 3, "n": 3}, {"stop": ["e"], "max_tokens": 24}])
def test_streamed_equals_unstreamed(client: openai.OpenAI, settings: dict[str, Any]) -> None:
    whole = client.chat.completions.create(model=TUNED, messages=QUESTION, **settings)
    texts = [""] * len(whole.choices)
    finishes: dict[int, str] = {}
    roles: dict[int, str] = {}
    usage = None
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(model=TUNED, messages=QUESTION, stream=True, stream_options=options, **settings):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            roles.setdefault(choice.index, choice.delta.role or "")
            if choice.finish_reason:
                finishes[choice.index] = choice.finish_reason
    assert texts == [choice.message.content for choice in whole.choices]
    assert finishes == {choice.index: choice.finish_reason for choice in whole.choices}
    assert set(roles.values()) == {"assistant"}
    assert usage == whole.usage


def test_without_include_usage_a_stream_has_none(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model=TUNED, messages=QUESTION, stream=True, max_tokens=3))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_a_stream_on_the_wire(served: Served) -> None:
    body = {"model": TUNED, "messages": QUESTION, "stream": True, "max_tokens": 3}
    answer = httpx2.post(f"{served.address}/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    for event in events[:-2]:
        assert json.loads(event.removeprefix("data: "))["object"] == "chat.completion.chunk"


def test_stop_strings_end_the_text_before_them(client: openai.OpenAI) -> None:
    whole = _text(client, TUNED)
    stop = whole[len(whole) // 2 :][:2]
    cut = client.chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=24, stop=["never there", stop])
    assert cut.choices[0].message.content == whole.split(stop)[0]
    assert cut.choices[0].finish_reason == "stop"


def test_a_seed_gives_the_same_again_and_choices_differ(client: openai.OpenAI) -> None:
    def drawn(**settings: Any) -> list[str | None]:
        answer = client.chat.completions.create(model=BASE, messages=QUESTION, **{**SAMPLED, "n": 4, **settings})
        return [choice.message.content for choice in answer.choices]

    assert drawn(seed=5) == drawn(seed=5)
    assert len(set(drawn(seed=5))) > 1
    assert drawn(seed=5) != drawn(seed=6)
    assert drawn() != drawn(), "without a seed every request draws anew"


def test_logprobs_of_a_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=8, logprobs=True, top_logprobs=3)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    for token in logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.logprob == token.top_logprobs[0].logprob <= 0, "greedy"
        assert token.bytes is not None
    made = b"".join(bytes(token.bytes or []) for token in logprobs.content)
    assert made.decode(errors="replace").startswith((answer.choices[0].message.content or "").rstrip("\ufffd"))
    without = client.chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=8)
    assert without.choices[0].logprobs is None


def test_logprobs_stream_with_their_tokens(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": TUNED, "messages": QUESTION, "max_tokens": 8, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked).choices[0].logprobs
    streamed = [
        token
        for chunk in client.chat.completions.create(stream=True, **asked)
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content or []
    ]
    assert whole is not None
    assert [token.model_dump() for token in streamed] == [token.model_dump() for token in whole.content or []]


class TestCompletions:
    def test_a_text_is_continued_without_a_template(self, client: openai.OpenAI, models: tuple[ServedModel, ...]) -> None:
        model = next(one for one in models if one.name == BASE)
        ids = model.renderer.text_prompt_ids("The quick brown")
        answer = client.completions.create(model=BASE, prompt="The quick brown", max_tokens=10)
        by_ids = client.completions.create(model=BASE, prompt=list(ids), max_tokens=10)
        assert answer.choices[0].text == by_ids.choices[0].text
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == len(ids)

    def test_several_prompts_and_choices(self, client: openai.OpenAI) -> None:
        alone = [client.completions.create(model=TUNED, prompt=prompt).choices[0].text for prompt in ("one two", "red green")]
        both = client.completions.create(model=TUNED, prompt=["one two", "red green"], n=2)
        assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
        assert [choice.text for choice in both.choices] == [alone[0], alone[0], alone[1], alone[1]]
        assert both.usage is not None
        assert both.usage.completion_tokens <= 4 * 16, "16 tokens each, as at OpenAI"

    def test_token_ids_several_at_once(self, client: openai.OpenAI) -> None:
        both = client.completions.create(model=TUNED, prompt=[[5, 9, 40], [8, 33]], max_tokens=4)
        assert [choice.text for choice in both.choices] == [
            client.completions.create(model=TUNED, prompt=ids, max_tokens=4).choices[0].text for ids in ([5, 9, 40], [8, 33])
        ]

    def test_streamed_equals_unstreamed_with_logprobs(self, client: openai.OpenAI) -> None:
        asked: dict[str, Any] = {"model": TUNED, "prompt": "one two", "max_tokens": 8, "logprobs": 2}
        whole = client.completions.create(**asked).choices[0]
        assert whole.logprobs is not None
        text, tokens, offsets = "", [], []
        for chunk in client.completions.create(stream=True, **asked):
            text += chunk.choices[0].text
            if chunk.choices[0].logprobs:
                tokens += chunk.choices[0].logprobs.tokens or []
                offsets += chunk.choices[0].logprobs.text_offset or []
        assert text == whole.text
        assert tokens == whole.logprobs.tokens
        assert offsets == whole.logprobs.text_offset
        assert all(len(top) <= 2 for top in whole.logprobs.top_logprobs or [])
        assert all(value <= 0 and math.isfinite(value) for value in whole.logprobs.token_logprobs or [])


def test_two_adapters_at_once_answer_as_each_alone(client: openai.OpenAI) -> None:
    names = [TUNED, OTHER, BASE] * 6
    alone = {name: _text(client, name) for name in (TUNED, OTHER, BASE)}
    with ThreadPoolExecutor(len(names)) as pool:
        together = list(pool.map(lambda name: _text(client, name), names))
    assert together == [alone[name] for name in names]


def test_content_parts_are_joined(client: openai.OpenAI) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "What is 1 "}, {"type": "text", "text": "and red?"}]}]
    assert _text(client, TUNED, messages=parts) == _text(client, TUNED)


def test_developer_is_another_name_for_system(client: openai.OpenAI) -> None:
    def told(role: str) -> str:
        return _text(client, BASE, messages=[{"role": role, "content": "red green blue"}, *QUESTION])

    assert told("developer") == told("system") != _text(client, BASE)


def test_what_changes_nothing_is_accepted(client: openai.OpenAI) -> None:
    harmless: dict[str, Any] = {
        "user": "u", "metadata": {"a": "b"}, "store": False, "parallel_tool_calls": True, "frequency_penalty": 0, "presence_penalty": 0.0,
        "logit_bias": {}, "tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "n": 1, "top_p": 1,
        "service_tier": "auto",
    }  # fmt: skip
    assert _text(client, TUNED, **harmless) == _text(client, TUNED)


def test_extensions_reach_the_sampler(client: openai.OpenAI) -> None:
    greedy = _text(client, BASE)
    assert _text(client, BASE, temperature=1.5, extra_body={"top_k": 1}) == greedy
    assert _text(client, BASE, temperature=1.5, top_p=0) == greedy
    assert _text(client, BASE, extra_body={"repetition_penalty": 3.0}) != greedy
