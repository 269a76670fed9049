"""Bounds: the queue, times, bodies, headers, connections; and that nothing is leaked at any of them."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.serve.conftest import BASE, QUESTION, TUNED, Served, serving
from tests.wire import answer_to
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.serve import rendering
from tunesmith.together import ServedModel

LONG: dict[str, Any] = {"model": BASE, "messages": QUESTION, "temperature": 2, "max_tokens": 200, "seed": 1}


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes at least twenty milliseconds, so that a completion takes seconds; and nothing ends of itself."""
    step = Decoder.step

    def slowly(self: Decoder) -> Any:
        time.sleep(0.02)
        return step(self)

    monkeypatch.setattr(Decoder, "step", slowly)
    submit = Decoder.submit

    def endless(self: Decoder, request: Any) -> int:
        return submit(self, dataclasses.replace(request, stop_ids=frozenset()))

    monkeypatch.setattr(Decoder, "submit", endless)


def stream(served: Served, **settings: Any) -> Iterator[Any]:
    return iter(served.client().chat.completions.create(stream=True, **{**LONG, **settings}))


def test_a_full_queue_says_when_to_come_again(models: tuple[ServedModel, ...], slow_steps: None) -> None:
    del slow_steps
    with serving(models, batch_size=1, queue_size=1, max_choices=2) as served:
        running = stream(served, max_tokens=80)
        next(running)
        waiting = threading.Thread(target=lambda: list(stream(served, max_tokens=5)))
        waiting.start()
        served.wait_until(lambda: served.service.num_in_flight == 2)
        assert (served.service.num_running, served.service.num_queued) == (1, 1)
        with pytest.raises(openai.RateLimitError) as busy:
            served.client().chat.completions.create(**LONG)
        assert busy.value.code == "queue_full"
        assert int(busy.value.response.headers["retry-after"]) >= 1
        list(running)
        waiting.join(20)
        served.wait_until(served.is_empty)
        assert served.client().chat.completions.create(**{**LONG, "max_tokens": 2}).choices


def test_more_at_once_than_there_are_places_in_all_is_a_400(models: tuple[ServedModel, ...]) -> None:
    with serving(models, batch_size=2, queue_size=1) as served:
        with pytest.raises(openai.BadRequestError, match="4 completions at once; this server has 3 places") as never:
            served.client().chat.completions.create(**{**LONG, "max_tokens": 2, "n": 4})
        assert never.value.param == "n"
        assert len(served.client().chat.completions.create(**{**LONG, "max_tokens": 2, "n": 3}).choices) == 3


