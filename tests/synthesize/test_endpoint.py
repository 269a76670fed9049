"""Synthesis against an endpoint over real HTTP: nothing lost, nothing asked twice, nothing over budget, no rubbish kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chat.endpoint import Endpoint, good_reply, serving
from tunesmith.config import SynthesizeConfig
from tunesmith.errors import AssetError, ConfigError, RunError
from tunesmith.synthesize.task import Options, Task, plan

DOCUMENT = "\n\n".join(
    f"# Part {n}\n\nAcme{n} was founded in {1900 + n} by two people. Delivery{n} takes {n} days and costs nothing. "
    f"Returns{n} are accepted for thirty days after the purchase, with the receipt. Support{n} answers within a day, on workdays."
    for n in range(40)
)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "handbook.md"
    file.write_text(DOCUMENT, encoding="utf-8")
    return file


def task_of(endpoint: Endpoint, document: Path, /, **settings: Any) -> Task:
    values = {"endpoint": endpoint.url, "endpoint_model": "m", "count": 1000, "concurrency": 4, "timeout_seconds": 5.0, **settings}
    task = plan(Options(recipe="documents", inputs=(str(document),)), SynthesizeConfig(**values), lambda text: None)
    assert isinstance(task, Task)
    return task


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_every_answer_has_the_passage_it_rests_on(document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply)) as endpoint:
        report = task_of(endpoint, document).run(tmp_path / "out")
    examples = lines_of(tmp_path / "out" / "examples.jsonl")
    assert report["kept"] == len(examples) > 60
    assert report["ending"] == "nothing more to ask"
    for example in examples:
        origin = example["origin"]
        assert example["answer"] == origin["quote"]
        assert origin["quote"] in origin["passage"]
        assert origin["source"].startswith("handbook.md:")
        assert (origin["recipe"], origin["teacher"].split()[0]) == ("documents", "m")
    assert endpoint.most_at_once <= 4
    assert (report["prompt_tokens"], report["completion_tokens"]) == (50 * report["calls"], 20 * report["calls"])


FAULTS = {"busy": 0.15, "broken": 0.1, "rubbish": 0.06, "half": 0.06, "empty": 0.06, "cut": 0.05, "no choices": 0.05, "no json": 0.05}


def test_faults_are_missing_examples_and_never_bad_ones(document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply)) as endpoint:
        task_of(endpoint, document).run(tmp_path / "good")
    with serving(Endpoint(good_reply, faults={**FAULTS, "stall": 0.02})) as endpoint:
        report = task_of(endpoint, document, timeout_seconds=1.0).run(tmp_path / "faulty")
        assert all(endpoint.met[fault] for fault in ("busy", "broken", "rubbish", "empty", "cut"))
    good = {example["question"]: example for example in lines_of(tmp_path / "good" / "examples.jsonl")}
    kept = lines_of(tmp_path / "faulty" / "examples.jsonl")
    assert all(example["answer"] == good[example["question"]]["answer"] for example in kept)
    assert 0.4 * len(good) < len(kept) < len(good)
    assert report["calls_without_examples"] == sum(report["failures"].values()) > 0
    assert report["calls"] == 40


def test_a_second_run_asks_again_only_what_failed(document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply, faults={"empty": 0.4})) as endpoint:
        first = task_of(endpoint, document).run(tmp_path / "out")
        asked = len(endpoint.requests)
        endpoint.faults = {}
        second = task_of(endpoint, document).run(tmp_path / "out")
        again = len(endpoint.requests) - asked
    assert again == first["calls_without_examples"] > 0
    assert second["calls_without_examples"] == 0
    assert second["kept"] > first["kept"]


@pytest.mark.parametrize("budget", [100, 5_000, 20_000])
def test_the_budget_in_tokens_is_kept(budget: int, document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply, delay_seconds=0.01)) as endpoint:
        report = task_of(endpoint, document, budget_tokens=budget, max_new_tokens=100, concurrency=8).run(tmp_path / "out")
    assert report["prompt_tokens"] + report["completion_tokens"] == endpoint.tokens_answered <= budget
    assert (report["ending"] == "budget spent") == (report["calls"] < 40)
    assert report["calls"] == 0 if budget == 100 else report["calls"] > 0


def test_the_budget_in_money_holds_for_both_runs_together(document: Path, tmp_path: Path) -> None:
    settings = {"budget_cost": 1.0, "price_prompt": 1000.0, "price_completion": 2000.0, "max_new_tokens": 64}
    with serving(Endpoint(good_reply)) as endpoint:
        first = task_of(endpoint, document, **settings).run(tmp_path / "out")
        second = task_of(endpoint, document, **settings).run(tmp_path / "out")
        third = task_of(endpoint, document, **{**settings, "budget_cost": 100.0}).run(tmp_path / "out")
    assert 0 < first["cost"] <= second["cost"] <= 1.0
    assert first["ending"] == second["ending"] == "budget spent"
    assert third["ending"] == "nothing more to ask"
    assert len(endpoint.requests) == third["calls"] == 40


def test_an_endpoint_that_does_not_count(document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply, counts=False)) as endpoint:
        report = task_of(endpoint, document).run(tmp_path / "out")
    assert report["tokens_are_estimated"]
    assert report["prompt_tokens"] > 0 < report["completion_tokens"]


def test_a_refusing_endpoint_stops_the_work_at_once(document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply, faults={"refused": 1.0})) as endpoint:
        with pytest.raises(AssetError, match="the endpoint refuses") as caught:
            task_of(endpoint, document).run(tmp_path / "out")
        assert "$OPENAI_API_KEY" in caught.value.remedy
        assert len(endpoint.requests) <= 4


def test_an_endpoint_that_only_fails_is_given_up(document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply, faults={"empty": 1.0})) as endpoint:
        with pytest.raises(AssetError, match=r"the last 2\d calls failed \(an empty reply\)"):
            task_of(endpoint, document).run(tmp_path / "out")
        assert len(endpoint.requests) < 40
    assert lines_of(tmp_path / "out" / "examples.jsonl") == []


def test_nobody_listens(document: Path, tmp_path: Path) -> None:
    nobody = Endpoint(good_reply)
    nobody.url = "http://127.0.0.1:9/v1"
    with pytest.raises(AssetError, match=r"calls failed .*Connection"):
        task_of(nobody, document, max_attempts=1).run(tmp_path / "out")


def test_verification_keeps_what_the_teacher_confirms(document: Path, tmp_path: Path) -> None:
    def doubtful(text: str) -> str:
        if "Reply with one word" not in text:
            return good_reply(text)
        return "no" if "Delivery" in text.rsplit("Question:")[1] else "Perhaps" if "Acme" in text.rsplit("Question:")[1] else "Yes"

    with serving(Endpoint(doubtful)) as endpoint:
        report = task_of(endpoint, document, verify=True).run(tmp_path / "out")
    kept = lines_of(tmp_path / "out" / "examples.jsonl")
    assert report["kept"] == len(kept) > 0
    assert all(example["answer"].startswith("Returns") for example in kept)
    assert report["reasons"]["the teacher does not confirm that the passage says it"] > 0
    assert report["reasons"]["not verified"] > 0


def test_only_the_same_work_goes_on_in_a_directory(document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply)) as endpoint:
        task_of(endpoint, document, count=5).run(tmp_path / "out")
        with pytest.raises(RunError, match="it holds other work"):
            task_of(endpoint, document, seed=1).run(tmp_path / "out")
        document.write_text(DOCUMENT + "More.", encoding="utf-8")
        with pytest.raises(RunError, match="it holds other work"):
            task_of(endpoint, document).run(tmp_path / "out")
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / "mine.txt").write_text("x")
        with pytest.raises(RunError, match="it exists already"):
            task_of(endpoint, document).run(tmp_path / "taken")


def test_keys_stay_out_of_the_files(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-0123456789")
    with serving(Endpoint(good_reply)) as endpoint:
        task_of(endpoint, document, count=5, api_key_variable="MY_KEY").run(tmp_path / "out")
    assert not any(b"sk-secret" in file.read_bytes() for file in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(("changes", "complaint"), [({"endpoint": None}, "no --teacher"), ({"endpoint_model": None}, "--teacher-model")])
def test_no_teacher(changes: dict[str, Any], complaint: str, document: Path) -> None:
    nobody = Endpoint(good_reply)
    nobody.url = "http://127.0.0.1:9/v1"
    with pytest.raises(ConfigError, match=complaint):
        task_of(nobody, document, **changes)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(document: Path, tmp_path: Path) -> None:
    with serving(Endpoint(good_reply, delay_seconds=0.05)) as endpoint:
        command = [sys.executable, "-m", "tunesmith", "synthesize", "documents", str(document), "--teacher", endpoint.url]
        command += ["--teacher-model", "m", "--count", "1000", "--concurrency", "2", "--out"]
        subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
        endpoint.requests.clear()
        ledger = tmp_path / "killed" / "calls.jsonl"
        for wanted in (4, 11, 23):
            process = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not ledger.exists() or ledger.read_bytes().count(b"\n") < wanted:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with ledger.open("ab") as file:
            file.write(b'{"key": "torn')  # a write that a power cut ended
        done = subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True, text=True)
    for name in ("examples.jsonl", "rejected.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert "made by an earlier run" in done.stdout
    twice = sum(count - 1 for count in Counter(json.dumps(request["messages"]) for request in endpoint.requests).values())
    assert twice <= 3 * 2  # those that were under way when it was killed
