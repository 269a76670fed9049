"""Answers of verbs: asked for once, until a file changes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import RunError
from tunesmith.studio import asking
from tunesmith.studio.asking import Answers


class Verb:
    """Answers with the number of the call; fails where it is told to."""

    def __init__(self) -> None:
        self.num_calls = self.num_running = self.most_running = 0
        self.fails = False

    async def __call__(self, words: Sequence[str | Path]) -> dict[str, Any]:
        self.num_calls += 1
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        await asyncio.sleep(0.01)
        self.num_running -= 1
        if self.fails:
            raise RunError("runs compare", "it failed", expected="an answer", remedy="mend it")
        return {"call": self.num_calls, "words": list(words)}


def test_an_answer_is_kept_until_a_file_changes(tmp_path: Path) -> None:
    verb, file = Verb(), tmp_path / "report.json"
    file.write_text("{}", encoding="utf-8")

    async def run() -> list[int]:
        answers = Answers(verb)
        numbers = [(await answers.ask(["a"], made_of=[file]))["call"] for _ in range(2)]
        numbers.append((await answers.ask(["a", "--more"], made_of=[file]))["call"])
        file.write_text("{} ", encoding="utf-8")
        return [*numbers, (await answers.ask(["a"], made_of=[file]))["call"]]

    assert asyncio.run(run()) == [1, 1, 2, 3]


def test_visitors_wait_for_one_process_and_others_for_their_turn(tmp_path: Path) -> None:
    verb = Verb()

    async def run() -> list[dict[str, Any]]:
        answers = Answers(verb)
        leaving = asyncio.create_task(answers.ask(["a"], made_of=[tmp_path / "none"]))
        await asyncio.sleep(0)
        leaving.cancel()
        return await asyncio.gather(*(answers.ask([word], made_of=[tmp_path / "none"]) for word in ("a", "a", "b")))

    found = asyncio.run(run())
    assert [one["words"] for one in found] == [["a"], ["a"], ["b"]]
    assert (verb.num_calls, verb.most_running) == (2, 1)


def test_a_failure_is_asked_again() -> None:
    verb = Verb()
    verb.fails = True

    async def run() -> dict[str, Any]:
        answers = Answers(verb)
        with pytest.raises(RunError, match="it failed"):
            await answers.ask(["a"], made_of=[])
        await asyncio.sleep(0)
        verb.fails = False
        return await answers.ask(["a"], made_of=[])

    assert asyncio.run(run())["call"] == 2


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="this system has no such priorities")
def test_what_nobody_has_to_have_at_once_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "import json, os, time; time.sleep(0.2); print(json.dumps({'nice': os.nice(0)}))"
    monkeypatch.setattr(asking, "command_line", lambda *words: [sys.executable, "-c", said])

    async def run() -> list[dict[str, Any]]:
        return [await asking.ask(["a"]), await Answers().ask(["a"], made_of=[])]

    assert [one["nice"] for one in asyncio.run(run())] == [os.nice(0), 19]


def test_the_oldest_answers_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_KEPT", 2)
    verb = Verb()

    async def run() -> list[int]:
        answers = Answers(verb)
        return [(await answers.ask([word], made_of=[]))["call"] for word in "abcca"]

    assert asyncio.run(run()) == [1, 2, 3, 3, 4]