@pytest.fixture
def held_rendering(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Nothing is rendered before it is set."""
    let_go, render = threading.Event(), rendering.ask_chat

    def held(*arguments: Any) -> Any:
        let_go.wait(20)
        return render(*arguments)

    monkeypatch.setattr(rendering, "ask_chat", held)
    yield let_go
    let_go.set()


def thread_of(served: Served) -> Any:
    return next(iter(served.service._threads.values()))


def test_prompts_that_are_rendered_take_places_too(models: tuple[ServedModel, ...], held_rendering: threading.Event) -> None:
    with serving(models, batch_size=1, queue_size=1) as served:
        answers: list[Any] = []
        short = {**LONG, "max_tokens": 2}
        asking = [threading.Thread(target=lambda: answers.append(served.client().chat.completions.create(**short))) for _ in range(2)]
        for one in asking:
            one.start()
        served.wait_until(lambda: thread_of(served).num_entering == 2)
        with pytest.raises(openai.RateLimitError) as busy:
            served.client().chat.completions.create(**short)
        assert busy.value.code == "queue_full"
        held_rendering.set()
        for one in asking:
            one.join(20)
        assert len(answers) == 2
        assert thread_of(served).num_entering == 0
        assert served.client().chat.completions.create(**short).choices


def test_rendering_is_within_the_time_of_a_request(models: tuple[ServedModel, ...], held_rendering: threading.Event) -> None:
    with serving(models, request_seconds=0.4) as served:
        with pytest.raises(openai.InternalServerError) as late:
            served.client().chat.completions.create(**LONG)
        assert (late.value.status_code, late.value.code) == (504, "timeout")
        assert thread_of(served).num_entering == 0
        held_rendering.set()


def test_the_time_of_a_request_begins_when_it_comes(
    models: tuple[ServedModel, ...], slow_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del slow_steps
    render = rendering.ask_chat
    monkeypatch.setattr(rendering, "ask_chat", lambda *arguments: time.sleep(0.6) or render(*arguments))
    with serving(models, request_seconds=0.8) as served:
        pieces = stream(served, max_tokens=30)  # 0.6 s in all
        next(pieces)
        with pytest.raises(openai.APIError, match="not complete after"):
            list(pieces)


def test_a_client_that_leaves_while_its_prompt_is_rendered(models: tuple[ServedModel, ...], held_rendering: threading.Event) -> None:
    with serving(models) as served:
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{served.address}/v1/chat/completions", json=LONG, timeout=0.3)
        served.wait_until(lambda: 'status="499"' in httpx2.get(f"{served.address}/metrics").text, seconds=2)
        assert thread_of(served).num_entering == 0
        held_rendering.set()


@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_leaves_frees_its_places(models: tuple[ServedModel, ...], slow_steps: None, streams: bool) -> None:
    del slow_steps
    with serving(models) as served, httpx2.Client(timeout=0.5) as client:
        body = {**LONG, "stream": streams, "n": 2}
        if streams:
            with client.stream("POST", f"{served.address}/v1/chat/completions", json=body) as answer:
                next(answer.iter_lines())
                assert served.service.num_running == 2
        else:
            with pytest.raises(httpx2.ReadTimeout):
                client.post(f"{served.address}/v1/chat/completions", json=body)
        served.wait_until(served.is_empty, seconds=2)
        metrics = httpx2.get(f"{served.address}/metrics").text
        assert 'status="499"' in metrics


def test_a_request_has_so_much_time(models: tuple[ServedModel, ...], slow_steps: None) -> None:
    del slow_steps
    with serving(models, request_seconds=0.4) as served:
        with pytest.raises(openai.InternalServerError) as late:
            served.client().chat.completions.create(**LONG)
        assert (late.value.status_code, late.value.code) == (504, "timeout")
        assert late.value.response.headers["x-should-retry"] == "false"
        pieces = stream(served)
        next(pieces)
        with pytest.raises(openai.APIError, match="not complete after"):
            list(pieces)
        served.wait_until(served.is_empty)


def test_a_decoder_that_fails_fails_everything_and_says_so(
    models: tuple[ServedModel, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(models) as served:
        assert httpx2.get(f"{served.address}/health").status_code == 200

        def broken(self: Decoder) -> None:
            del self
            raise RuntimeError("out of order")

        monkeypatch.setattr(Decoder, "step", broken)
        for _ in range(2):  # the one that met it, and one after that
            with pytest.raises(openai.InternalServerError) as failed:
                served.client().chat.completions.create(**LONG)
            assert (failed.value.status_code, failed.value.code) == (500, "internal_error")
            assert "out of order" not in str(failed.value), "what went wrong is for the log"
        for path in ("health", "ready"):
            answer = httpx2.get(f"{served.address}/{path}")
            assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
        assert served.service.num_in_flight == 0
    assert "out of order" in caplog.text


class TestShutdown:
    def test_what_runs_finishes_and_nothing_new_begins(self, models: tuple[ServedModel, ...], slow_steps: None) -> None:
        del slow_steps
        with serving(models) as served:
            running = stream(served, max_tokens=40)
            first = next(running)
            served.server.handle_exit(15, None)
            served.wait_until(lambda: served.service.is_draining)
            answer = httpx2.get(f"{served.address}/ready")
            assert (answer.status_code, answer.json()) == (503, {"status": "draining"})
            assert httpx2.get(f"{served.address}/health").status_code == 200
            with pytest.raises(openai.InternalServerError) as refused:
                served.client().chat.completions.create(**LONG)
            assert (refused.value.status_code, refused.value.code) == (503, "shutting_down")
            pieces = [first, *running]
            assert pieces[-1].choices[0].finish_reason == "length"
            served.thread.join(10)
            assert not served.thread.is_alive()

    def test_not_for_longer_than_the_grace_time(self, models: tuple[ServedModel, ...], slow_steps: None) -> None:
        del slow_steps
        with serving(models, grace_seconds=0.3) as served:
            running = stream(served)
            next(running)
            served.server.handle_exit(15, None)
            with pytest.raises(openai.APIError, match="shutting down"):
                list(running)
            served.thread.join(10)
            assert not served.thread.is_alive()

    def test_a_second_signal_cuts(self, models: tuple[ServedModel, ...], slow_steps: None) -> None:
        del slow_steps
        with serving(models, grace_seconds=60) as served:
            running = stream(served)
            next(running)
            served.server.handle_exit(2, None)
            served.server.handle_exit(2, None)
            with pytest.raises(openai.APIError, match="shutting down"):
                list(running)
            served.thread.join(10)
            assert not served.thread.is_alive()


@pytest.fixture(scope="module")
def narrow(models: tuple[ServedModel, ...]) -> Iterator[Served]:
    with serving(models, max_body_bytes=4096, client_seconds=0.6, max_connections=8) as one:
        yield one


def raw(served: Served, *pieces: bytes, pause: float = 0.0, timeout: float = 5.0) -> bytes:
    """Send bytes as they are and read until the server hangs up."""
    host, port = served.address.removeprefix("http://").split(":")
    return answer_to((host, int(port)), *pieces, pause=pause, timeout=timeout)


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class TestClients:
    def test_a_huge_body_by_its_length(self, narrow: Served) -> None:
        with pytest.raises(openai.APIStatusError) as refused:
            narrow.client().chat.completions.create(model=TUNED, messages=[{"role": "user", "content": "x" * 10_000}])
        assert (refused.value.status_code, refused.value.code) == (413, "request_too_large")

    def test_a_huge_body_in_chunks(self, narrow: Served) -> None:
        def chunks() -> Iterator[bytes]:
            for _ in range(20):
                yield b"x" * 1000

        answer = httpx2.post(f"{narrow.address}/v1/chat/completions", content=chunks(), headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")

    def test_a_length_beyond_all_numbers(self, narrow: Served) -> None:
        assert b" 4" in raw(narrow, HEAD + b"Content-Length: " + b"9" * 15 + b"\r\n\r\n")[:20]

    def test_a_body_that_trickles(self, narrow: Served) -> None:
        answer = raw(narrow, HEAD + b"Content-Length: 1000\r\n\r\n", *[b" "] * 20, pause=0.05)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"request_timeout"' in answer

    def test_headers_that_trickle(self, narrow: Served) -> None:
        start = time.monotonic()
        assert raw(narrow, b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 40, pause=0.05) == b""
        assert time.monotonic() - start < 4

    def test_a_connection_that_says_nothing(self, narrow: Served) -> None:
        start = time.monotonic()
        assert raw(narrow) == b""
        assert time.monotonic() - start < 4

    def test_a_flood_of_headers(self, narrow: Served) -> None:
        answer = raw(narrow, HEAD + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 100) for i in range(2000)) + b"\r\n")
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")

    def test_what_is_no_http(self, narrow: Served) -> None:
        answer = raw(narrow, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"invalid_http"' in answer
        assert b"x-request-id: req-" in answer

    def test_too_many_connections(self, narrow: Served) -> None:
        host, port = narrow.address.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(8)]
        try:
            answer = raw(narrow)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'"too_many_connections"' in answer
        finally:
            for one in idle:
                one.close()
        narrow.wait_until(lambda: len(narrow.server.server_state.connections) == 0)
        assert httpx2.get(f"{narrow.address}/health").status_code == 200

    def test_a_client_that_never_reads(self, narrow: Served) -> None:
        host, port = narrow.address.removeprefix("http://").split(":")
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(5)
            connection.connect((host, int(port)))
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400)
            narrow.wait_until(lambda: len(narrow.server.server_state.connections) == 1)
            narrow.wait_until(lambda: not narrow.server.server_state.connections, seconds=6)

    def test_a_body_after_the_answer_does_not_keep_the_connection(self, narrow: Served) -> None:
        start = time.monotonic()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 4000\r\n\r\n"
        answer = raw(narrow, head, *[b" "] * 40, pause=0.05)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert time.monotonic() - start < 4
