"""A process of vLLM: found, started, watched and ended. The program is a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import openai
import psutil
import pytest

from tests.vllm.on_path import put_on_path
from tunesmith.config import GenerateConfig
from tunesmith.errors import AssetError, ConfigError
from tunesmith.vllm.answers import Reading, complete
from tunesmith.vllm.command import VllmModel
from tunesmith.vllm.server import Launch, running

pytestmark = pytest.mark.skipif(os.name != "posix", reason="vLLM runs on POSIX alone")

READING = Reading(stop_ids=[2], context_length=64, parse=lambda ids: " ".join(map(str, ids)))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)


def launch(folder: Path, options: str = "", seconds: float = 60) -> Launch:
    return Launch(log=folder / "vllm.log", dtype="float32", max_length=64, options=options, seconds_to_start=seconds)


def base_of(folder: Path) -> VllmModel:
    return VllmModel(name="base", base_dir=folder, base_name="base")


def test_it_answers_to_its_key_alone_and_ends(stand_in: None, tiny_llama: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with running([base_of(tiny_llama)], launch(tmp_path), said.append) as server:
        assert server.version == "0.0.stand-in"
        words = psutil.Process(server.process.pid).cmdline()
        assert server.client.api_key not in " ".join(words)
        stranger = openai.OpenAI(base_url=server.client.base_url, api_key="wrong", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        done: list[int] = []
        answers = complete(server, "base", [[1, 5, 6], [1, 7]], GenerateConfig(max_new_tokens=4), READING, done.append)
        assert [len(answer.token_ids) <= 4 for answer in answers] == [True, True]
        assert done == [1, 2]
        with pytest.raises(AssetError, match=r"did not answer a prompt of 64 tokens .*longer than max_model_len"):
            complete(server, "base", [[1] * 64], GenerateConfig(max_new_tokens=4), Reading(stop_ids=[2], context_length=99, parse=str))
        with pytest.raises(ConfigError, match="log-probabilities by vLLM"):
            complete(server, "base", [[1]], GenerateConfig(logprobs=1), READING)
    assert server.process.poll() is not None
    assert said == [f"starting vLLM, which takes a while; its log is {tmp_path / 'vllm.log'}"]
    assert "(stand-in) starting" in (tmp_path / "vllm.log").read_text(encoding="utf-8")


def test_one_that_fails(tmp_path: Path, tiny_llama: Path, stand_in: None) -> None:
    with pytest.raises(AssetError) as caught, running([base_of(tiny_llama)], launch(tmp_path, "--misbehave fail"), str):
        pytest.fail("it is not ready")
    text = str(caught.value)
    assert "ended with exit code 1 before it was ready; its log says 'ValueError: Available memory is less than desired'" in text
    assert str(tmp_path / "vllm.log") in text


@pytest.mark.parametrize("option", ["--port 9000", "--port=9000", "--api-key x"])
def test_options_by_which_it_would_not_be_found(tmp_path: Path, tiny_llama: Path, stand_in: None, option: str) -> None:
    with (
        pytest.raises(ConfigError, match=option.split(maxsplit=1)[0].partition("=")[0]),
        running([base_of(tiny_llama)], launch(tmp_path, option), str),
    ):
        pytest.fail("it is started")


def test_a_limit_of_its_own_is_no_end_of_an_answer(stand_in: None, tiny_llama: Path, tmp_path: Path) -> None:
    with (
        running([base_of(tiny_llama)], launch(tmp_path, "--misbehave short"), str) as server,
        pytest.raises(AssetError, match="ended an answer after 2 tokens for its length, where 8 were asked for"),
    ):
        complete(server, "base", [[1, 5]], GenerateConfig(max_new_tokens=8), READING)


def test_one_that_never_gets_ready(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(tmp_path / "bin", monkeypatch, starts_with="import time; print('loading', flush=True); time.sleep(60)")
    began = time.monotonic()
    with (
        pytest.raises(AssetError, match=r"was not ready after 0\.5 s; its log says"),
        running([base_of(tiny_llama)], launch(tmp_path, seconds=0.5), str),
    ):
        pytest.fail("it is not ready")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("die", "ended with exit code 3 while it was answering; its log says 'torch.OutOfMemoryError: no memory is left'"),
        ("no-ids", "its answer has no token ids; expected the tokens it produced"),
    ],
)
def test_one_that_goes_wrong_in_the_middle(how: str, found: str, tmp_path: Path, tiny_llama: Path, stand_in: None) -> None:
    prompts = [[1, token] for token in range(5, 15)]
    with pytest.raises(AssetError) as caught, running([base_of(tiny_llama)], launch(tmp_path, f"--misbehave {how}"), str) as server:
        complete(server, "base", prompts, GenerateConfig(max_new_tokens=4, batch_size=2), READING)
    assert found.replace("torch.", "") in str(caught.value).replace("torch.", "")


def test_it_does_not_outlive_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed outright, we end nothing ourselves."""
    sleeper = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    program = (
        "import subprocess, sys, time\n"
        f"one = subprocess.Popen([sys.executable, '-m', 'tunesmith.vllm.keeper', *{sleeper!r}], stdin=subprocess.PIPE)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as us:
        assert us.stdout is not None
        process = psutil.Process(int(us.stdout.readline()))
        us.send_signal(signal.SIGKILL)
        us.wait(10)
        _wait_until(lambda: has_ended(process))


def has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True


def _wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
