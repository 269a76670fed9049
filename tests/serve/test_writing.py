"""Long answers are written beside the event loop and sent in pieces."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.serve.conftest import QUESTION, TUNED, Served, serving
from tunesmith.serve import asking
from tunesmith.serve.shapes import ChatShape
from tunesmith.serve.writing import LEVELS, _pieces, written
from tunesmith.together import ServedModel

CHAT: dict[str, Any] = {"model": TUNED, "messages": QUESTION, "max_tokens": 4, "logprobs": True, "top_logprobs": 2}


@pytest.mark.parametrize("document", [{}, [], None, {"a": [], "b": {}}, {"ä\n": ["ü", {"x": [[[[[{"deep": [1.5, None]}]]]]]}]}])
def test_pieces_are_json(document: Any) -> None:
    assert written(document).decode() == json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def test_no_piece_is_long() -> None:
    token = {"token": "x" * 10, "logprob": -1.25, "bytes": [120] * 10}
    choice = {"index": 0, "logprobs": {"content": [{**token, "top_logprobs": [token] * 20}] * 50}}
    pieces = list(_pieces({"id": "x", "choices": [choice] * 3}, LEVELS))
    assert max(map(len, pieces)) < 2500
    assert json.loads("".join(pieces))["choices"][2] == choice


@pytest.fixture(scope="module")
def hasty(models: tuple[ServedModel, ...]) -> Iterator[Served]:
    with serving(models, client_seconds=0.5) as one:
        yield one


def test_others_are_answered_while_one_is_written(hasty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, begun, let_go = ChatShape.whole, threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> Any:
        begun.set()
        assert let_go.wait(20)
        return whole(*arguments)

    monkeypatch.setattr(ChatShape, "whole", slowly)
    answers: list[Any] = []
    asking_for_it = threading.Thread(target=lambda: answers.append(hasty.client().chat.completions.create(**CHAT)))
    asking_for_it.start()
    try:
        assert begun.wait(20)
        assert httpx2.get(f"{hasty.address}/health", timeout=5).status_code == 200
        assert not answers
    finally:
        let_go.set()
        asking_for_it.join(20)
    assert len(answers[0].choices[0].logprobs.content) > 0


def test_a_large_answer_may_be_taken_slowly(hasty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a client may take for a piece, at a pace that is well within it."""
    monkeypatch.setattr(ChatShape, "whole", lambda *_: {"choices": ["x" * 10_000_000]})
    host, port = hasty.address.removeprefix("http://").split(":")
    body = json.dumps(CHAT).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.settimeout(10)
        connection.connect((host, int(port)))
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        start, size = time.monotonic(), 0
        while more := connection.recv(131_072):
            size += len(more)
            time.sleep(0.01)
    assert time.monotonic() - start > 0.5
    assert size > 10_000_000


def test_log_probabilities_without_end_are_refused(hasty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_LOGPROBS", 23)
    text = {"model": TUNED, "prompt": "one two", "max_tokens": 4, "n": 2}
    for path, body, param in (
        ("chat/completions", {**CHAT, "n": 2}, "top_logprobs"),
        ("completions", {**text, "logprobs": 2}, "logprobs"),
    ):
        error = httpx2.post(f"{hasty.address}/v1/{path}", json=body).json()["error"]
        assert (error["param"], error["type"]) == (param, "invalid_request_error")
        assert error["message"].startswith("24 log-probabilities could come of 8 tokens; this server gives at most 23")
    assert httpx2.post(f"{hasty.address}/v1/chat/completions", json=CHAT).status_code == 200
