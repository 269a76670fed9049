"""Files that never change: asked for once, answered again from memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("nicegui", reason="the extra `studio` is not installed")

from starlette.types import Message, Receive, Scope, Send

from tunesmith.studio.kept_files import MOST_KEPT, KeptFiles

IMMUTABLE = {"cache-control": "public, max-age=31536000, immutable", "accept-ranges": "bytes", "etag": '"x"'}


class Files:
    """Answers in two pieces, and counts how often."""

    def __init__(self, *, status: int = 200, headers: dict[str, str] | None = None, breaks_off: bool = False) -> None:
        self.status, self.headers, self.breaks_off, self.num_calls = status, IMMUTABLE if headers is None else headers, breaks_off, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.num_calls += 1
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": [*headers, (b"transfer-encoding", b"chunked")]})
        await send({"type": "http.response.body", "body": b"first ", "more_body": True})
        if not self.breaks_off:
            await send({"type": "http.response.body", "body": scope["path"].encode()})


def get(app: KeptFiles, path: str = "/a.js", *, method: str = "GET", query: bytes = b"", **headers: str) -> list[Message]:
    """What is sent."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": raw}
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is to be received")

    async def send(message: Any) -> None:
        sent.append(dict(message))
        if "headers" in message:
            message["headers"] = [*message["headers"], (b"x-added", b"by who sends it on")]

    asyncio.run(app(scope, receive, send))
    return sent


def body(sent: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in sent[1:])


def test_a_file_is_asked_for_once() -> None:
    files = Files()
    app = KeptFiles(files)
    answers = [get(app, host="127.0.0.1", sec_fetch_dest="script") for _ in range(3)]
    assert files.num_calls == 1
    assert [body(sent) for sent in answers] == [b"first /a.js"] * 3
    kept = dict(answers[2][0]["headers"])
    assert (kept[b"content-length"], kept[b"cache-control"]) == (b"11", IMMUTABLE["cache-control"].encode())
    assert not kept.keys() & {b"transfer-encoding", b"x-added"}
    assert not kept.keys() & {b"accept-ranges", b"etag"}, "a browser would ask for the rest of what it has half of"


@pytest.mark.parametrize(
    ("files", "request_"),
    [
        (Files(headers={"cache-control": "no-store"}), {}),
        (Files(headers={}), {}),
        (Files(status=206), {}),
        (Files(breaks_off=True), {}),
        (Files(), {"method": "HEAD"}),
        (Files(), {"query": b"a=1"}),
        (Files(), {"range": "bytes=0-1"}),
        (Files(), {"if_none_match": '"x"'}),
        (Files(), {"x_forwarded_prefix": "/elsewhere"}),
    ],
)
def test_what_may_be_another_answer_is_not_kept(files: Files, request_: dict[str, Any]) -> None:
    app = KeptFiles(files)
    for _ in range(2):
        get(app, **request_)
    assert files.num_calls == 2


def test_compressed_and_plain_answers_are_told_apart() -> None:
    files = Files()
    app = KeptFiles(files)
    for accepted in ("gzip, br", "gzip", "identity", ""):
        get(app, accept_encoding=accepted)
    assert files.num_calls == 2


def test_memory_is_bounded() -> None:
    files = Files()
    small = KeptFiles(files, max_bytes=20)
    for path in ("/a.js", "/b.js", "/a.js", "/b.js"):
        get(small, path)
    assert files.num_calls == 3
    files = Files()
    many = KeptFiles(files)
    for path in [*(f"/{number}.js" for number in range(MOST_KEPT + 1)), "/0.js", f"/{MOST_KEPT}.js"]:
        get(many, path)
    assert files.num_calls == MOST_KEPT + 2
