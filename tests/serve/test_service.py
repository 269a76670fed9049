"""The service by itself, as the studio uses it."""

from __future__ import annotations

import asyncio

import pytest

from tests.samples import messages
from tunesmith.config import GenerateConfig
from tunesmith.serve.problems import ApiError
from tunesmith.serve.service import GenerationService
from tunesmith.together import ServedModel

PROMPT = messages(("u", "What is 1 and red?"))


def test_tokens_come_one_after_another(models: tuple[ServedModel, ...]) -> None:
    async def ask() -> tuple[str, str]:
        service = GenerationService(models)
        await service.start()
        request = models[0].request(models[0].renderer.prompt_ids(PROMPT), GenerateConfig(max_new_tokens=8), with_text=True)
        texts = ["", ""]
        async for new in service.submit(models[0], [request, request]):
            texts[new.prompt] += new.text
        assert service.num_in_flight == service.num_running == 0
        await service.stop()
        assert not service.is_ready
        return texts[0], texts[1]

    first, second = asyncio.run(ask())
    assert first == second != ""


def test_what_is_cancelled_ends(models: tuple[ServedModel, ...]) -> None:
    async def ask() -> int:
        service = GenerationService(models)
        await service.start()
        request = models[0].request(
            models[0].renderer.prompt_ids(PROMPT), GenerateConfig(max_new_tokens=200, temperature=2), with_text=True
        )
        generation = service.submit(models[0], [request])
        await anext(generation)
        generation.cancel()
        rest = [new async for new in generation]
        assert service.num_in_flight == 0
        for _ in range(100):
            if not service.num_running:
                break
            await asyncio.sleep(0.02)
        assert service.num_running == 0
        await service.stop()
        return len(rest)

    assert asyncio.run(ask()) < 200


def test_a_request_the_decoder_refuses_fails_alone(models: tuple[ServedModel, ...]) -> None:
    async def ask() -> None:
        service = GenerationService(models)
        await service.start()
        good = models[0].request(models[0].renderer.prompt_ids(PROMPT), GenerateConfig(max_new_tokens=8), with_text=True)
        too_long = models[0].request([5] * 1000, GenerateConfig(max_new_tokens=8), with_text=True)
        bad = service.submit(models[0], [good, too_long])
        fine = service.submit(models[0], [good])
        with pytest.raises(ApiError) as refused:
            [new async for new in bad]
        assert refused.value.status == 400
        assert len([new async for new in fine]) > 0
        assert service.is_ready
        await service.stop()

    asyncio.run(ask())


def test_what_was_accepted_may_be_made_anew(models: tuple[ServedModel, ...]) -> None:
    async def ask() -> None:
        service = GenerationService(models, batch_size=1, queue_size=0)
        await service.start()
        request = models[0].request(models[0].renderer.prompt_ids(PROMPT), GenerateConfig(max_new_tokens=8), with_text=True)
        with service.holding():
            first = service.submit(models[0], [request])
            with pytest.raises(ApiError, match="queue"):
                service.submit(models[0], [request])
            made = [new async for new in service.submit(models[0], [request], is_again=True)]
            assert len([new async for new in first]) == len(made)
            assert not await service.drain(0.01), "somebody still looks at what was made"
            assert [new async for new in service.submit(models[0], [request], is_again=True)]
        assert await service.drain(0.01)
        service.cut()
        with pytest.raises(ApiError, match="shutting down"):
            service.submit(models[0], [request], is_again=True)
        await service.stop()

    asyncio.run(ask())


def test_a_decoder_that_cannot_start_says_why(models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("tunesmith.serve.service.Decoder", broken)

    async def start() -> None:
        service = GenerationService(models)
        try:
            await service.start()
        finally:
            await service.stop()

    with pytest.raises(RuntimeError, match="no memory"):
        asyncio.run(start())
