"""A program that behaves as `vllm serve` does in what we use of it, on our own engine; and, told to, as one that does not.

vllm serve FOLDER --served-model-name base --port 8000 --lora-modules tuned=FOLDER [--misbehave fail|hang|die|no-ids|short]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "0.0.stand-in"


class Model:
    """A base, perhaps with one adapter."""

    def __init__(self, words: argparse.Namespace) -> None:
        from tunesmith.engine.adapters import load_adapter  # seconds, which one that fails at once does not need
        from tunesmith.tuned import load

        self.loaded = load(Path(words.folder), dtype=words.dtype, device="cpu")
        self.adapter, _, folder = (words.lora_modules or [""])[0].partition("=")
        self.network: Any = load_adapter(self.loaded.network, Path(folder)).eval() if folder else self.loaded.network
        self.names = [*words.served_model_name, *([self.adapter] if folder else [])]
        self.lock, self.num_answered = threading.Lock(), 0

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """As of /v1/completions, one prompt of token ids."""
        from tunesmith.engine.adapters import as_base

        assert body["ignore_eos"], "vLLM's stop tokens are to be those of the request alone"
        assert body["return_token_ids"]
        with self.lock:
            if body["model"] == self.adapter or not self.adapter:
                return self._complete(body, self.network)
            with as_base(self.network):
                return self._complete(body, self.network)

    def _complete(self, body: dict[str, Any], network: Any) -> dict[str, Any]:
        from tunesmith.config import GenerateConfig
        from tunesmith.engine.generation.generate import generate

        config = GenerateConfig(max_new_tokens=body["max_tokens"], temperature=body["temperature"], stop=tuple(body["stop"] or ()))
        [made] = generate(
            getattr(network, "get_base_model", lambda: network)(),
            [body["prompt"]],
            config,
            stop_ids=body["stop_token_ids"],
            context_length=self.loaded.context_length,
            parse=self.loaded.tokenizer.decode,
        )
        self.num_answered += 1
        reason = "length" if made.finish_reason in ("max_new_tokens", "context_full") else "stop"
        choice = {"index": 0, "text": made.text, "finish_reason": reason, "logprobs": None, "token_ids": list(made.token_ids)}
        return {"id": "x", "object": "text_completion", "created": 0, "model": body["model"], "choices": [choice]}


def serve(words: argparse.Namespace) -> None:
    """Until it is ended."""
    model, key = Model(words), os.environ["VLLM_API_KEY"]

    class Handler(BaseHTTPRequestHandler):
        def send(self, document: Any, status: int = 200) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def is_known(self) -> bool:
            if self.headers["Authorization"] == f"Bearer {key}":
                return True
            self.send({"error": "Unauthorized"}, 401)
            return False

        def do_GET(self) -> None:
            if self.path == "/version":
                self.send({"version": VERSION})
            elif self.is_known():
                self.send({"object": "list", "data": [{"id": name, "object": "model"} for name in model.names]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.is_known():
                return
            if words.misbehave == "die" and model.num_answered >= 2:
                print("torch.OutOfMemoryError: no memory is left", flush=True)
                os._exit(3)
            if len(body["prompt"]) + body["max_tokens"] > words.max_model_len:
                self.send({"error": {"message": "longer than max_model_len"}}, 400)
                return
            if words.misbehave == "short":
                body["max_tokens"] = 2
            reply = model.answer(body)
            if words.misbehave == "no-ids":
                del reply["choices"][0]["token_ids"]
            self.send(reply)

    ThreadingHTTPServer((words.host, words.port), Handler).serve_forever()


def main() -> None:
    """By the words that `tunesmith.vllm.command` writes; others are refused."""
    parser = argparse.ArgumentParser()
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("folder")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--lora-modules", nargs="+")
    for name in ("--host", "--dtype", "--generation-config", "--max-loras", "--max-lora-rank"):
        parser.add_argument(name)
    parser.add_argument("--port", type=int)
    parser.add_argument("--max-model-len", type=int, default=1_000_000)
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--misbehave", choices=["fail", "hang", "die", "no-ids", "short"])
    words = parser.parse_args()
    print("WARNING This can cause errors like `OSError: [Errno 24] Too many open files`\n(stand-in) starting", flush=True)
    if words.misbehave == "fail":
        sys.exit(
            "ValueError: Available memory is less than desired\nRuntimeError: Engine core initialization failed. See root cause above."
        )
    if words.misbehave == "hang":
        time.sleep(60)
    serve(words)


if __name__ == "__main__":
    main()
