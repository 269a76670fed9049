"""A reviewed table: written once, carried out from then on, safe in a spreadsheet, and refused when it is none."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples import qa
from tunesmith.config import PrepareConfig
from tunesmith.data import prepare, rows_from_records
from tunesmith.data.converting.review import Decision, apply_edit, read_review, write_review
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import ConfigError, DataError
from tunesmith.types import Example

CONFIG = PrepareConfig(test_fraction=0, validation_fraction=0, near_threshold=1)


def records(count: int = 6) -> list[dict[str, Any]]:
    return [{"question": f"What is the capital of country {number}?", "answer": f"The city {number}."} for number in range(count)]


def prepared_with(tmp_path: Path, name: str, rows: list[dict[str, Any]], table: Path, *, everything: bool = False) -> PreparedData:
    return prepare(None, tmp_path / name, CONFIG, rows=rows_from_records(rows, "faq"), review=table, review_all=everything)


def decide(table: Path, decisions: dict[str, dict[str, str]]) -> None:
    """By source, as a person does in a spreadsheet."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | decisions.get(row["source"], {}) for row in rows)


def test_flagged_examples_alone_unless_all_are_wanted(tmp_path: Path) -> None:
    rows = [*records(), {"question": "And of country 99?", "answer": "TODO"}]
    prepared = prepared_with(tmp_path, "one", rows, tmp_path / "flagged.csv")
    with (tmp_path / "flagged.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["source"], row["answer"], row["findings"], row["decision"]) == ("faq#7", "TODO", "placeholder-answer", "keep")
    assert "1 flagged examples are in" in prepared.summary()
    prepared_with(tmp_path, "two", rows, tmp_path / "all.jsonl", everything=True)
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["source"] for line in lines] == [f"faq#{number}" for number in range(1, 8)]


def test_decisions_survive_new_rows_and_another_order(tmp_path: Path) -> None:
    table = tmp_path / "review.csv"
    prepared_with(tmp_path, "one", records(), table, everything=True)
    decide(table, {"faq#2": {"decision": "drop"}, "faq#3": {"decision": "Edit", "answer": "Paris.\r\nOn the Seine."}})
    grown = [{"question": "What is new here?", "answer": "This one."}, *reversed(records())]
    prepared = prepared_with(tmp_path, "two", grown, table)
    answers = {one.prompt: one.reference for one in prepared.train}
    assert "What is the capital of country 1?" not in answers
    assert answers["What is the capital of country 2?"] == "Paris.\nOn the Seine."
    assert len(answers) == 6
    assert "2 of 6 reviewed examples were edited or dropped" in prepared.summary()
    (removed,) = [json.loads(line) for line in (tmp_path / "two" / "removed.jsonl").read_text().splitlines()]
    assert (removed["source"], removed["reason"]) == ("faq#6", "review")
    (changed,) = [json.loads(line) for line in (tmp_path / "two" / "changed.jsonl").read_text().splitlines()]
    assert (changed["before"], changed["reason"]) == ({"messages[1]": "The city 2."}, "review")
    lost = prepared_with(tmp_path, "three", records()[:2], table)
    assert "1 of 6 reviewed examples were edited or dropped; 1 no longer find their example" in lost.summary()


