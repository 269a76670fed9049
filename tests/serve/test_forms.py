"""Schemas that clients send can hold neither the server nor each other for long."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.serve.conftest import QUESTION, TUNED, Served, serving
from tunesmith.serve import forms, schema_worker
from tunesmith.serve.forms import Form, SchemaProcesses
from tunesmith.serve.guardrails.json_schema import TOO_MUCH
from tunesmith.serve.problems import ApiError
from tunesmith.together import ServedModel

COSTLY: list[Any] = [{"a": number} for number in range(2450)]
"""Where these have to be unique, each is compared with each; and `type` has to hold unique ones."""
CHAT: dict[str, Any] = {"model": TUNED, "messages": QUESTION, "max_tokens": 8}


def asked(schema: Any, **settings: Any) -> dict[str, Any]:
    return {**CHAT, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}, **settings}


def post(served: Served, body: Any) -> Any:
    return httpx2.post(f"{served.address}/v1/chat/completions", json=body, timeout=60)


def test_answers_that_take_too_long_end_with_their_process() -> None:
    async def check() -> None:
        processes = SchemaProcesses(seconds=0.7)
        unique = Form(schema='{"uniqueItems": true}', processes=processes)
        assert (await unique.check_answer("[1, 2]")).problem is None
        (first,) = processes._idle
        assert "non-unique" in ((await unique.check_answer("[1, 1]")).problem or "")
        assert processes._idle == [first], "one process does for many"
        assert (await unique.check_answer(json.dumps(COSTLY))).problem == TOO_MUCH
        assert first.returncode is not None
        slow = Form(schema='{"pattern": "^(a|a)*$"}', processes=processes)
        assert (await slow.check_answer(json.dumps("a" * 5000 + "!"))).is_retry
        assert (await slow.check_answer('"aa"')).problem is None, "and then others are looked at again"
        assert (await slow.check_answer(" " * (forms.MOST_ANSWER_CHARACTERS + 1))).problem == TOO_MUCH
        await processes.close()

    asyncio.run(check())


def test_a_process_that_has_died_is_replaced() -> None:
    async def check() -> None:
        processes = SchemaProcesses(seconds=5)
        assert await processes.ask("{}", "1") == {"problem": None}
        processes._idle[0].kill()
        await processes._idle[0].wait()
        assert await processes.ask("{}", "1") == {"problem": None}
        await processes.close()

    asyncio.run(check())


def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MOST_WAITING_SCHEMAS", 1)
    monkeypatch.setattr(forms, "MOST_WAITING_ANSWERS", 2)

    async def check() -> None:
        processes = SchemaProcesses(seconds=5)
        for _ in range(forms.MOST_PROCESSES):
            await processes._places.acquire()
        asked = [asyncio.create_task(processes.ask("{}", text)) for text in (None, None, None, "1")]
        await asyncio.sleep(0)
        for text in (None, "1"):
            with pytest.raises(ApiError) as refused:
                await processes.ask("{}", text)
            assert (refused.value.status, refused.value.code) == (429, "queue_full")
            assert int(refused.value.headers["retry-after"]) >= 1
        for _ in range(forms.MOST_PROCESSES):
            processes._places.release()
        assert await asyncio.gather(*asked) == [{"problem": None}] * 4
        assert await processes.ask("{}", None) == {"problem": None}, "and then there is room again"
        await processes.close()

    asyncio.run(check())


def test_who_leaves_takes_no_process_along() -> None:
    async def check() -> None:
        processes = SchemaProcesses(seconds=20)
        await processes.ask("{}", None)
        (first,) = processes._idle
        leaving = asyncio.create_task(processes.ask(json.dumps({"type": COSTLY}), None))
        await asyncio.sleep(0.3)
        assert not processes._idle
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert first.returncode is not None
        assert await processes.ask("{}", "1") == {"problem": None}
        await processes.close()

    asyncio.run(check())


def test_names_of_any_length_are_told_in_short() -> None:
    async def check() -> None:
        processes = SchemaProcesses(seconds=5)
        texts = Form(schema='{"additionalProperties": {"type": "string"}}', processes=processes)
        verdict = await texts.check_answer(json.dumps({"x" * 200_000: 1}))
        assert (verdict.problem or "").startswith("xxx")
        assert len(verdict.problem or "") < 500
        await processes.close()

    asyncio.run(check())


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_what_cannot_be_read_is_refused_and_not_taken_for_good(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(schema: str) -> None:
        raise error

    monkeypatch.setattr(schema_worker, "_checker", fails)
    assert schema_worker.answered("{}", None) == {"refused": f"{TOO_MUCH}."}
    assert schema_worker.answered("{}", "1") == {"problem": TOO_MUCH}


def test_a_schema_that_is_refused_only_later_fails_the_answer() -> None:
    async def check() -> None:
        processes = SchemaProcesses(seconds=5)
        verdict = await Form(schema='{"type": "nonsense"}', processes=processes).check_answer("1")
        assert "no JSON Schema" in (verdict.problem or "")
        await processes.close()

    asyncio.run(check())


@pytest.fixture(scope="module")
def one(models: tuple[ServedModel, ...]) -> Iterator[Served]:
    with serving(models) as served:
        yield served
        served.wait_until(served.is_empty)


def deep(levels: int) -> dict[str, Any]:
    return {"items": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "nonsense"}, "no JSON Schema"),
        ({"pattern": "("}, "no regular expression"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties"),
        ({"$ref": "http://127.0.0.1:9/x"}, "not in it"),
        ({"description": "x" * 70_000}, "characters; expected at most 65,536"),
        (deep(200), "too large"),
        ({"properties": {"x" * 65_490: {"type": "nonsense"}}}, "no JSON Schema (properties/xxx"),
        ({"pattern": "(((((a{99}){99}){99}){99}){99})"}, "repeats"),
    ],
    ids=["wrong", "pattern", "properties", "elsewhere", "long", "deep", "name", "repeats"],
)
def test_hostile_schemas_are_refused(one: Served, schema: Any, words: str) -> None:
    answer = post(one, asked(schema))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "response_format", "invalid_schema")
    assert words in error["message"]


def test_others_are_answered_while_a_schema_is_looked_at(models: tuple[ServedModel, ...]) -> None:
    with serving(models) as served:
        answer = post(served, asked({"type": "object"}))
        assert (answer.status_code, answer.json()["error"]["message"]) == (500, "No answer satisfied response_format in 3 tries.")
        done: list[Any] = []
        served.server.config.app.state.server.schemas._seconds = 2.0  # type: ignore[union-attr]
        hostile = threading.Thread(target=lambda: done.append(post(served, asked({"type": COSTLY}))))
        hostile.start()
        served.wait_until(lambda: not served.server.config.app.state.server.schemas._idle)  # type: ignore[union-attr]
        for _ in range(2):
            assert post(served, CHAT).status_code == 200
        assert not done, "the schema would have held them up"
        hostile.join(60)
        assert (done[0].status_code, done[0].json()["error"]["code"]) == (400, "invalid_schema")
        assert "too long" in done[0].json()["error"]["message"]
