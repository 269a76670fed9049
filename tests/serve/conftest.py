"""A real server in a thread, on a tiny base with two adapters, and the official client."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import torch

from tests.samples import prepare_qa
from tunesmith.config import ServeConfig, TrainConfig
from tunesmith.serve.guarding import Guard
from tunesmith.serve.run import GracefulServer, make_server
from tunesmith.together import ServedModel, open_together
from tunesmith.train.train import train

QUESTION = [{"role": "user", "content": "What is 1 and red?"}]
TUNED, OTHER, BASE = "colours", "numbers", "tiny-llama"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """A tiny network is computed by one thread faster than by several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def runs(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Two LoRA runs on one base that answer differently."""
    directory = tmp_path_factory.mktemp("served")
    answers = {TUNED: "The answer is red.", OTHER: "one two three four five"}
    for name, answer in answers.items():
        prepare_qa(directory / f"{name}-data", [(f"What is {i} and red?", answer) for i in range(12)])
        config = TrainConfig(
            model=str(tiny_llama), data=directory / f"{name}-data", learning_rate=2e-2, max_steps=6, dtype="float32", estimate=False
        )
        train(config, runs_dir=directory, name=name)
    return tuple(directory / name for name in answers)


@pytest.fixture(scope="session")
def models(runs: tuple[Path, ...]) -> tuple[ServedModel, ...]:
    return tuple(open_together([str(run) for run in runs], dtype="float32", device="cpu", say=None))


@dataclass(kw_only=True)
class Served:
    """A server under way."""

    server: GracefulServer
    address: str
    thread: threading.Thread

    @property
    def service(self) -> Any:
        return self.server.service

    def client(self, key: str = "none", **options: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0, timeout=20, **options)

    def call(self, function: Callable[[], Any]) -> None:
        """On the server's event loop."""
        assert self.server._loop is not None
        self.server._loop.call_soon_threadsafe(function)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.01)

    def is_empty(self) -> bool:
        return self.service.num_in_flight == self.service.num_running == 0


@contextmanager
def serving(models: tuple[ServedModel, ...], *, guards: Mapping[str, Guard] | None = None, **settings: Any) -> Iterator[Served]:
    """Start, and stop at the end; `settings` are those of `ServeConfig`. Keys are looked for nowhere but where they say."""
    nowhere = Path("no-such-directory") / "keys.json"
    config = ServeConfig(**{"models": ("x",), "keys_file": nowhere, "grace_seconds": 5, **settings})
    listener = socket.create_server(("127.0.0.1", 0))
    ready = threading.Event()
    server = make_server(models, config, guards=guards, on_ready=ready.set)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    assert ready.wait(30), "it did not start"
    served = Served(server=server, address=f"http://127.0.0.1:{listener.getsockname()[1]}", thread=thread)
    try:
        yield served
    finally:
        if thread.is_alive():
            served.call(server.end)
            served.call(server.end)
            thread.join(20)
            assert not thread.is_alive(), "it did not stop"


@pytest.fixture(scope="module")
def served(models: tuple[ServedModel, ...]) -> Iterator[Served]:
    """One server that many tests ask; none of them may stop or fill it."""
    with serving(models) as one:
        yield one
        one.wait_until(one.is_empty)


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with served.client() as one:
        yield one
