"""`rate` and `rank` on evaluations made by hand."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluate.fakes import record
from tunesmith.config import EvaluateConfig
from tunesmith.evaluate.contestants import load_contestants, metric_votes
from tunesmith.evaluate.evaluate import _write as write_evaluation
from tunesmith.evaluate.records import write_records
from tunesmith.evaluate.report import build_report
from tunesmith.evaluate.votes import Vote, append_votes, read_votes
from tunesmith.files import write_json
from tunesmith.runs import RunDirectory

NUM = 30
ESCAPE = "\x1b[31mred\x1b[0m \x9b2J [bold]loud[/bold]"


def evaluated_run(folder: Path, name: str, tuned: str, *, base: str = "No idea.") -> Path:
    run = RunDirectory(folder / name)
    run.evaluation_dir.mkdir(parents=True)
    write_json(run.path / "run.json", {"schema_version": 1, "model": {"name": "tiny"}})
    records = [record(name=f"e{i}", base=f"{base} {i}", tuned=f"{tuned} {i}", prompt=f"Question {i}? {ESCAPE}") for i in range(NUM)]
    write_records(run.evaluation_records_file, records)
    return run.path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return evaluated_run(tmp_path, "faq", f"Press the reset button twice {ESCAPE}")


def tunesmith(*words: str | Path, keys: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "tunesmith.cli", *map(str, words)]
    return subprocess.run(line, input="\n".join(keys), capture_output=True, text=True, check=False)


def test_rate_shows_no_names_and_no_control_characters_and_goes_on_where_it_ended(run: Path) -> None:
    done = tunesmith("rate", run, "--rater", "ana", keys="12tq")
    assert done.returncode == 0, done.stderr
    asked = done.stderr.split("3 judged")[0]
    assert "faq" not in asked.replace("faq.jsonl", "")
    assert "tiny" not in asked
    assert not {"\x1b", "\x9b"} & set(asked)
    assert "[bold]loud[/bold]" in asked
    votes = read_votes([RunDirectory(run).votes_file])
    assert [vote.winner for vote in votes] == ["left", "right", "tie"]
    assert {(vote.rater, vote.kind) for vote in votes} == {("ana", "human")}
    assert all(vote.models == {"faq", "tiny"} and vote.left_words and vote.time for vote in votes)
    again = tunesmith("rate", run, "--rater", "ana", "--limit", "2", "--json", keys="1" * 9)
    document = json.loads(again.stdout)
    assert document["sitting"] == {"num_answered": 2, "num_skipped": 0, "num_left": 0}
    votes = read_votes([RunDirectory(run).votes_file])
    assert len({vote.example for vote in votes}) == 5


def test_two_raters_and_their_ranking(run: Path) -> None:
    for rater in ("ana", "bo"):
        tunesmith("rate", run, "--rater", rater, keys="12" * NUM)
    summary = tunesmith("rate", run, "--summary")
    assert "agreement of 2 raters on 30 pairs" in summary.stdout
    ranked = tunesmith("rank", run, "--json")
    document = json.loads(ranked.stdout)
    assert (document["num_votes"], document["num_examples"], document["kinds"]) == (60, 30, {"human": 60})
    nothing = tunesmith("rank", run, "--kind", "judge")
    assert nothing.returncode == 2
    assert "there are no votes" in nothing.stderr


def test_a_run_is_ranked_by_its_judges_votes_too(run: Path) -> None:
    vote = Vote(left="faq", right="tiny", winner="left", kind="judge", rater="large")
    append_votes(RunDirectory(run).judge_votes_file, [vote])
    assert json.loads(tunesmith("rank", run, "--json").stdout)["kinds"] == {"judge": 1}
    append_votes(RunDirectory(run).votes_file, [dataclasses.replace(vote, kind="human")])
    assert json.loads(tunesmith("rank", run, "--json").stdout)["kinds"] == {"human": 1, "judge": 1}
    assert json.loads(tunesmith("rank", run, "--kind", "human", "--json").stdout)["num_votes"] == 1


def test_rubric(run: Path) -> None:
    done = tunesmith("rate", run, "--mode", "rubric", "--rater", "ana", "--json", keys="12345" * 3 + "q")
    document = json.loads(done.stdout)
    assert document["num_ratings"] == 15
    assert sum(one["num_examples"] for one in document["scores"]) == 15
    assert "right, complete, to the point" in done.stderr


def test_rank_by_metric_and_its_page(run: Path, tmp_path: Path) -> None:
    other = evaluated_run(tmp_path, "worse", "Press it")
    page = tmp_path / "ranking.html"
    done = tunesmith("rank", run, other, "--by-metric", "token_f1", "--html", page)
    assert done.returncode == 0, done.stderr
    places = [line.split()[1] for line in done.stdout.splitlines() if line[:2] in ("1 ", "2 ", "3 ")]
    assert places == ["faq", "worse", "tiny"]
    assert "faq is ahead of worse" in done.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_rank_of_nothing_is_one_paragraph(run: Path, tmp_path: Path) -> None:
    for words, found in (
        ((tmp_path / "none.csv",), "there is no such file"),
        ((run,), "nobody has voted on this run's answers"),
        ((run, "--by-metric", "nope"), "there is no metric 'nope'"),
    ):
        done = tunesmith("rank", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert found in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_metric_votes_take_loss_the_right_way_round_and_equal_scores_as_ties(run: Path, tmp_path: Path) -> None:
    same = evaluated_run(tmp_path, "same", f"Press the reset button twice {ESCAPE}")
    contestants = load_contestants([run, same])
    assert [one.name for one in contestants] == ["tiny", "faq", "same"]
    votes = metric_votes(contestants, "token_f1")
    assert len(votes) == 3 * NUM
    assert all((vote.winner == "tie") == (vote.models == {"faq", "same"}) for vote in votes)
    assert {vote.winner for vote in metric_votes(contestants, "loss")} == {"tie"}


def test_a_base_model_asked_in_two_ways_is_two_contestants(run: Path, tmp_path: Path) -> None:
    other = evaluated_run(tmp_path, "short", "Press it", base="Who knows?")
    assert [one.name for one in load_contestants([run, other])] == ["tiny", "tiny (short)", "faq", "short"]


def test_evaluating_again_keeps_the_votes(run: Path) -> None:
    opened = RunDirectory(run)
    tunesmith("rate", run, "--rater", "ana", keys="1q")
    tunesmith("rate", run, "--rater", "ana", "--mode", "rubric", keys="1q")
    before = opened.votes_file.read_bytes(), opened.ratings_file.read_bytes()
    assert all(before)
    records = [record(name=f"e{i}", base="other", tuned="answers") for i in range(3)]
    names = {"run_name": "faq", "model_name": "tiny", "split": "test", "data_fingerprint": "ab"}
    write_evaluation(opened, build_report(records, EvaluateConfig(num_resamples=100), num_left_out=0, **names), records)
    assert opened.evaluation_report_file.is_file()
    assert (opened.votes_file.read_bytes(), opened.ratings_file.read_bytes()) == before
