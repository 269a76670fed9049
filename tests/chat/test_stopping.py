"""Stopped in the middle: what is paid for is kept, nothing new is asked, and nobody waits for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chat.endpoint import Endpoint, good_reply, serving
from tunesmith.chat.budget import Budget, Prices
from tunesmith.chat.calls import Call
from tunesmith.chat.ledger import Ledger
from tunesmith.chat.models import EndpointModel
from tunesmith.config import ChatConfig
from tunesmith.errors import AssetError
from tunesmith.types import Message

CALLS = [Call(key=f"test {n}", messages=(Message(role="user", content=f"Say a word, {n}."),)) for n in range(20)]
CONFIG = ChatConfig(endpoint_model="m", concurrency=3)


class Work:
    """Asks everything as a command does, its ledger included."""

    def __init__(self, endpoint: Endpoint, file: Path, *, seconds_to_finish: float = 30.0, config: ChatConfig = CONFIG) -> None:
        self.said: list[str] = []
        self.model = EndpointModel(endpoint.url, config, say=self.said.append, seconds_to_finish=seconds_to_finish)
        self.budget = Budget(max_tokens=None, max_cost=None, prices=Prices(), tokens_per_reply=16)
        self.file = file

    def run(self) -> None:
        with Ledger(self.file, self.model.name) as ledger:
            for answered in self.model.answer(CALLS, self.budget):
                ledger.append(*answered)

    @property
    def kept(self) -> list[str]:
        return [json.loads(line)["key"] for line in self.file.read_text(encoding="utf-8").splitlines()]


@contextmanager
def ctrl_c_when(*conditions: Callable[[], bool]) -> Iterator[None]:
    """Presses Ctrl-C when the first holds, once more when the next does, and so on."""

    def press() -> None:
        for holds in conditions:
            while not holds():
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press, daemon=True)
    presser.start()
    yield
    presser.join(timeout=5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_under_way_at_ctrl_c_is_written_down_and_nothing_new_is_asked(tmp_path: Path) -> None:
    with serving(Endpoint(lambda text: "yes", delay_seconds=0.5)) as endpoint:
        work = Work(endpoint, tmp_path / "calls.jsonl")
        with ctrl_c_when(lambda: len(endpoint.requests) == 3), pytest.raises(KeyboardInterrupt):
            work.run()
        assert sorted(work.kept) == ["test 0", "test 1", "test 2"]
        assert len(endpoint.requests) == 3
        assert work.budget.spent.total == endpoint.tokens_answered == 3 * 70
        (line,) = work.said
        assert line.startswith("stopping: up to 30 s for 3 replies under way")


def test_a_ctrl_c_while_a_reply_is_written_down_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = Ledger.append

    def interrupted(ledger: Ledger, *answered: object) -> None:
        if work.budget.spent.total == 70:
            os.kill(os.getpid(), signal.SIGINT)
        append(ledger, *answered)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "append", interrupted)
    with serving(Endpoint(lambda text: "yes", delay_seconds=0.05)) as endpoint:
        work = Work(endpoint, tmp_path / "calls.jsonl", config=ChatConfig(endpoint_model="m", concurrency=1))
        with pytest.raises(KeyboardInterrupt):
            work.run()
        assert work.kept == ["test 0"]
        assert len(endpoint.requests) == 1


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    forever = threading.Event()

    def stuck(text: str) -> str:
        forever.wait(20)
        return "late"

    with serving(Endpoint(stuck)) as endpoint:
        work = Work(endpoint, tmp_path / "calls.jsonl")
        started = time.monotonic()
        with ctrl_c_when(lambda: len(endpoint.requests) == 3, lambda: bool(work.said)), pytest.raises(KeyboardInterrupt):
            work.run()
        assert time.monotonic() - started < 10
        assert work.kept == []
        forever.set()


def test_a_reply_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    forever = threading.Event()

    def one_stuck(text: str) -> str:
        if ", 1." in text:
            forever.wait(20)
        return "yes"

    with serving(Endpoint(one_stuck, delay_seconds=0.1)) as endpoint:
        work = Work(endpoint, tmp_path / "calls.jsonl", seconds_to_finish=0.6)
        with ctrl_c_when(lambda: len(endpoint.requests) == 3), pytest.raises(KeyboardInterrupt):
            work.run()
        assert sorted(work.kept) == ["test 0", "test 2"]
        assert work.said[-1].startswith("1 of them did not come in time")
        forever.set()


def test_a_request_that_failed_is_not_repeated_after_the_stop(tmp_path: Path) -> None:
    with serving(Endpoint(lambda text: "yes", faults={"busy": 1.0}, delay_seconds=0.3)) as endpoint:
        work = Work(endpoint, tmp_path / "calls.jsonl")
        with ctrl_c_when(lambda: len(endpoint.requests) == 3), pytest.raises(KeyboardInterrupt):
            work.run()
        time.sleep(0.1)
        assert len(endpoint.requests) == 3
        assert work.kept == []


def test_a_refusal_does_not_lose_the_other_replies(tmp_path: Path) -> None:
    class Choosy(Endpoint):
        def _fault(self, what: str) -> str | None:
            return "refused" if ", 1." in what else None

    def slow(text: str) -> str:
        time.sleep(0 if ", 1." in text else 0.4)
        return "yes"

    with serving(Choosy(slow)) as endpoint:
        work = Work(endpoint, tmp_path / "calls.jsonl")
        with pytest.raises(AssetError, match="the endpoint refuses"):
            work.run()
        assert sorted(work.kept) == ["test 0", "test 2"]
        assert len(endpoint.requests) == 3


def test_outside_the_main_thread_no_signal_is_touched(tmp_path: Path) -> None:
    with serving(Endpoint(lambda text: "yes")) as endpoint:
        work = Work(endpoint, tmp_path / "calls.jsonl")
        thread = threading.Thread(target=work.run)
        thread.start()
        thread.join(timeout=20)
    assert len(work.kept) == len(CALLS)


def test_the_command_is_stopped_and_goes_on_without_paying_twice(tmp_path: Path) -> None:
    document = tmp_path / "handbook.md"
    about = "Acme{n} was founded in {year} by two people. Delivery{n} takes {n} days. Support{n} answers within a day, on workdays. "
    parts = [f"# Part {n}\n\n" + 3 * about.format(n=n, year=1900 + n) for n in range(12)]
    document.write_text("\n\n".join(parts), encoding="utf-8")
    with serving(Endpoint(good_reply, delay_seconds=0.5)) as endpoint:
        command = [sys.executable, "-m", "tunesmith", "synthesize", "documents", str(document), "--teacher", endpoint.url]
        command += ["--teacher-model", "m", "--count", "1000", "--out", str(tmp_path / "out")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while len(endpoint.requests) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=30)[1]
        assert process.returncode == 130
        assert "stopping: up to 30 s for 4 replies under way" in stderr
        ledger = tmp_path / "out" / "calls.jsonl"
        assert ledger.read_bytes().count(b"\n") == len(endpoint.requests) == 4
        endpoint.delay_seconds = 0.0
        subprocess.run(command, check=True, capture_output=True)
        asked = [json.dumps(request["messages"]) for request in endpoint.requests]
    assert len(asked) == len(set(asked)) > 4
