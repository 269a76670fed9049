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
    """Knows one user and keeps what is sent to `acme/faq`, a data set or a model."""

    endpoint: str
    created: dict[str, Any]
    """What was asked for when the repository was made."""
    files: dict[str, bytes]
    """In the repository now."""
    commits: list[set[str]]
    """What each brought or took away."""
    is_there = False
    is_private = True
    role = "write"
    """Of the user's token."""
    newest_commit = COMMIT
    refuses: str = ""
    """Answers no to requests whose path has this in it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        commit = re.match(r"/api/(datasets|models)/acme/faq/(preupload|commit)/", self.path)
        if self.refuses and self.refuses in self.path:
            self.answer({"error": "Invalid user token."}, status=401)
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            kind = "datasets" if json.loads(body).get("type") == "dataset" else "models"
            if not self.is_there:
                type(self).created, type(self).is_there = json.loads(body), True
                self.answer({"url": self.address(kind), "name": "acme/faq", "id": "1"})
            else:
                self.answer({"error": "You already created this repo", "url": self.address(kind)}, status=409)
        elif commit and commit[2] == "preupload":
            wanted = json.loads(body)["files"]
            self.answer({"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in wanted]})
        elif commit and self.is_there:
            lines = [json.loads(line) for line in body.splitlines()]
            if lines[0]["value"].get("parentCommit", self.newest_commit) != self.newest_commit:
                self.answer({"error": "A commit has happened since."}, status=412)
                return
            self.keep(lines)
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": f"{self.address(commit[1])}/commit/{COMMIT}"})
        else:
            self.answer({"error": self.path}, status=404)

    def keep(self, lines: list[dict[str, Any]]) -> None:
        sent = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"}
        gone = {line["value"]["path"] for line in lines if line["key"] == "deletedFile"}
        assert gone <= self.files.keys() - sent.keys()
        type(self).files = {**{name: content for name, content in self.files.items() if name not in gone}, **sent}
        self.commits.append(gone | sent.keys())

    def do_GET(self) -> None:
        if self.refuses and self.refuses in self.path:
            self.answer({"error": "Invalid user token."}, status=401)
        elif self.path == "/api/whoami-v2":
            self.answer({"name": "ann", "auth": {"accessToken": {"role": self.role}}})
        elif not self.is_there:
            self.answer({"error": "Repository not found"}, status=404, code="RepoNotFound")
        elif "/tree/" in self.path:
            names = [".gitattributes", *self.files]
            self.answer([{"type": "file", "path": name, "size": 1, "oid": COMMIT} for name in names])
        else:
            siblings = [{"rfilename": name} for name in (".gitattributes", *self.files)]
            self.answer({"id": "acme/faq", "sha": self.newest_commit, "siblings": siblings, "private": self.is_private})

    def address(self, kind: str) -> str:
        return f"http://{self.headers['Host']}/{'datasets/' if kind == 'datasets' else ''}acme/faq"

    def answer(self, document: Any, status: int = 200, code: str = "") -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running_hub() -> Iterator[tuple[type[Hub], str]]:
    """The handler, which holds what was sent, and the server's address."""
    handler = type("FreshHub", (Hub,), {"created": {}, "files": {}, "commits": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, handler.endpoint
    server.shutdown()
    server.server_close()
