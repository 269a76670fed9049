from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import DataError
from tunesmith.evaluate.votes import Vote, answer_key, append_votes, read_votes, time_now

TEXTS = st.text(min_size=1).map(lambda text: text.strip() or "x")


def vote(winner: str = "left", **values: object) -> Vote:
    return Vote(**{"left": "tuned", "right": "base", "winner": winner, **values})  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "evaluation" / "votes.jsonl"


def test_what_is_appended_is_read_and_earlier_lines_stay_as_they_are(file: Path) -> None:
    first = vote(example="e1", rater="ana", left_words=3, right_words=12, reason="shorter", time=time_now())
    append_votes(file, [first])
    before = file.read_bytes()
    append_votes(file, [vote("tie"), vote("right", kind="judge")])
    assert file.read_bytes().startswith(before)
    assert read_votes([file]) == [first, vote("tie"), vote("right", kind="judge")]
    assert read_votes([file, file]) == read_votes([file]) * 2


@given(TEXTS, TEXTS, st.text(), st.sampled_from(["left", "right", "tie"]))
def test_any_text_survives(left: str, right: str, reason: str, winner: str) -> None:
    import tempfile

    if left == right:
        right += "x"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "votes.jsonl"
        given_vote = Vote(left=left, right=right, winner=winner, reason=reason)  # type: ignore[arg-type]
        append_votes(file, [given_vote])
        assert read_votes([file]) == [given_vote]


@pytest.mark.parametrize("torn", ['{"left": "a", "ri', '{"left": "a", "right": "\xc3'])
def test_a_torn_last_line_is_left_out_and_cut_off_by_the_next_vote(file: Path, torn: str) -> None:
    append_votes(file, [vote()])
    whole = file.read_bytes()
    file.write_bytes(whole + torn.encode("latin-1"))
    said: list[str] = []
    assert read_votes([file], say=said.append) == [vote()]
    assert said == ["votes.jsonl: the last line was cut short while it was written, and is left out"]
    append_votes(file, [vote("tie")])
    assert read_votes([file]) == [vote(), vote("tie")]
    assert file.read_bytes().startswith(whole)


def test_a_last_line_that_lacks_its_newline_alone_is_kept(file: Path) -> None:
    append_votes(file, [vote()])
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    assert read_votes([file]) == [vote()]
    append_votes(file, [vote("tie")])
    assert read_votes([file]) == [vote(), vote("tie")]


def test_nothing_is_added_to_a_file_of_another_kind(tmp_path: Path) -> None:
    table = tmp_path / "votes.csv"
    table.write_text("left,right,winner\na,b,left\n")
    with pytest.raises(DataError, match="does not hold JSON Lines"):
        append_votes(table, [vote()])
    assert table.read_text() == "left,right,winner\na,b,left\n"


def _append_many(file: Path, rater: str) -> None:
    for number in range(20):
        append_votes(file, [vote(rater=rater, example=str(number))])


def test_two_raters_append_at_the_same_time(file: Path) -> None:
    raters = [multiprocessing.get_context("fork").Process(target=_append_many, args=(file, name)) for name in ("ana", "bo")]
    for rater in raters:
        rater.start()
    for rater in raters:
        rater.join()
    assert sorted((one.rater, int(one.example)) for one in read_votes([file])) == [(name, i) for name in ("ana", "bo") for i in range(20)]


def test_columns_of_evalica(tmp_path: Path) -> None:
    table = tmp_path / "food.csv"
    table.write_text("id,prompt,worker,winner,left,right\n0,8,58,tie,Pizza,Sushi\n1,8,59,Left,Pizza,Tacos\n2,9,59,,Pizza,Tacos\n")
    said: list[str] = []
    assert read_votes([table], say=said.append) == [
        Vote(left="Pizza", right="Sushi", winner="tie", example="8", rater="58"),
        Vote(left="Pizza", right="Tacos", winner="left", example="8", rater="59"),
    ]
    assert said == ["food.csv: 1 of 3 rows have no verdict and are not votes"]
    lines = tmp_path / "food.jsonl"
    lines.write_text('{"left": "a", "right": "b", "winner": "right"}\n{"left": 0, "right": 1, "winner": null}\n')
    assert read_votes([lines]) == [Vote(left="a", right="b", winner="right")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("v.csv", "left,right\na,b\n", ":1: no column winner"),
        ("v.csv", "left,right,winner\na,b,left\na,b\n", ":3: another number of cells"),
        ("v.csv", "left,right,winner\na,b,maybe\n", ":2: winner is 'maybe'; expected one of left, right, tie"),
        ("v.csv", "left,right,winner\na,a,left\n", ":2: 'a' is compared with itself"),
        ("v.csv", "left,right,winner\n,b,left\n", ":2: left is ''"),
        ("v.jsonl", '{"left": "a", "right": "b"}\n', ":1: winner is None"),
        ("v.jsonl", '{"left": "a"\n{"left": "a", "right": "b", "winner": "tie"}\n', ":1: not a JSON object"),
        ("v.jsonl", "[1]\n", ":1: not a JSON object"),
        ("v.jsonl", json.dumps({"left": "a", "right": "b", "winner": "tie", "kind": "ghost"}) + "\n", ":1: kind is 'ghost'"),
        ("v.jsonl", json.dumps({"left": "a", "right": "b", "winner": "tie", "left_words": -3}) + "\n", ":1: left_words is -3"),
    ],
)
def test_a_line_that_cannot_be_read_is_an_error_with_its_place(tmp_path: Path, name: str, content: str, words: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_votes([file])
    assert f"{file}{words}" in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_votes([tmp_path / "none.jsonl"])


def test_the_key_of_an_answer_tells_texts_apart() -> None:
    assert answer_key("Yes.") == answer_key("Yes.") != answer_key("Yes")
    assert len(answer_key("\ud800")) == 12  # half of a surrogate pair, which a model may write
