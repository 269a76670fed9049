"""What raters said of runs' newest answers, as the studio sums it up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.studio.made import make_data
from tests.studio.rated import BASE, make_rated
from tunesmith.errors import RunError
from tunesmith.evaluate.rating.sheet import Sheet
from tunesmith.evaluate.votes import read_votes
from tunesmith.runs import RunDirectory
from tunesmith.studio.pages.rate_standing import contestants, make_sheet, standing
from tunesmith.studio.readable import Unreadable
from tunesmith.studio.reading import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "runs", tmp_path / "prepared")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_rated(tmp_path / "runs", "rated", make_data(tmp_path / "prepared", "faq"))


def prefer_tuned(library: Library, run: RunDirectory, sheet: Sheet, *, but: int = 0) -> None:
    """Judge all there is; `but` pairs go to the base."""
    for number, question in enumerate(sheet.questions(contestants(library, [run]), seed=0).asked):
        wanted = BASE if number < but else run.name
        sheet.save(question, "12"[question.models.index(wanted)])


def test_votes_are_ranked_and_raters_compared(library: Library, run: RunDirectory) -> None:
    ana, ben = (make_sheet([run], mode="pairs", rater=name) for name in ("ana", "ben"))
    assert standing(library, [run], ana).lines == ()
    prefer_tuned(library, run, ana, but=2)
    first = standing(library, [run], ana)
    assert first.ranking is not None
    assert first.ranking.models == ("rated", BASE)
    assert (first.ranking.groups[0][0].wins, first.ranking.groups[0][0].losses) == (8, 2)
    assert standing(library, [run], ana) is first  # kept until somebody says more
    prefer_tuned(library, run, ben)
    both = standing(library, [run], ana)
    assert any("agreement of 2 raters on 10 pairs" in line and "80 % of verdicts" in line for line in both.lines)
    assert {vote.rater for vote in read_votes([run.votes_file])} == {"ana", "ben"}


def test_a_rater_in_two_windows_counts_once(library: Library, run: RunDirectory) -> None:
    sheet = make_sheet([run], mode="pairs", rater="ana")
    questions = sheet.questions(contestants(library, [run]), seed=0).asked
    for wanted in (BASE, run.name):  # both windows were opened before anything was judged
        for question in questions:
            sheet.save(question, "12"[question.models.index(wanted)])
    found = standing(library, [run], sheet)
    assert found.ranking is not None
    assert found.ranking.num_votes == 10
    assert (found.ranking.groups[0][0].model, found.ranking.groups[0][0].wins) == (run.name, 10)
    assert len(read_votes([run.votes_file])) == 20


def test_votes_on_earlier_answers_are_told_and_left_out(library: Library, run: RunDirectory, tmp_path: Path) -> None:
    sheet = make_sheet([run], mode="pairs", rater="ana")
    prefer_tuned(library, run, sheet)
    make_rated(tmp_path / "runs", "rated", tmp_path / "prepared" / "faq", tuned=lambda number: f"Another answer, {number}.")
    found = standing(library, [run], sheet)
    assert found.ranking is None
    assert found.lines == ("10 votes on answers of an earlier evaluation: left out",)
    assert len(sheet.questions(contestants(library, [run]), seed=0).asked) == 10


def test_scores_have_means_and_intervals(library: Library, run: RunDirectory) -> None:
    sheet = make_sheet([run], mode="rubric", rater="ana")
    for question in sheet.questions(contestants(library, [run]), seed=0).asked:
        sheet.save(question, "5" if question.models == ("rated",) else "2")
    found = standing(library, [run], sheet)
    assert found.ranking is None
    assert any(line.startswith("rated: mean score 5.00") for line in found.lines)
    assert sheet.file == run.ratings_file


def test_two_runs_are_set_against_each_other_and_their_base(library: Library, run: RunDirectory, tmp_path: Path) -> None:
    other = make_rated(tmp_path / "runs", "other", tmp_path / "prepared" / "faq", tuned=lambda number: f"Blue, {number}.")
    found = contestants(library, [run, other])
    assert [one.name for one in found] == [BASE, "rated", "other"]
    sheet = make_sheet([run, other], mode="pairs", rater="ana")
    assert len(sheet.questions(found, seed=0).asked) == 30


def test_records_of_another_making_are_told(library: Library, run: RunDirectory) -> None:
    lines = [json.loads(line) for line in run.evaluation_records_file.read_text(encoding="utf-8").splitlines()]
    lines[0]["answers"]["base"]["completion"] = 7
    run.evaluation_records_file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    sheet = make_sheet([run], mode="pairs", rater="ana")
    sheet.votes_file.write_text('{"left": "rated", "right": "tiny-llama", "winner": "left", "example": "example-0"}\n', encoding="utf-8")
    with pytest.raises(Unreadable, match="is not as tunesmith writes it"):
        standing(library, [run], sheet)
    run.evaluation_records_file.write_text('{"id": 1}\n', encoding="utf-8")
    with pytest.raises(RunError, match="evaluate the run again"):
        contestants(library, [run])
