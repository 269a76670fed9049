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
from tunesmith.errors import ConfigError
from tunesmith.evaluate.contestants import load_contestants, metric_votes
from tunesmith.evaluate.earlier import newest_answers, part_votes
from tunesmith.evaluate.evaluate import _write as write_evaluation
from tunesmith.evaluate.records import write_records
from tunesmith.evaluate.report import build_report
from tunesmith.evaluate.votes import Vote, answer_key, append_votes, read_votes
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
    line = [sys.executable, "-m", "tunesmith", *map(str, words)]
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


def test_a_run_named_like_the_base_model_of_another_is_refused(run: Path, tmp_path: Path) -> None:
    named = evaluated_run(tmp_path, "tiny", "Press it")
    write_json(named / "run.json", {"schema_version": 1, "model": {"name": "other"}})
    for runs in ([run, named], [named, run]):
        with pytest.raises(ConfigError, match="another has a base model of that name"):
            load_contestants(runs)


def evaluate_again(run: Path, tuned: str, *, count: int = NUM) -> None:
    records = [record(name=f"e{i}", base=f"No idea. {i}", tuned=f"{tuned} {i}", prompt=f"Question {i}? {ESCAPE}") for i in range(count)]
    write_records(RunDirectory(run).evaluation_records_file, records)


def test_votes_on_earlier_answers_are_left_out_and_counted_and_kept(run: Path) -> None:
    tunesmith("rate", run, "--rater", "ana", keys="1" * 12 + "q")
    before = RunDirectory(run).votes_file.read_bytes()
    assert json.loads(tunesmith("rank", run, "--json").stdout)["num_earlier"] == 0
    evaluate_again(run, "Something else")
    nothing = tunesmith("rank", run)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "all 12 votes are on earlier answers" in nothing.stderr
    assert "--include-earlier" in nothing.stderr
    done = tunesmith("rate", run, "--rater", "ana", keys="2" * 15 + "q")
    assert "12 votes are on earlier answers: left out; --include-earlier counts them" in done.stdout
    document = json.loads(tunesmith("rank", run, "--json").stdout)
    assert (document["num_votes"], document["num_earlier"]) == (15, 12)
    assert document["notes"][0] == "12 votes are on earlier answers: left out; --include-earlier counts them"
    pooled = json.loads(tunesmith("rank", run, "--include-earlier", "--json").stdout)
    assert (pooled["num_votes"], pooled["num_earlier"]) == (27, 12)
    assert pooled["notes"][0].startswith("12 votes are on earlier answers: counted")
    plain = json.loads(tunesmith("rank", RunDirectory(run).votes_file, "--json").stdout)
    assert (plain["num_votes"], plain["num_earlier"]) == (27, 0)
    assert RunDirectory(run).votes_file.read_bytes().startswith(before)


def test_the_summary_leaves_earlier_votes_and_scores_out(run: Path) -> None:
    tunesmith("rate", run, "--rater", "ana", keys="1q")
    tunesmith("rate", run, "--rater", "ana", "--mode", "rubric", keys="5" * 2 * NUM)
    evaluate_again(run, "Something else")
    document = json.loads(tunesmith("rate", run, "--summary", "--json").stdout)
    assert document["num_earlier"] == {"votes": 1, "ratings": NUM}
    assert (document["num_votes"], document["num_ratings"]) == (0, NUM)
    assert [one["model"] for one in document["scores"]] == ["tiny"]
    said = tunesmith("rate", run, "--summary").stdout
    assert f"note: 1 vote and {NUM} scores are on earlier answers: left out" in said
    counted = json.loads(tunesmith("rate", run, "--summary", "--include-earlier", "--json").stdout)
    assert (counted["num_votes"], counted["num_ratings"]) == (1, 2 * NUM)


def test_which_votes_are_on_earlier_answers(run: Path, tmp_path: Path) -> None:
    other = evaluated_run(tmp_path, "short", "Press it", base="Who knows?")
    newest = newest_answers([run, other])
    texts = {"faq": f"Press the reset button twice {ESCAPE} 3", "short": "Press it 3", "tiny": "No idea. 3"}
    keys = {name: answer_key(text) for name, text in texts.items()}
    vote = Vote(left="faq", right="tiny", winner="left", example="e3", left_answer=keys["faq"], right_answer=keys["tiny"])
    of_short = answer_key("Who knows? 3")
    current = [
        vote,
        dataclasses.replace(vote, right_answer=of_short),  # the base model as the other run asked it
        dataclasses.replace(vote, right="tiny (short)", right_answer=of_short),
        dataclasses.replace(vote, right="another", right_answer="123456789abc"),  # a model of no run that is named
        dataclasses.replace(vote, left_answer="", right_answer=""),
        dataclasses.replace(vote, example="", left_answer="123456789abc"),
    ]
    earlier = [
        dataclasses.replace(vote, left_answer="123456789abc"),
        dataclasses.replace(vote, right_answer="123456789abc"),
        dataclasses.replace(vote, left_answer=keys["tiny"], right_answer=keys["faq"]),
        dataclasses.replace(vote, example="e99"),  # not among the examples of the latest evaluation
    ]
    assert part_votes([*earlier, *current], newest) == (current, earlier)
    assert part_votes([*earlier, *current], newest_answers([])) == ([*earlier, *current], [])


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
