"""Steps that fail or do not end, and faults of ours elsewhere: who is told, who is not concerned, and that it goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
import torch

from tests.samples import messages
from tests.serve.conftest import BASE, QUESTION, TUNED, Served, serving
from tests.serve.test_telemetry import samples
from tunesmith.config import GenerateConfig
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.slot_runner import SlotRunner
from tunesmith.serve.gate import Gate
from tunesmith.serve.generations import Generation
from tunesmith.serve.problems import ApiError
from tunesmith.serve.recovery import trouble_of
from tunesmith.serve.service import GenerationService
from tunesmith.serve.shapes import ChatShape
from tunesmith.together import ServedModel

QUESTION_MESSAGES = messages(("u", "What is 1 and red?"))
CHAT: dict[str, Any] = {"model": TUNED, "messages": QUESTION, "max_tokens": 8}
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def in_a_later_step(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None], *, step: int) -> None:
    """Do something once, within the call of the network in this step from now; to be called when the decoders run."""
    logits, count = SlotRunner.logits, iter(range(10_000))

    def with_it(self: Any, *arguments: Any) -> Any:
        if next(count) == step:
            happens()
        return logits(self, *arguments)

    monkeypatch.setattr(SlotRunner, "logits", with_it)


def throw(error: Exception) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do


async def texts_of(generation: Generation) -> str | ApiError:
    try:
        return "".join([new.text async for new in generation])
    except ApiError as error:
        return error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(OUT_OF_MEMORY, 503, "out_of_memory"), (MemoryError(), 503, "out_of_memory"), (ValueError("odd"), 500, "internal_error")],
    ids=["cuda", "heap", "any"],
)
def test_a_step_that_fails_fails_its_requests_and_no_others(
    models: tuple[ServedModel, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    code: str,
) -> None:
    troubles: list[str] = []

    async def ask() -> list[str | ApiError]:
        service = GenerationService(models, batch_size=2, on_trouble=troubles.append)
        await service.start()
        in_a_later_step(monkeypatch, throw(error), step=1)
        model = models[0]
        request = model.request(model.renderer.prompt_ids(QUESTION_MESSAGES), GenerateConfig(max_new_tokens=8), with_text=True)
        under_way = [service.submit(model, [request]) for _ in range(4)]  # two are decoded, two wait
        answers = [await texts_of(one) for one in under_way]
        answers.append(await texts_of(service.submit(model, [request])))
        assert service.is_healthy
        assert service.num_in_flight == service.num_running == 0
        await service.stop()
        return answers

    first, second, *others = asyncio.run(ask())
    for failed in (first, second):
        assert isinstance(failed, ApiError)
        assert (failed.status, failed.code) == (status, code)
    assert len(set(others)) == 1, "those that waited and the one that came later got the whole answer"
    assert others[0]
    assert troubles == ["out_of_memory" if status == 503 else "error"]
    assert [one.getMessage() for one in caplog.records if one.name == "tunesmith.serve"] == ["step failed", "decoder made anew"]


def test_clients_and_metrics_see_it(models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(models) as served:
        in_a_later_step(monkeypatch, throw(OUT_OF_MEMORY), step=2)
        with pytest.raises(openai.InternalServerError) as failed:
            served.client().chat.completions.create(**CHAT)
        assert (failed.value.status_code, failed.value.code) == (503, "out_of_memory")
        assert failed.value.response.headers["x-request-id"].startswith("req-")
        assert httpx2.get(f"{served.address}/health").json() == {"status": "ok"}
        assert served.client().chat.completions.create(**CHAT).choices[0].message.content
        assert served.client().chat.completions.create(**{**CHAT, "model": BASE}).choices
        found = samples(served)
        assert found['tunesmith_decoder_troubles_total{"kind": "out_of_memory"}'] == 1
        assert found['tunesmith_decoder_troubles_total{"kind": "fatal"}'] == 0
        served.wait_until(served.is_empty)


def test_what_lacks_memory_by_its_words() -> None:
    assert trouble_of(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")) == "out_of_memory"
    assert trouble_of(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling")) == "out_of_memory"
    assert trouble_of(RuntimeError("shape mismatch")) == "error"


def test_a_decoder_that_stays_broken_ends_the_service(models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(models) as served:
        monkeypatch.setattr(Decoder, "step", lambda self: throw(OUT_OF_MEMORY)())
        with pytest.raises(openai.InternalServerError):
            served.client().chat.completions.create(**CHAT)
        served.wait_until(lambda: served.service.state == "failed")
        assert httpx2.get(f"{served.address}/health").status_code == 503
        assert samples(served)['tunesmith_decoder_troubles_total{"kind": "fatal"}'] == 1


def test_a_step_that_does_not_end_is_told(
    models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = threading.Event()
    with serving(models, step_seconds=0.3, request_seconds=15) as served:
        in_a_later_step(monkeypatch, lambda: time.sleep(0 if let_go.wait(20) else 1), step=1)
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(served.client().chat.completions.create(**CHAT)))
        asking.start()
        served.wait_until(lambda: httpx2.get(f"{served.address}/health").status_code == 503)
        for path in ("health", "ready"):
            assert httpx2.get(f"{served.address}/{path}").json() == {"status": "stuck"}
        with pytest.raises(openai.InternalServerError) as refused:
            served.client().chat.completions.create(**CHAT)
        assert (refused.value.status_code, refused.value.code) == (503, "decoder_stuck")
        served.wait_until(lambda: samples(served)['tunesmith_decoder_troubles_total{"kind": "stuck"}'] == 1)
        assert samples(served)["tunesmith_healthy{}"] == 0
        let_go.set()
        asking.join(20)
        assert answers[0].choices[0].message.content, "a step that was only slow is no harm"
        served.wait_until(lambda: httpx2.get(f"{served.address}/health").json() == {"status": "ok"})
        served.wait_until(lambda: "decoder goes on" in caplog.text)
    where = next(one.fields["where"] for one in caplog.records if one.getMessage() == "decoder is stuck")  # type: ignore[attr-defined]
    assert "let_go.wait" in where


def test_an_idle_decoder_is_not_stuck(models: tuple[ServedModel, ...]) -> None:
    with serving(models, step_seconds=0.2) as served:
        assert served.client().chat.completions.create(**CHAT).choices
        time.sleep(0.5)
        assert httpx2.get(f"{served.address}/health").status_code == 200


class TestFaultsElsewhere:
    def error_of(self, served: Served, **settings: Any) -> dict[str, Any]:
        answer = httpx2.post(f"{served.address}/v1/chat/completions", json={**CHAT, **settings}, headers={"x-request-id": "mine"})
        assert answer.status_code == 500
        assert answer.headers["x-request-id"] == "mine"
        error: dict[str, Any] = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert "secret" not in answer.text
        return error

    @pytest.mark.parametrize("streams", [False, True])
    def test_in_a_route(
        self, models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, streams: bool
    ) -> None:
        monkeypatch.setattr("tunesmith.serve.rendering.ask_chat", lambda *_: throw(RuntimeError("secret"))())
        with serving(models) as served:
            assert self.error_of(served, stream=streams)["code"] == "internal_error"
        told = next(one for one in caplog.records if one.getMessage() == "request failed")
        assert told.fields == {"id": "mine"}  # type: ignore[attr-defined]
        assert "secret" in caplog.text

    def test_in_a_layer(self, models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(models) as served:
            monkeypatch.setattr(Gate, "_check_host", lambda *_: throw(RuntimeError("secret"))())
            assert self.error_of(served)["code"] == "internal_error"

    def test_in_a_stream(self, models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ChatShape, "last", lambda *_: throw(RuntimeError("secret"))())
        with serving(models) as served:
            usage = {"stream": True, "stream_options": {"include_usage": True}}
            answer = httpx2.post(f"{served.address}/v1/chat/completions", json={**CHAT, **usage})
            assert answer.headers["x-request-id"].startswith("req-")
            assert '"code":"internal_error"' in answer.text
            assert "secret" not in answer.text
            served.wait_until(served.is_empty)
