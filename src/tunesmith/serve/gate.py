"""Who may ask: the name the server is called by, the web page a browser acts for, the key.

A server on a loopback address can be reached by every web page its user looks at. Browsers say for which page they act
(`Origin`), and a page whose own name was made to point here (DNS rebinding) is told by the name it calls (`Host`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.serve.keys import KeyRing
from tunesmith.serve.problems import ApiError, bad_key, foreign
from tunesmith.serve.telemetry import answer_error, record_of

OPEN_PATHS = frozenset({"/health", "/ready", "/openapi.json"})
"""Answered without a key: they tell nothing of anybody's requests."""
PREFLIGHT_SECONDS = "600"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name other than `localhost` may be anything."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Gate:
    """Lets through who may ask."""

    def __init__(
        self, app: ASGIApp, *, keys: KeyRing, is_local: bool, allow_hosts: Collection[str], allow_origins: Collection[str]
    ) -> None:
        """See the module.

        Args:
            app: what is behind.
            keys: asked for from the first one on.
            is_local: listening on a loopback address alone.
            allow_hosts: names to be called by on a loopback address, beside the loopback ones.
            allow_origins: of pages that may ask; `*` stands for all.
        """
        self._app, self._keys, self._is_local = app, keys, is_local
        self._allow_hosts = {host.lower() for host in allow_hosts}
        self._allow_origins = {origin.lower().rstrip("/") for origin in allow_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        send = self._with_cors(origin, send) if origin is not None and self._is_allowed(origin) else send
        try:
            self._check_host(headers)
            self._check_origin(origin, headers)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight(headers)(scope, receive, send)
                return
            self._check_key(scope, headers)
        except ApiError as error:
            await answer_error(error, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        name = _host_name(headers.get("host", ""))
        if self._is_local and not is_loopback(name) and name not in self._allow_hosts:
            raise foreign(f"This server is not called {name[:100]!r}; a proxy's name is allowed with --allow-host.", "unknown_host")

    def _check_origin(self, origin: str | None, headers: Headers) -> None:
        if origin is None or self._is_allowed(origin) or _is_same_origin(origin, headers.get("host", "")):
            return
        raise foreign(f"Web pages of {origin[:100]!r} may not call this server; --allow-origin lets them.", "origin_not_allowed")

    def _is_allowed(self, origin: str) -> bool:
        return "*" in self._allow_origins or origin.lower() in self._allow_origins

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if scope["path"] in OPEN_PATHS or (self._is_local and not self._keys.is_needed):
            return
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not key.strip():
            raise bad_key(is_missing=True)
        owner = self._keys.owner(key.strip())
        if owner is None:
            raise bad_key(is_missing=False)
        record_of(scope).key = owner

    @staticmethod
    def _with_cors(origin: str, send: Send) -> Send:
        async def send_allowing(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["access-control-allow-origin"] = origin
                headers["access-control-expose-headers"] = "x-request-id, retry-after"
                headers.add_vary_header("origin")
            await send(message)

        return send_allowing


def _preflight(headers: Headers) -> Response:
    allowed = {
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": headers.get("access-control-request-headers", "authorization, content-type"),
        "access-control-max-age": PREFLIGHT_SECONDS,
    }
    if headers.get("access-control-request-private-network") == "true":
        allowed["access-control-allow-private-network"] = "true"
    return Response(status_code=204, headers=allowed)


def _host_name(host: str) -> str:
    """Without the port; of an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _is_same_origin(origin: str, host: str) -> bool:
    """A page of the server's own."""
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # e.g. a bracket that is not closed
        return False
