"""Clients that are slow or greedy, at the studio's own server: each loses its connection, and the others their peace not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

pytest.importorskip("nicegui", reason="the extra `studio` is not installed")

from tests import wire
from tunesmith.studio.access import Access, Guard
from tunesmith.studio.app import MOST_CONNECTIONS, server_settings
from tunesmith.studio.bodies import BodyLimit

PATIENCE = 0.6
"""Seconds; a studio's own is longer."""
HOST = b"Host: 127.0.0.1\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes")


async def download(request: Request) -> PlainTextResponse:
    del request
    return PlainTextResponse("x" * 40_000_000)


async def late(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("said at once")
    await websocket.receive_text()
    await websocket.send_text("said late")
    await websocket.receive_text()


@contextmanager
def running(access: Access | None = None) -> Iterator[uvicorn.Server]:
    routes = [Route("/", page, methods=["GET", "POST"]), Route("/download", download), WebSocketRoute("/ws", late)]
    inner = BodyLimit(Starlette(routes=routes), max_bytes=1000, seconds=PATIENCE)
    server = uvicorn.Server(server_settings(Guard(inner, access or Access.on("127.0.0.1")), client_seconds=PATIENCE))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    with running() as started:
        yield started


def wait_until(is_so: object, seconds: float = 8.0) -> None:
    assert callable(is_so)
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)


def address_of(server: uvicorn.Server) -> tuple[str, int]:
    host, port = server.servers[0].sockets[0].getsockname()
    return str(host), int(port)


def connect(server: uvicorn.Server) -> socket.socket:
    return socket.create_connection(address_of(server), timeout=8)


def answer_to(server: uvicorn.Server, *pieces: bytes, pause: float = 0.0) -> bytes:
    return wire.answer_to(address_of(server), *pieces, pause=pause, timeout=8)


def test_headers_that_trickle(server: uvicorn.Server) -> None:
    begun = time.monotonic()
    assert answer_to(server, b"GET / HTTP/1.1\r\n" + HOST, *[b"X-A: b\r\n"] * 60, pause=0.05) == b""
    assert time.monotonic() - begun < 8
    assert not server.server_state.connections


def test_a_second_request_whose_headers_trickle(server: uvicorn.Server) -> None:
    """A connection that has been answered once has no more time for the next."""
    whole = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    answer = answer_to(server, whole, b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 60, pause=0.05)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_connection_that_says_nothing(server: uvicorn.Server) -> None:
    assert answer_to(server) == b""


def test_a_flood_of_headers(server: uvicorn.Server) -> None:
    flood = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 100) for number in range(2000))
    answer = answer_to(server, b"GET / HTTP/1.1\r\n" + HOST + flood + b"\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_so_many_that_nobody_else_would_get_in(server: uvicorn.Server) -> None:
    """Each begins a request and does not end it; after a while all places are free."""
    held = [connect(server) for _ in range(MOST_CONNECTIONS)]
    for one in held:
        one.sendall(b"GET / HTTP/1.1\r\n")
    wait_until(lambda: not server.server_state.connections)
    assert b"0 bytes" in answer_to(server, b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
    for one in held:
        one.close()


POST = b"POST / HTTP/1.1\r\nOrigin: http://127.0.0.1\r\n" + HOST


def test_a_body_that_trickles(server: uvicorn.Server) -> None:
    answer = answer_to(server, POST + b"Content-Length: 900\r\n\r\n", *[b" "] * 30, pause=0.05)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_in_chunks_that_has_no_end(server: uvicorn.Server) -> None:
    answer = answer_to(server, POST + b"Transfer-Encoding: chunked\r\n\r\n", *[b"190\r\n" + b"x" * 400 + b"\r\n"] * 5)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_within_bounds_arrives(server: uvicorn.Server) -> None:
    answer = answer_to(server, POST + b"Connection: close\r\nContent-Length: 10\r\n\r\n", b"01234", b"56789", pause=0.05)
    assert answer.endswith(b"10 bytes")


def test_a_client_that_never_reads(server: uvicorn.Server) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(server.servers[0].sockets[0].getsockname())
        connection.sendall(b"GET /download HTTP/1.1\r\n" + HOST + b"\r\n")
        wait_until(lambda: len(server.server_state.connections) == 1)
        wait_until(lambda: not server.server_state.connections)


def test_a_websocket_may_be_silent_for_longer(server: uvicorn.Server) -> None:
    """A page that nobody touches stays connected."""
    with connect(server) as connection:
        connection.sendall(b"GET /ws HTTP/1.1\r\nOrigin: http://127.0.0.1\r\n" + HOST + UPGRADE + b"\r\n")
        wait_for(connection, b"said at once")
        time.sleep(3 * PATIENCE)
        connection.sendall(b"\x81\x82\x00\x00\x00\x00ok")  # a text, masked with zeros
        wait_for(connection, b"said late")


def wait_for(connection: socket.socket, words: bytes) -> None:
    seen = b""
    while words not in seen:
        more = connection.recv(4096)
        assert more, f"it hung up after {seen!r}"
        seen += more


def test_a_login_that_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form is read before anybody is known."""
    monkeypatch.setattr("tunesmith.studio.access.BODY_SECONDS", PATIENCE)
    access = Access.on("127.0.0.1", allowed=["studio.example"])
    whole = b"token=" + str(access.token).encode()
    form = b"POST /login HTTP/1.1\r\nOrigin: http://127.0.0.1\r\nContent-Length: %d\r\n" % len(whole) + HOST
    with running(access) as server:
        answer = answer_to(server, form + b"\r\n", *[whole[place : place + 1] for place in range(len(whole))], pause=0.05)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"set-cookie" not in answer
        assert answer_to(server, form + b"Connection: close\r\n\r\n", whole).startswith(b"HTTP/1.1 303 ")