def test_a_table_is_never_overwritten(tmp_path: Path) -> None:
    table = tmp_path / "review.csv"
    prepared_with(tmp_path, "one", records(), table, everything=True)
    before = table.read_bytes()
    prepared_with(tmp_path, "two", records(), table, everything=True)
    assert table.read_bytes() == before


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
formulas = st.sampled_from(["=", "+", "-", "@", "'", "\t", "''=", "'-"]).flatmap(lambda start: texts.map(lambda text: start + text))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(texts | formulas, texts | formulas), min_size=1, max_size=5), st.sampled_from([".csv", ".jsonl"]))
def test_what_is_written_is_read_back_to_the_letter(tmp_path: Path, pairs: list[tuple[str, str]], suffix: str) -> None:
    table = tmp_path / f"review{suffix}"
    table.unlink(missing_ok=True)
    examples = [qa(question, answer, source=f"a:{number}") for number, (question, answer) in enumerate(pairs)]
    write_review(table, ((one, f"{number:016x}", "") for number, one in enumerate(examples)))
    table.write_bytes(table.read_bytes().replace(b",keep", b",edit").replace(b'"keep"', b'"edit"'))
    review = read_review(table)
    decided = [review.decisions[f"{number:016x}"] for number in range(len(pairs))]
    assert [(one.prompt, one.answer) for one in decided] == pairs


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    table = tmp_path / "review.csv"
    write_review(table, [(qa('=HYPERLINK("http://x")', "@SUM(A1)", source="-a:1"), "0" * 16, "+x")])
    with table.open(encoding="utf-8-sig", newline="") as file:
        _, row = csv.reader(file)
    assert all(not cell.startswith(("=", "+", "-", "@")) for cell in row)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("source;id;decision\r\na:1;0f;remove\r\n", r"review\.csv:2: the decision is 'remove'.*write one of keep, edit, drop"),
        ("a,b\n1,2\n", r"review\.csv:2: there is no id and no decision"),
        ("id,decision\n0f,drop\n0f,keep\n", r"review\.csv:3: the example 0f is decided otherwise in review\.csv:2"),
        ("id,decision\n0f,edit\n", "an edited example lacks its prompt or its answer"),
        ("id,decision,prompt,answer\n0f,edit,Why?, \n", "the edited answer is empty"),
        ("id,decision\n0f,drop,more\n", "the line has more cells than the 2 columns"),
        ('id,decision\n0f,"drop\n', "not readable as CSV"),
        ("id,decision\n0f,dr\xffop\n".encode("latin-1").decode("latin-1"), "the decision is"),
    ],
)
def test_malformed_tables_are_refused(tmp_path: Path, content: str, found: str) -> None:
    table = tmp_path / "review.csv"
    table.write_bytes(content.encode())
    with pytest.raises(DataError, match=found):
        prepared_with(tmp_path, "out", records(), table)
    assert not (tmp_path / "out").exists()


def test_other_malformed_tables(tmp_path: Path) -> None:
    lines = tmp_path / "review.jsonl"
    for content, found in [("{", "not readable as JSON"), ("[1]", "the line is no object"), ('{"id": "0f"}', "there is no decision")]:
        lines.write_text(content)
        with pytest.raises(DataError, match=found):
            read_review(lines)
    lines.write_text('{"id": "0f", "decision": "edit", "prompt": "a", "answer": "\\ud800"}')
    with pytest.raises(DataError, match="half of a character"):
        read_review(lines)
    (tmp_path / "latin.csv").write_bytes("id,decision\n\xe9,drop\n".encode("latin-1"))
    with pytest.raises(DataError, match="it is not UTF-8"):
        read_review(tmp_path / "latin.csv")
    with pytest.raises(ConfigError, match=r"expected a name ending in \.csv or \.jsonl"):
        prepared_with(tmp_path, "out", records(), tmp_path / "review.xlsx")


def test_an_edited_prompt_leaves_no_old_fields(tmp_path: Path) -> None:
    example = Example(
        id="0" * 16, source="a:1", group="0" * 16, messages=qa("Sum.\n\n1 2", "3").messages, fields={"instruction": "Sum.", "input": "1 2"}
    )
    edited, change = apply_edit(example, Decision(place="r:1", choice="edit", prompt="Add 1 and 2.", answer="3"))
    assert (edited.prompt, edited.fields, change is not None) == ("Add 1 and 2.", {}, True)
    same, nothing = apply_edit(example, Decision(place="r:1", choice="edit", prompt="Sum.\n\n1 2", answer="3"))
    assert same is example
    assert nothing is None
    answered, _ = apply_edit(example, Decision(place="r:1", choice="edit", prompt="Sum.\n\n1 2", answer="Three"))
    assert answered.fields == example.fields


def test_dropping_every_example_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "review.csv"
    prepared_with(tmp_path, "one", records(), table, everything=True)
    decide(table, {f"faq#{number}": {"decision": "drop"} for number in range(1, 7)})
    with pytest.raises(DataError, match=r"review\.csv: all 6 examples are dropped"):
        prepared_with(tmp_path, "two", records(), table)
