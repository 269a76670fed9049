"""A small server that speaks as much of the hub's protocol as commits take."""

from __future__ import annotations

import base64
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent to `acme/faq`, a data set or a model."""

    created: dict[str, Any]
    files: dict[str, bytes]
    refuses = False
    is_private = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        commit = re.match(r"/api/(datasets|models)/acme/faq/(preupload|commit)/", self.path)
        if self.refuses:
            self.answer({"error": "Invalid user token."}, status=401)
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            type(self).created = json.loads(body)
            is_data = self.created.get("type") == "dataset"
            self.answer({"url": self.address("datasets" if is_data else "models"), "name": "acme/faq", "id": "1"})
        elif commit and commit[2] == "preupload":
            wanted = json.loads(body)["files"]
            self.answer({"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in wanted]})
        elif commit:
            lines = [json.loads(line) for line in body.splitlines()]
            sent = [line["value"] for line in lines if line["key"] == "file"]
            type(self).files = {one["path"]: base64.b64decode(one["content"]) for one in sent}
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": f"{self.address(commit[1])}/commit/{COMMIT}"})
        else:
            self.answer({"error": self.path}, status=404)

    def do_GET(self) -> None:
        self.answer({"id": "acme/faq", "sha": COMMIT, "siblings": [], "private": self.is_private})

    def address(self, kind: str) -> str:
        return f"http://{self.headers['Host']}/{'datasets/' if kind == 'datasets' else ''}acme/faq"

    def answer(self, document: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running_hub() -> Iterator[tuple[type[Hub], str]]:
    """The handler, which holds what was sent, and the server's address."""
    handler = type("FreshHub", (Hub,), {"created": {}, "files": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
