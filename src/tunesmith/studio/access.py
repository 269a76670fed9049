"""Who may speak to the studio: checked before anything else sees a request, for pages, files and the websocket alike.

    app = Guard(app, Access.on("127.0.0.1"))            # this machine only: no token
    app = Guard(app, access := Access.on("0.0.0.0"))    # access.token is exchanged at /login?token=... for a cookie
    Access.on("127.0.0.1", allowed=["studio.example"])  # a proxy brings others to this machine: a token as well

- *Host*: one that the studio answers to, so that a name which somebody points at this machine (DNS rebinding) opens nothing.
- *Origin* and *Sec-Fetch-Site*: a page of another site may lead here by a link and do nothing else; our own pages alone open a websocket.
- *Cookie*: where others can reach the port. HttpOnly and SameSite=Strict; its value is compared in constant time.
- *Forwarded*: what a proxy brings is not of this machine, whatever Host it writes; without a token to ask for it is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tunesmith.studio.bodies import BODY_SECONDS, MOST_BODY_BYTES

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_LOGIN_BYTES = 4096
LOGIN = "/login"
_HOST = re.compile(r"(\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:\[\]/@\s]+))(:[0-9]{1,5})?")

FORWARDING = frozenset(
    (
        *("forwarded", "via", "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "x-cluster-client-ip", "x-originating-ip"),
        *("x-remote-ip", "x-remote-addr", "remote-addr", "x-original-host", "x-original-forwarded-for", "x-host", "x-proxyuser-ip"),
        *("proxy-connection", "cdn-loop", "cf-connecting-ip", "cf-ray", "fastly-client-ip", "fly-client-ip", "x-azure-clientip"),
        *("x-appengine-user-ip", "x-envoy-external-address", "x-amzn-trace-id", "tailscale-user-login", "x-script-name", "x-scheme"),
    )
)
"""Headers that proxies add and browsers do not, beside those that begin with `x-forwarded`."""
PROXIED = "this came through a proxy, which brings others to this machine; start the studio with --allow-host NAME: that asks for a token"
MISNAMED = "this is not a name that the studio answers to; start it with --allow-host NAME if it should"

SECURITY_HEADERS = {
    # Everything from here and nothing else; NiceGUI needs inline scripts and styles and compiles its templates in the page.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """What is asked of a request."""

    hosts: frozenset[str]
    """Names that the studio answers to, lower case; `*` stands for any numerical address, which nobody can rebind."""
    token: str | None
    """Exchanged for the cookie; None asks for neither."""
    session: str
    """The cookie's value."""
    cookie: str = "tunesmith-studio"

    @classmethod
    def on(cls, host: str, *, allowed: Iterable[str] = (), cookie: str = "tunesmith-studio") -> Access:
        """Of a server bound to `host`; `allowed` are further names by which browsers may call it, through a proxy if not this machine's."""
        further = {name.lower() for name in allowed}
        names = LOOPBACK_NAMES | further
        if not is_loopback(host):
            names |= {"*", host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        token = None if all(map(is_loopback, (host, *further))) else secrets.token_urlsafe(32)
        return cls(hosts=names, token=token, session=secrets.token_urlsafe(32), cookie=cookie)

    def answers_to(self, host: str) -> bool:
        """Whether a Host header's name is one of ours."""
        return host in self.hosts or ("*" in self.hosts and _is_address(host))

    def opens(self, token: str | None) -> bool:
        """Whether this is the token."""
        return self.token is None or (token is not None and _equal(token, self.token))

    def knows(self, headers: Headers) -> bool:
        """Whether the request carries the cookie, or needs none."""
        if self.token is None:
            return True
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        return self.cookie in cookies and _equal(cookies[self.cookie].value, self.session)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


class Guard:
    """Wraps an application; what is refused never reaches it."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if reason := self._refused(scope, headers):
            await _refuse(scope, receive, send, reason)
        elif scope["type"] == "http" and scope["path"] == LOGIN:
            await (await self._log_in(scope, receive))(scope, receive, _with_security_headers(send))
        elif not self.access.knows(headers):
            await self._send_to_login(scope, headers, receive, send)
        else:
            await self.app(scope, receive, send if scope["type"] == "websocket" else _with_security_headers(send))

    def _refused(self, scope: Scope, headers: Headers) -> str | None:
        """Why, or None."""
        hosts = headers.getlist("host")
        is_forwarded = self.access.token is None and _is_forwarded(scope, headers)
        if is_forwarded or len(hosts) != 1 or not self.access.answers_to(_name(hosts[0])):
            return PROXIED if is_forwarded else MISNAMED
        origins = headers.getlist("origin")
        if any(_place(origin) != hosts[0].lower() for origin in origins):
            return "requests of pages of another site are refused"
        if scope["type"] == "websocket":
            return None if origins else "a websocket without an origin is refused"
        if not _is_same_site(scope, headers):
            return "requests of pages of another site are refused"
        if scope["method"] not in SAFE_METHODS and not origins and headers.get("sec-fetch-site") != "same-origin":
            return "a request that changes something must come from a page of the studio"
        length = headers.get("content-length", "0")
        return None if length.isdigit() and int(length) <= MOST_BODY_BYTES else "the request's body is too large"

    async def _log_in(self, scope: Scope, receive: Receive) -> Response:
        token = _token(scope["query_string"]) if scope["method"] != "POST" else _token(await _body(receive))
        if not self.access.opens(token):
            return HTMLResponse(_login_page(wrong=token is not None), status_code=401 if token is not None else 200)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(self.access.cookie, self.access.session, httponly=True, samesite="strict", path="/")
        return response

    async def _send_to_login(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        if is_page:
            await RedirectResponse(LOGIN, status_code=303)(scope, receive, send)
        else:
            await _refuse(scope, receive, send, "log in first", status=401)


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; an empty one where the header is something else."""
    found = _HOST.fullmatch(host.lower())
    return (found["address"] or found["name"] or "") if found else ""


def _place(origin: str) -> str:
    """Host and port of an Origin header."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_same_site(scope: Scope, headers: Headers) -> bool:
    """By Sec-Fetch-Site, which pages cannot set; browsers and programs that do not send it are judged by the rest."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return True
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return is_link and scope["method"] == "GET"


def _is_forwarded(scope: Scope, headers: Headers) -> bool:
    """Whether a proxy brings it, as far as it says so: by a header, or by HTTP/1.0, which no browser speaks and nginx does unless told."""
    names = (name.replace("_", "-") for name in headers)
    return scope.get("http_version") == "1.0" or any(name in FORWARDING or name.startswith("x-forwarded") for name in names)


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str, *, status: int = 403) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    await PlainTextResponse(reason + "\n", status_code=status, headers={"connection": "close"})(scope, receive, send)


def _with_security_headers(send: Send) -> Send:
    async def send_with(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items() if name.encode() not in present]
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return send_with


def _token(query: bytes) -> str | None:
    try:
        found = parse_qs(query.decode("utf-8", "replace"), max_num_fields=8).get("token")
    except ValueError:  # more fields than a form of ours has
        return None
    return found[0] if found else None


async def _body(receive: Receive) -> bytes:
    """Of a login form; what is longer, or comes too slowly, is cut and so is no token."""
    content = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            while len(content) <= MOST_LOGIN_BYTES:
                message = await receive()
                content += message.get("body", b"")
                if not message.get("more_body"):
                    break
    return content[:MOST_LOGIN_BYTES]


def _login_page(*, wrong: bool) -> str:
    note = "<p role='alert'>That is not the token.</p>" if wrong else ""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Log in - tunesmith studio</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 4rem auto; padding: 0 1rem }}
input, button {{ font: inherit; padding: 0.5rem; width: 100%; box-sizing: border-box; margin-top: 0.5rem }}</style></head>
<body><h1>tunesmith studio</h1><p>The token stands in the address that <code>tunesmith studio</code> printed.</p>{note}
<form method="post" action="{LOGIN}">
<label>Token <input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Log in</button></form></body></html>"""
