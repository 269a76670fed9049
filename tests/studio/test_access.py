"""Who gets through to the studio: token, cookie, Host, Origin."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from tunesmith.studio.access import Access, Guard, is_loopback
from tunesmith.studio.bodies import MOST_BODY_BYTES

LOCAL = {"host": "127.0.0.1:8080"}
ABROAD = {"host": "192.168.1.7:8080"}


def secret(request: Request) -> PlainTextResponse:
    return PlainTextResponse("secret")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("secret")
    await websocket.close()


def client(access: Access) -> TestClient:
    app = Starlette(routes=[Route("/", secret, methods=["GET", "POST"]), Route("/a/b", secret), WebSocketRoute("/ws", echo)])
    return TestClient(Guard(app, access), follow_redirects=False)  # type: ignore[arg-type]


@pytest.fixture
def local() -> TestClient:
    return client(Access.on("127.0.0.1"))


@pytest.fixture
def public() -> Access:
    return Access.on("0.0.0.0")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "::1", "127.8.8.8"])
def test_these_are_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert Access.on(host).token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "localhost.example.org", ""])
def test_everything_else_asks_for_a_token(host: str) -> None:
    assert not is_loopback(host)
    assert Access.on(host).token is not None


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:9000", "[::1]:8080", "localhost"])
def test_names_of_this_machine_are_answered_at_any_port(local: TestClient, host: str) -> None:
    """A tunnel has another one."""
    assert local.get("/", headers={"host": host}).text == "secret"


@pytest.mark.parametrize(
    "host",
    ["evil.example:8080", "127.0.0.1.evil.example:8080", "localhost.evil.example", "", "192.168.1.7:8080", "[::1].evil.example", "a[::1]"],
)
def test_a_rebound_name_is_refused(local: TestClient, host: str) -> None:
    done = local.get("/", headers={"host": host})
    assert done.status_code == 403
    assert "secret" not in done.text


def test_a_name_can_be_allowed() -> None:
    access = Access.on("127.0.0.1", allowed=["Studio.Example"])
    done = client(access).get(f"/login?token={access.token}", headers={"host": "studio.example"})
    logged_in = {"cookie": done.headers["set-cookie"].partition(";")[0]}
    assert client(access).get("/", headers={"host": "studio.example", **logged_in}).text == "secret"
    assert client(access).get("/", headers={"host": "other.example", **logged_in}).status_code == 403


def test_a_name_of_a_proxy_asks_for_a_token_on_this_machine_too() -> None:
    """Otherwise everybody whom the proxy lets through would be in."""
    access = Access.on("127.0.0.1", allowed=["localhost", "studio.example"])
    assert access.token is not None
    for host in ("studio.example", "127.0.0.1"):
        assert client(access).get("/", headers={"host": host}).status_code == 401
    assert Access.on("127.0.0.1", allowed=["LOCALHOST", "127.0.0.2"]).token is None


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://[", "https://127.0.0.1:8080.evil.example"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(local: TestClient, origin: str, method: str) -> None:
    assert local.request(method, "/", headers={**LOCAL, "origin": origin}).status_code == 403


def test_our_own_origin_may_post(local: TestClient) -> None:
    assert local.post("/", headers={**LOCAL, "origin": "http://127.0.0.1:8080"}).text == "secret"


def test_a_post_from_nowhere_is_refused(local: TestClient) -> None:
    """Old browsers send forms without an origin."""
    assert local.post("/", headers=LOCAL).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_link_here_and_nothing_else(local: TestClient, site: str) -> None:
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert local.get("/", headers={**LOCAL, **link}).text == "secret"
    for other in ({"sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}, {"sec-fetch-dest": "iframe"}):
        assert local.get("/", headers={**LOCAL, **link, **other}).status_code == 403


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://127.0.0.1:9999"])
def test_a_websocket_of_another_page_is_refused(local: TestClient, origin: str | None) -> None:
    headers = {**LOCAL, **({"origin": origin} if origin else {})}
    with pytest.raises(WebSocketDisconnect), local.websocket_connect("/ws", headers=headers):
        pass


def test_our_websocket_opens(local: TestClient) -> None:
    with local.websocket_connect("/ws", headers={**LOCAL, "origin": "http://127.0.0.1:8080"}) as socket:
        assert socket.receive_text() == "secret"


def test_without_the_cookie_pages_lead_to_the_login_and_nothing_else_answers(public: Access) -> None:
    outside = client(public)
    page = outside.get("/", headers={**ABROAD, "accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert outside.get("/a/b", headers=ABROAD).status_code == 401
    with pytest.raises(WebSocketDisconnect), outside.websocket_connect("/ws", headers={**ABROAD, "origin": "http://192.168.1.7:8080"}):
        pass
    form = outside.get("/login", headers=ABROAD)
    assert form.status_code == 200
    assert "Token" in form.text


def test_the_token_becomes_a_cookie_that_opens(public: Access) -> None:
    outside = client(public)
    done = outside.get(f"/login?token={public.token}", headers=ABROAD)
    assert (done.status_code, done.headers["location"]) == (303, "/")
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert str(public.token) not in cookie
    value = cookie.partition(";")[0]
    assert outside.get("/", headers={**ABROAD, "cookie": value}).text == "secret"
    with outside.websocket_connect("/ws", headers={**ABROAD, "origin": "http://192.168.1.7:8080", "cookie": value}) as socket:
        assert socket.receive_text() == "secret"


def test_the_form_takes_the_token_too(public: Access) -> None:
    headers = {**ABROAD, "origin": "http://192.168.1.7:8080", "content-type": "application/x-www-form-urlencoded"}
    done = client(public).post("/login", headers=headers, content=f"token={public.token}")
    assert done.status_code == 303


@pytest.mark.parametrize("token", ["wrong", "", "%FF%FE", "a" * 3000, "&".join(["token=x"] * 20)])
def test_a_wrong_token_opens_nothing(public: Access, token: str) -> None:
    outside = client(public)
    for done in (
        outside.get(f"/login?token={token}", headers=ABROAD),
        outside.post("/login", headers={**ABROAD, "origin": "http://192.168.1.7:8080"}, content=f"token={token}"),
    ):
        assert done.status_code in (200, 401)
        assert "set-cookie" not in done.headers


@pytest.mark.parametrize("cookie", ["tunesmith-studio=wrong", "tunesmith-studio=", "other=1", "=;;=", "tunesmith-studio=\xff"])
def test_a_wrong_cookie_opens_nothing(public: Access, cookie: str) -> None:
    assert client(public).get("/a/b", headers={**ABROAD, "cookie": cookie.encode("latin-1")}).status_code == 401  # type: ignore[dict-item]


def test_every_answer_forbids_other_hosts_frames_and_guessing(local: TestClient) -> None:
    headers = local.get("/", headers=LOCAL).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("length", [str(MOST_BODY_BYTES + 1), "-1", "many", "9" * 400])
def test_a_huge_body_is_refused_by_its_length(local: TestClient, length: str) -> None:
    headers = {**LOCAL, "origin": "http://127.0.0.1:8080", "content-length": length}
    assert local.post("/", headers=headers, content=b"").status_code == 403


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Forwarded", "for=192.0.2.60;proto=http"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Host", "studio.example"),
        ("X-Forwarded-Prefix", "/x"),
        ("X_Forwarded_For", "203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        ("Via", "1.1 proxy"),
        ("CF-Connecting-IP", "203.0.113.9"),
        ("X-Forwarded-For", ""),
    ],
)
def test_what_a_proxy_brings_is_not_of_this_machine(local: TestClient, name: str, value: str) -> None:
    """Even where it writes this machine's name over the one that it was called by."""
    for path in ("/", "/login"):
        done = local.get(path, headers={**LOCAL, name: value})
        assert done.status_code == 403
        assert "--allow-host" in done.text
    with (
        pytest.raises(WebSocketDisconnect),
        local.websocket_connect("/ws", headers={**LOCAL, "origin": "http://127.0.0.1:8080", name: value}),
    ):
        pass


def test_the_token_opens_to_those_behind_a_proxy() -> None:
    access = Access.on("127.0.0.1", allowed=["studio.example"])
    forwarded = {"host": "studio.example", "x-forwarded-for": "203.0.113.9", "via": "1.1 proxy"}
    assert client(access).get("/", headers=forwarded).status_code == 401
    cookie = client(access).get(f"/login?token={access.token}", headers=forwarded).headers["set-cookie"].partition(";")[0]
    assert client(access).get("/", headers={**forwarded, "cookie": cookie}).text == "secret"


def test_http_1_0_is_a_proxys() -> None:
    """As nginx speaks when it is not told otherwise; it adds no header then."""
    scope = {"type": "http", "http_version": "1.0", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"127.0.0.1")]}
    assert asyncio.run(status_of(Guard(Starlette(routes=[Route("/", secret)]), Access.on("127.0.0.1")), scope)) == 403
    assert (
        asyncio.run(status_of(Guard(Starlette(routes=[Route("/", secret)]), Access.on("127.0.0.1")), {**scope, "http_version": "1.1"}))
        == 200
    )


async def status_of(app: ASGIApp, scope: dict[str, Any]) -> int:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])
