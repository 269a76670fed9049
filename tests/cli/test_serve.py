"""`tunesmith serve` as it is typed: keys, refusals, vLLM's command, and one whole life of a server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import openai
import pytest

from tests.cli.conftest import Tunesmith, Workspace

ADDRESS = ["--port", "0", "--dtype", "float32"]


def test_a_key_is_printed_once(tunesmith: Tunesmith, tmp_path: Path) -> None:
    made = tunesmith("serve", "--make-key", "laptop", "--keys", tmp_path / "keys.json")
    assert made.code == 0
    key = made.stdout.strip()
    assert key.startswith("ts-")
    assert "not shown again" in made.stderr.replace("\n", " ")
    assert key not in (tmp_path / "keys.json").read_text(encoding="utf-8")
    as_json = tunesmith("serve", "--make-key", "phone", "--keys", tmp_path / "keys.json", "--json").document
    assert set(as_json) == {"name", "key", "file"}
    again = tunesmith("serve", "--make-key", "laptop", "--keys", tmp_path / "keys.json")
    assert (again.code, "there is a key named 'laptop'" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], "no model"),
        (["x", "--dry-run"], "--dry-run without --engine vllm"),
        (["x", "--port", "70000"], "port is 70000"),
        (["x", "--allow-origin", "app.example"], "origins as a browser names them"),
        (["x", "--host", "0.0.0.0"], "other machines can reach this address, and there is no key"),
        (["no-such-model", "--port", "0"], "there is no named model, folder or .gguf file of this name"),
    ],
)
def test_mistakes(tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], found: str) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    result = tunesmith("serve", *words)
    assert (result.code, result.stdout) == (2, "")
    assert found in " ".join(result.stderr.split())


def test_a_port_that_is_taken(tunesmith: Tunesmith, workspace: Workspace) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = tunesmith("serve", workspace.run, "--port", str(taken.getsockname()[1]))
    assert (result.code, "cannot be listened on" in " ".join(result.stderr.split())) == (2, True)


def test_what_is_handed_to_vllm(tunesmith: Tunesmith, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    printed = tunesmith("serve", workspace.run, "--engine", "vllm", "--dry-run")
    assert printed.code == 0
    assert printed.stdout.startswith("vllm serve ")
    assert f"--lora-modules faq={workspace.run.resolve() / 'model'}" in printed.stdout
    command = tunesmith("serve", workspace.run, "--engine", "vllm", "--dry-run", "--json").document["command"]
    assert command[:2] == ["vllm", "serve"]
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = tunesmith("serve", workspace.run, "--engine", "vllm")
    assert (refused.code, "vLLM is not installed" in " ".join(refused.stderr.split())) == (2, True)


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_servers_life(workspace: Workspace) -> None:
    words = [sys.executable, "-m", "tunesmith", "serve", str(workspace.run), *ADDRESS, "--json"]
    nowhere = {**os.environ, "XDG_CONFIG_HOME": str(workspace.run.parent)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=nowhere) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = []
        while not (lines and lines[-1] == "}\n"):
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        document = json.loads("".join(lines))
        assert [model["id"] for model in document["models"]] == ["faq", "tiny-llama"]
        assert document["needs_key"] is False
        client = openai.OpenAI(base_url=document["base_url"], api_key="none")
        answer = client.chat.completions.create(model="faq", messages=[{"role": "user", "content": "What is 7?"}], max_tokens=5)
        assert answer.usage is not None
        assert httpx2.get(f"{document['address']}/ready").json() == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
        rest, log = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    requests = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [line["path"] for line in requests] == ["/v1/chat/completions", "/ready"]
    assert "What is 7?" not in log
