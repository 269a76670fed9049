"""An OpenAI-compatible endpoint over real HTTP, which fails, stalls and talks rubbish when it is told to."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Reply = Callable[[str], str]
"""The request's text -> what a good teacher would write."""

STALL_SECONDS = 3.0


class Endpoint:
    """What the server was asked, and how it behaves."""

    def __init__(self, reply: Reply, *, faults: Mapping[str, float] | None = None, delay_seconds: float = 0.0, counts: bool = True) -> None:
        """`faults`: share of the requests that meet each; chosen by the request and how often it came."""
        self.reply, self.faults, self.delay_seconds, self.counts = reply, dict(faults or {}), delay_seconds, counts
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.met: Counter[str] = Counter()
        self.tokens_answered = 0
        self.most_at_once = 0
        self._at_once = 0
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def under_way(self, request: dict[str, Any]) -> Iterator[str | None]:
        """Counts a request; yields the fault it meets, None for none."""
        text = json.dumps(request["messages"])
        with self._lock:
            self.requests.append(request)
            self._seen[text] += 1
            fault = self._fault(f"{text}{self._seen[text]}")
            self.met[fault or "none"] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield fault
        finally:
            with self._lock:
                self._at_once -= 1

    def _fault(self, what: str) -> str | None:
        chance = int.from_bytes(hashlib.sha256(what.encode()).digest()[:4], "big") / 2**32
        for name, share in self.faults.items():
            if chance < share:
                return name
            chance -= share
        return None


def good_reply(text: str) -> str:
    """For each of the recipes' requests a sensible answer, different for different requests."""
    number = hashlib.sha256(text.encode()).hexdigest()[:6]
    if "quote" in text:
        sentences = re.findall(r"[A-Z][^.\n]*\.", text.rsplit("<<<", 1)[1])
        pairs = [{"question": f"What is true of {s.split()[0]} {number}?", "answer": s, "quote": s} for s in sentences[:3]]
        return json.dumps(pairs)
    if "Reply with one word" in text:
        return "Yes."
    if '"instruction"' in text:
        return json.dumps([{"instruction": instruction(f"{number}{i}"), "input": "", "output": f"Done {number}."} for i in range(3)])
    if "list of strings" in text:
        return json.dumps([f"Could you tell me, {number} {word}?" for word in ("please", "quickly", "now")])
    return json.dumps([{"question": f"{instruction(number + str(i))}?", "answer": f"Answer {number} {i}."} for i in range(3)])


def instruction(seed: str) -> str:
    """Words of chance, like no others."""
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return " ".join(digest[i : i + 5].translate(str.maketrans("0123456789", "ghijklmnop")) for i in range(0, 35, 5))


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    """The endpoint at `endpoint.url` while the block lasts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(endpoint))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()


def _handler(endpoint: Endpoint) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.under_way(request) as fault:
                time.sleep(endpoint.delay_seconds)
                text = endpoint.reply(request["messages"][-1]["content"])
                if fault is None:
                    self.send(200, completion(text))
                else:
                    FAULTS[fault](self, text)

        def send(self, status: int, document: Any) -> None:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            if status == 200 and isinstance(document, dict) and "usage" in document:
                endpoint.tokens_answered += sum(document["usage"].values())
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status != 200:
                    self.send_header("retry-after-ms", "5")
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client had waited long enough

        def log_message(self, format: str, *args: object) -> None:
            pass

    def completion(text: str | None, finish_reason: str = "stop") -> dict[str, Any]:
        document: dict[str, Any] = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        }
        if endpoint.counts:
            document["usage"] = {"prompt_tokens": 50, "completion_tokens": 20}
        return document

    def stall(handler: Any, text: str) -> None:
        time.sleep(STALL_SECONDS)
        handler.send(200, completion(text))

    FAULTS: dict[str, Callable[[Any, str], None]] = {
        "busy": lambda handler, text: handler.send(429, {"error": {"message": "slow down"}}),
        "broken": lambda handler, text: handler.send(500, {"error": {"message": "oops"}}),
        "stall": stall,
        "rubbish": lambda handler, text: handler.send(200, completion("I like turtles [{")),
        "half": lambda handler, text: handler.send(200, completion(text[: len(text) // 2])),
        "empty": lambda handler, text: handler.send(200, completion(None)),
        "cut": lambda handler, text: handler.send(200, completion(text, "length")),
        "no choices": lambda handler, text: handler.send(200, {"id": "x", "choices": []}),
        "no json": lambda handler, text: handler.send(200, b"<html>busy</html>"),
        "refused": lambda handler, text: handler.send(401, {"error": {"message": "no such key"}}),
    }
    return Handler
