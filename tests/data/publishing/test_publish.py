"""Publishing to the hub: the real client against a small server that speaks the hub's protocol for commits."""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.publishing.publish import data_card
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.data.storing.prepared import PreparedData

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedData:
    records = [{"question": f"What is {n}?", "answer": f"It is number {n}."} for n in range(40)]
    return prepare(None, tmp_path / "data", PrepareConfig(), rows=rows_from_records(records, "numbers|<b>.jsonl"))


class Hub(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    created: dict[str, Any]
    files: dict[str, bytes]
    refuses = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.refuses:
            self.answer({"error": "Invalid user token."}, status=401)
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            type(self).created = json.loads(body)
            self.answer({"url": f"http://{self.headers['Host']}/datasets/acme/faq", "name": "acme/faq", "id": "1"})
        elif self.path.startswith("/api/datasets/acme/faq/preupload/"):
            wanted = json.loads(body)["files"]
            self.answer({"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in wanted]})
        elif self.path.startswith("/api/datasets/acme/faq/commit/"):
            lines = [json.loads(line) for line in body.splitlines()]
            sent = [line["value"] for line in lines if line["key"] == "file"]
            type(self).files = {one["path"]: base64.b64decode(one["content"]) for one in sent}
            self.answer(
                {"success": True, "commitOid": COMMIT, "commitUrl": f"http://{self.headers['Host']}/datasets/acme/faq/commit/{COMMIT}"}
            )
        else:
            self.answer({"error": self.path}, status=404)

    def do_GET(self) -> None:
        self.answer({"id": "acme/faq", "sha": COMMIT, "siblings": [], "private": True})

    def answer(self, document: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[type[Hub], str]]:
    handler = type("FreshHub", (Hub,), {"created": {}, "files": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def tunesmith(*arguments: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_TOKEN": "hf_test", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "tunesmith.cli", *arguments]
    return subprocess.run(command, env={**kept, **settings}, capture_output=True, text=True, check=False)


def test_publishing(prepared: PreparedData, hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    server, endpoint = hub
    arguments = ("publish", str(prepared.directory), "--to", "hub", "--repo", "acme/faq", "--licence", "cc-by-4.0")
    done = tunesmith(*arguments, endpoint=endpoint, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == f"published: {endpoint}/datasets/acme/faq\n"
    assert (server.created["type"], server.created["name"]) == ("dataset", "faq")
    assert server.created.get("private") or server.created.get("visibility") == "private"
    assert server.files.keys() == {"README.md", "train.jsonl", "validation.jsonl", "test.jsonl"}
    for name in ("train", "validation", "test"):
        assert server.files[f"{name}.jsonl"] == (prepared.directory / f"{name}.jsonl").read_bytes()
    assert server.files["README.md"].decode() == data_card(prepared, licence="cc-by-4.0")


def test_a_hub_that_refuses(prepared: PreparedData, hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    server, endpoint = hub
    server.refuses = True
    done = tunesmith("publish", str(prepared.directory), "--to", "hub", "--repo", "acme/faq", endpoint=endpoint, home=tmp_path / "home")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: acme/faq: the hub did not take it" in done.stderr
    assert "Traceback" not in done.stderr
    assert server.files == {}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "hub"], "--repo is not given"),
        (["--to", "openai"], "--out is not given"),
        (["--to", "openai", "--repo", "a/b"], "only with --to hub"),
        (["--to", "hub", "--repo", "a/b", "--out", "x"], "only with --to openai"),
        (["--to", "nowhere"], "nowhere"),
    ],
)
def test_options_that_do_not_go_together(prepared: PreparedData, arguments: list[str], complaint: str, tmp_path: Path) -> None:
    done = tunesmith("publish", str(prepared.directory), *arguments, endpoint="http://127.0.0.1:9", home=tmp_path / "home")
    assert done.returncode == 2
    assert complaint in done.stderr


def test_the_card(prepared: PreparedData) -> None:
    card = data_card(prepared, licence=None)
    _, head, body = card.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert "license" not in metadata
    assert metadata["size_categories"] == ["n<1K"]
    assert [one["split"] for one in metadata["configs"][0]["data_files"]] == ["train", "validation", "test"]
    assert f"| train | {len(prepared.train)} |" in body
    assert prepared.fingerprint[:16] in body
    assert "numbers\\|\\<b\\>.jsonl" in body  # a file name is no markup
