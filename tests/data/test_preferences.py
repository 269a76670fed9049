"""Preference pairs and judged answers: every form they come in, every fault by its name, and what a prepared set says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import messages
from tunesmith.config import PrepareConfig
from tunesmith.data import build_example, load_prepared, prepare
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import ExamplesResult, to_examples
from tunesmith.data.converting.facts import said
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.data.storing.prepared import example_from_record, example_to_record
from tunesmith.errors import ConfigError, DataError
from tunesmith.types import Example

DROP = PrepareConfig(on_invalid="drop")
PAIR = {"prompt": "Hi?", "chosen": "Hello.", "rejected": "What?"}
JUDGED = {"prompt": "Hi?", "completion": "Hello.", "label": True}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def examples_of(*records: dict[str, Any], config: PrepareConfig = PrepareConfig()) -> ExamplesResult:  # noqa: B008 - frozen
    rows = rows_from_records(records, "votes.json")
    return to_examples(rows, recognise(rows, config), config)


def words_of(*records: dict[str, Any], **keys: str) -> str:
    return str(recognise(rows_from_records(records, "votes.json"), PrepareConfig(**keys)))


def refused(*records: dict[str, Any], **keys: str) -> DataError:
    with pytest.raises(DataError) as caught:
        words_of(*records, **keys)
    return caught.value


class TestColumns:
    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ("prompt chosen rejected", "prompt -> prompt, chosen -> better answer, rejected -> worse answer (prompt/chosen/rejected)"),
            (
                "Question CHOSEN Rejected",
                "Question -> prompt, CHOSEN -> better answer, Rejected -> worse answer (question/chosen/rejected)",
            ),
            (
                "instruction input output chosen rejected",
                "instruction + input -> prompt, chosen -> better answer, rejected -> worse answer (Alpaca preference pairs)",
            ),
            (
                "instruction chosen rejected",
                "instruction -> prompt, chosen -> better answer, rejected -> worse answer (Alpaca preference pairs without input)",
            ),
            ("input chosen rejected", "input -> prompt, chosen -> better answer, rejected -> worse answer (input/chosen/rejected)"),
            ("prompt completion", "prompt -> prompt, completion -> completion (prompt/completion)"),
            ("prompt completion chosen", "prompt -> prompt, completion -> completion (prompt/completion)"),
        ],
    )
    def test_pairs(self, columns: str, words: str) -> None:
        assert words_of(dict.fromkeys(columns.split(), "x")) == words

    def test_whole_conversations(self) -> None:
        talk = [user("a"), assistant("b")]
        assert words_of({"chosen": talk, "rejected": talk, "score": 1}) == (
            "chosen -> conversation with the better answer, rejected -> with the worse one (chosen/rejected)"
        )

    def test_pairs_without_a_known_prompt_ask_for_it(self) -> None:
        error = refused({"query": "x", "chosen": "y", "rejected": "z"})
        assert error.found == "which of the columns query, chosen, rejected is the prompt of chosen and rejected cannot be told"
        assert error.remedy == "name it with `--prompt-key COLUMN`"
        assert words_of({"query": "x", "chosen": "y", "rejected": "z"}, prompt_key="query").startswith("query -> prompt, chosen -> better")

    def test_pairs_with_two_prompts_are_ambiguous(self) -> None:
        error = refused({"prompt": "x", "question": "x", "chosen": "y", "rejected": "z"})
        assert "can be read as prompt/chosen/rejected or as question/chosen/rejected" in error.found
        assert error.remedy == "name the columns with `--prompt-key COLUMN --chosen-key COLUMN --rejected-key COLUMN`"

    def test_keys(self) -> None:
        row = {"query": "a", "winner": "b", "loser": "c", "extra": "d"}
        keys = {"prompt_key": "query", "chosen_key": "winner", "rejected_key": "loser"}
        assert words_of(row, **keys) == "query -> prompt, winner -> better answer, loser -> worse answer (as named)"
        assert words_of(row, **keys, input_key="extra").startswith("query + extra -> prompt, winner")
        assert words_of(row, prompt_key="query", completion_key="winner", rejected_key="loser").startswith(
            "query -> prompt, winner -> better"
        )
        assert words_of({"instruction": "a", "input": "", "winner": "b", "rejected": "c"}, chosen_key="winner") == (
            "instruction + input -> prompt, winner -> better answer, rejected -> worse answer (as named)"
        )
        talk = [user("a"), assistant("b")]
        assert words_of({"winner": talk, "loser": talk}, chosen_key="winner", rejected_key="loser").endswith("worse one (as named)")

    def test_a_completion_key_alone_leaves_preferences_aside(self) -> None:
        row = {"instruction": "a", "input": "", "output": "b", "chosen": "c", "rejected": "d"}
        assert words_of(row, completion_key="output") == "instruction + input -> prompt, output -> completion (as named)"

    def test_keys_that_cannot_be_meant(self) -> None:
        row = {"prompt": "a", "winner": "b", "loser": "c"}
        assert refused(row, chosen_key="winer").remedy == "pass `--chosen-key winner`"
        error = refused(row, chosen_key="winner")
        assert (error.found, error.expected, error.remedy) == (
            "which of the columns prompt, winner, loser is the worse answer cannot be told",
            "a column rejected",
            "name it with `--rejected-key COLUMN`",
        )
        assert refused(row, chosen_key="winner", rejected_key="winner").found == "one column is named for two parts"
        with pytest.raises(ConfigError, match="prepare: --chosen-key and --completion-key; expected one of them"):
            words_of(row, chosen_key="winner", completion_key="winner", rejected_key="loser")
        error = refused({**PAIR, "label": True}, label_key="label")
        assert error.found.startswith("label cannot be the label of prompt -> prompt, chosen")

    @pytest.mark.parametrize(
        ("record", "words"),
        [
            (JUDGED, "prompt -> prompt, completion -> completion, label -> desirable or not (prompt/completion)"),
            (
                {"question": "a", "answer": "b", "Label": 0},
                "question -> prompt, answer -> completion, Label -> desirable or not (question/answer)",
            ),
            ({"messages": [], "label": "False"}, "messages -> conversation, label -> desirable or not (OpenAI messages)"),
            ({"conversations": [], "label": 1.0}, "conversations -> conversation, label -> desirable or not (ShareGPT)"),
        ],
    )
    def test_labels(self, record: dict[str, Any], words: str) -> None:
        assert words_of(record) == words

    @pytest.mark.parametrize("classes", [["0", "1", "2"], [0, 1, 76], ["refund", "greeting"], [None, ""], [0.0, 0.5, 1.0]])
    def test_a_column_of_classes_is_no_label(self, classes: list[Any]) -> None:
        records = [{"question": "a", "answer": "b", "label": one} for one in classes]
        layout = recognise(rows_from_records(records, "intents.csv"), PrepareConfig())
        assert (str(layout), layout.unused) == ("question -> prompt, answer -> completion (question/answer)", ("label",))

    def test_texts_with_classes_stay_a_question(self) -> None:
        assert "holds numbers of classes" in refused({"text": "My card is lost", "label": 1}).found
        assert "can be read as raw text, or as prompts" in refused({"text": "My card is lost", "label": True}).found
        named = words_of({"text": "My card is lost", "label": 1}, prompt_key="text", completion_key="label")
        assert named == "text -> prompt, label -> completion (as named)"

    @pytest.mark.parametrize("words", [("good", "bad"), ("Yes", "no"), (1, -1)])
    def test_judging_words_are_asked_about(self, words: tuple[Any, Any]) -> None:
        error = refused(*({"question": "a", "answer": "b", "label": word} for word in words))
        listed = " and ".join(repr(str(word).casefold()) for word in words)
        assert error.found == f"the column label holds {listed}, which may be judgements of the answers"
        assert error.expected == "true for a desirable answer and false for another, or 1 and 0"

    def test_label_key(self) -> None:
        row = {"question": "a", "answer": "b", "thumbs": 1}
        assert words_of(row, label_key="thumbs") == "question -> prompt, answer -> completion, thumbs -> desirable or not (question/answer)"
        named = words_of({"q": "a", "a": "b", "thumbs": 1}, prompt_key="q", completion_key="a", label_key="thumbs")
        assert named == "q -> prompt, a -> completion, thumbs -> desirable or not (as named)"
        assert refused(row, label_key="thumb").remedy == "pass `--label-key thumbs`"
        assert "answer cannot be the label of" in refused(row, label_key="answer").found


def only(*records: dict[str, Any], config: PrepareConfig = PrepareConfig()) -> Example:  # noqa: B008 - frozen
    (example,) = examples_of(*records, config=config).examples
    return example


class TestForms:
    def test_strings(self) -> None:
        example = only(PAIR)
        assert example.messages == messages(("u", "Hi?"), ("a", "Hello."))
        assert (example.rejected, example.label, example.kind) == ("What?", None, "pair")
        assert example.swapped().messages == messages(("u", "Hi?"), ("a", "What?"))
        assert example.swapped().swapped() == example

    def test_alpaca_with_input_keeps_its_fields(self) -> None:
        example = only({"instruction": "Fix it.", "input": "He go.", "output": "x", "chosen": "He goes.", "rejected": "He go!"})
        assert example.prompt == "Fix it.\n\nHe go."
        assert example.fields == {"instruction": "Fix it.", "input": "He go."}
        assert (example.reference, example.rejected) == ("He goes.", "He go!")

    @pytest.mark.parametrize(
        "record",
        [
            {"prompt": [user("Hi?")], "chosen": [assistant("Hello.")], "rejected": [assistant("What?")]},
            {"prompt": [user("Hi?")], "chosen": "Hello.", "rejected": "What?"},
            {"prompt": "Hi?", "chosen": [assistant("Hello.")], "rejected": [assistant("What?")]},
            {"chosen": [user("Hi?"), assistant("Hello.")], "rejected": [user("Hi?"), assistant("What?")]},
            {"prompt": "Hi? ", "chosen": [user("Hi?"), assistant("Hello.")], "rejected": [user("Hi?"), assistant("What?")]},
            {"prompt": [user("Hi?")], "chosen": [user("Hi?"), assistant("Hello.")], "rejected": [user("Hi?"), assistant("What?")]},
        ],
    )
    def test_every_form_gives_the_same_example(self, record: dict[str, Any]) -> None:
        expected = only(PAIR)
        example = only(record)
        assert (example.id, example.group, example.messages, example.rejected) == (
            expected.id, expected.group, expected.messages, expected.rejected,
        )  # fmt: skip

    def test_longer_conversations(self) -> None:
        start = [{"role": "system", "content": "Be kind."}, user("a"), assistant("b"), user("c")]
        example = only({"chosen": [*start, assistant("d")], "rejected": [*start, assistant("e")]})
        assert example.messages == messages(("s", "Be kind."), ("u", "a"), ("a", "b"), ("u", "c"), ("a", "d"))
        assert example.rejected == "e"

    @pytest.mark.parametrize(
        ("value", "label"),
        [(True, True), (False, False), (1, True), (0.0, False), ("true", True), (" False", False), ("1", True), ("0", False)],
    )
    def test_labels(self, value: Any, label: bool) -> None:
        example = only({**JUDGED, "label": value})
        assert (example.label, example.rejected, example.kind) == (label, None, "judged")

    def test_judged_conversations(self) -> None:
        assert only({"messages": [user("a"), assistant("b")], "label": False}).label is False
        example = only({"prompt": [user("a")], "completion": [assistant("b")], "label": True})
        assert (example.messages, example.label) == (messages(("u", "a"), ("a", "b")), True)


def fault_of(good: dict[str, Any], bad: dict[str, Any], **keys: str) -> tuple[str, str]:
    (invalid,) = examples_of(good, bad, config=PrepareConfig(on_invalid="drop", **keys)).invalid
    assert invalid.source == "votes.json#2"
    return invalid.problem, invalid.detail


TALKS = {"chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]}


@pytest.mark.parametrize(
    ("good", "bad", "problem", "detail"),
    [
        (PAIR, {**PAIR, "chosen": ""}, "empty chosen answer", "the chosen answer (column 'chosen') is empty"),
        (PAIR, {**PAIR, "rejected": " \n"}, "empty rejected answer", "the rejected answer (column 'rejected') is empty"),
        (PAIR, {"prompt": "a", "chosen": "b"}, "missing rejected answer", "the rejected answer (column 'rejected') is missing"),
        (PAIR, {**PAIR, "chosen": None}, "missing chosen answer", "the chosen answer (column 'chosen') is missing"),
        (PAIR, {**PAIR, "prompt": None}, "missing prompt", "the prompt (column 'prompt') is missing"),
        (PAIR, {**PAIR, "rejected": 3}, "rejected answer is not a string", "the rejected answer (column 'rejected') is 3, of type int"),
        (
            PAIR,
            {**PAIR, "rejected": ["a"]},
            "rejected answer is not a string",
            "the rejected answer (column 'rejected') is ['a'], of type list",
        ),
        (PAIR, {**PAIR, "rejected": "Hello. "}, "chosen equals rejected", "chosen and rejected are both 'Hello.'"),
        (PAIR, {"prompt": "", "chosen": None, "rejected": ""}, "blank row", "nothing stands in prompt, chosen, rejected"),
        (PAIR, {**PAIR, "prompt": [assistant("x")]}, "assistant message where user is due", "message 1 of 2 is from assistant"),
        (PAIR, {**PAIR, "prompt": [user("x"), user("y")]}, "user message where assistant is due", "message 2 of 3 is from user"),
        (
            PAIR,
            {**PAIR, "prompt": "b", **TALKS},
            "prompt of another conversation",
            "the prompt is not in the conversation of chosen",
        ),
        (
            TALKS,
            {"chosen": [user("a"), assistant("b")], "rejected": [user("A"), assistant("c")]},
            "answers to different prompts",
            "chosen and rejected differ before their last message",
        ),
        (
            TALKS,
            {"chosen": [user("a")], "rejected": [user("a"), assistant("c")]},
            "chosen answer without an answer",
            "the last message of chosen is from user",
        ),
        (
            TALKS,
            {"chosen": [assistant("a")], "rejected": [assistant("b")]},
            "assistant message where user is due",
            "message 1 of 1 is from assistant",
        ),
        (TALKS, {"chosen": "a", "rejected": "b"}, "assistant message where user is due", "message 1 of 1 is from assistant"),
        (JUDGED, {**JUDGED, "label": None}, "missing label", "the label (column 'label') is missing"),
        (JUDGED, {"prompt": "a", "completion": "b"}, "missing label", "the label (column 'label') is missing"),
        (JUDGED, {**JUDGED, "label": "good"}, "unclear label", "the label (column 'label') is 'good'"),
        (JUDGED, {**JUDGED, "label": 2}, "unclear label", "the label (column 'label') is 2"),
        (JUDGED, {**JUDGED, "label": 0.5}, "unclear label", "the label (column 'label') is 0.5"),
        (JUDGED, {**JUDGED, "completion": ""}, "empty completion", "the completion (column 'completion') is empty"),
        (JUDGED, {"prompt": "", "completion": "", "label": True}, "blank row", "nothing stands in prompt, completion"),
    ],
)  # fmt: skip
def test_faults(good: dict[str, Any], bad: dict[str, Any], problem: str, detail: str) -> None:
    assert fault_of(good, bad) == (problem, detail)


def test_a_named_label_column_may_hold_no_word_at_all() -> None:
    row = {"question": "a", "answer": "b", "thumbs": "up"}
    with pytest.raises(DataError) as caught:
        examples_of(row, config=PrepareConfig(label_key="thumbs"))
    assert caught.value.found == "the label (column 'thumbs') is 'up', the first of 1 unusable row out of 1 (1 unclear label)"
    assert caught.value.expected == "true or false, or 1 or 0"


def test_stop_names_the_first_equal_pair() -> None:
    with pytest.raises(DataError) as caught:
        examples_of(PAIR, {**PAIR, "rejected": PAIR["chosen"]})
    error = caught.value
    assert error.place == "votes.json#2"
    assert error.found == "chosen and rejected are both 'Hello.', the first of 1 unusable row out of 2 (1 chosen equals rejected)"
    assert (error.expected, error.remedy) == ("two different answers", "correct it, or leave such rows out with `--on-invalid drop`")


class TestIdentity:
    def test_ids_that_must_never_change(self) -> None:
        pair, plain, judged = only(PAIR), only({"prompt": "Hi?", "completion": "Hello."}), only(JUDGED)
        assert pair.group == plain.group == judged.group
        assert (plain.id, pair.id, judged.id) == ("13e7ab2aa320fe54", "c9d4b42453ae384b", "2c63e6774a6c7306")

    answers = st.text(max_size=8)

    @given(answers, answers, answers, st.none() | answers, st.none() | st.booleans())
    def test_all_that_is_said_is_in_the_id_and_the_prompt_alone_in_the_group(
        self, prompt: str, chosen: str, other: str, rejected: str | None, label: bool | None
    ) -> None:
        turns = messages(("u", prompt), ("a", chosen))
        example = build_example("x:1", messages=turns, rejected=rejected, label=label)
        again = build_example("y:7", messages=turns, rejected=rejected, label=label)
        assert (again.id, again.group) == (example.id, example.group)
        changes = [
            build_example("x:1", messages=turns, rejected=None if rejected is not None else other, label=label),
            build_example("x:1", messages=turns, rejected=rejected, label=None if label is not None else True),
            build_example("x:1", messages=turns, rejected=(rejected or "") + "!", label=label),
            build_example("x:1", messages=messages(("u", prompt), ("a", chosen + "!")), rejected=rejected, label=label),
        ]
        assert all(one.id != example.id for one in changes)
        assert all(one.group == example.group for one in changes)

    @given(answers, answers, st.none() | answers, st.none() | st.booleans(), st.booleans())
    def test_records_keep_it(self, prompt: str, chosen: str, rejected: str | None, label: bool | None, unfinished: bool) -> None:
        example = Example(
            id="1", source="x:1", group="g", messages=messages(("u", prompt), ("a", chosen)), rejected=rejected, label=label,
            unfinished=unfinished,
        )  # fmt: skip
        record = json.loads(json.dumps(example_to_record(example)))
        assert example_from_record(record) == example
        assert ("rejected" in record, "label" in record) == (rejected is not None, label is not None)

    def test_a_record_from_before_there_were_preferences(self) -> None:
        record = {"id": "1", "source": "x:1", "group": "g", "messages": [user("a"), assistant("b")]}
        example = example_from_record(record)
        assert (example.rejected, example.label, example.unfinished) == (None, None, False)

    def test_duplicates_say_and_prefer_the_same(self) -> None:
        rows = [PAIR, {**PAIR, "rejected": " What? "}, {**PAIR, "rejected": "Who?"}, {**PAIR, "chosen": "What?", "rejected": "Hello."}]
        one, same, *others = map(said, examples_of(*rows).examples)
        assert one == same
        assert len({one, *others}) == 3
        judged, otherwise, again = map(said, examples_of(JUDGED, {**JUDGED, "label": False}, JUDGED).examples)
        assert judged == again != otherwise

    def test_swapping_what_is_no_pair(self) -> None:
        with pytest.raises(ValueError, match=r"votes\.json#1 is no preference pair"):
            only(JUDGED).swapped()


def prepared(tmp_path: Path, records: list[dict[str, Any]], **settings: Any) -> Any:
    return prepare(None, tmp_path / "out", PrepareConfig(**settings), rows=rows_from_records(records, "votes.json"))


class TestPrepared:
    def test_pairs(self, tmp_path: Path) -> None:
        records = [{"instruction": f"q{i % 20}", "output": "x", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(40)]
        data = prepared(tmp_path, records)
        lines = data.summary().splitlines()
        assert lines[1] == "kept 40 preference pairs"
        assert "note: votes.json: not used: output (the right answer is chosen)" in lines
        assert data.kind == data.manifest["kind"] == "pair"
        assert load_prepared(data.directory) == data
        assert all(one.rejected and one.rejected.startswith("bad ") for one in (*data.train, *data.test))
        sides = [{one.prompt for one in split} for split in (data.train, data.validation, data.test)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 20, "pairs of one prompt straddle splits"
        report = json.loads((data.directory / "report.json").read_text(encoding="utf-8"))
        assert report["lengths"]["rejected"]["characters"] == {"min": 5, "median": 6.0, "p95": 6, "max": 6}

    def test_judged_answers(self, tmp_path: Path) -> None:
        data = prepared(tmp_path, [{"prompt": f"q{i}", "completion": "a", "label": i % 4 == 0} for i in range(20)])
        assert data.summary().splitlines()[1] == "kept 20 judged answers (5 desirable, 15 not)"
        assert data.kind == "judged"

    def test_contradictions_are_noted(self, tmp_path: Path) -> None:
        pairs = [{"prompt": f"q{i}", "chosen": "a", "rejected": "b"} for i in range(5)] + [{"prompt": "Q1", "chosen": "b", "rejected": "a"}]
        off = {"test_fraction": 0, "validation_fraction": 0}
        assert "note: 1 pair of answers is preferred both ways" in prepared(tmp_path / "a", pairs, **off).summary()
        judged = [{"prompt": f"q{i}", "completion": "a", "label": True} for i in range(5)]
        alike = "note: all answers are judged alike: there is nothing to prefer"
        assert alike in prepared(tmp_path / "b", judged, **off).summary()
        summary = prepared(tmp_path / "c", [*judged, {"prompt": "q1", "completion": "A", "label": False}], **off).summary()
        assert "note: 1 answer is judged both desirable and not" in summary
        assert alike not in summary

    @pytest.mark.parametrize(
        ("other", "words"),
        [
            ({"prompt": "q", "completion": "a"}, "prompts with one answer"),
            ({"prompt": "q", "completion": "a", "label": 1}, "judged answers"),
            ({"text": "It was a dark night."}, "raw text"),
        ],
    )
    def test_a_mixture_is_refused(self, tmp_path: Path, other: dict[str, Any], words: str) -> None:
        (tmp_path / "pairs.jsonl").write_text("".join(json.dumps({**PAIR, "prompt": f"q{i}"}) + "\n" for i in range(9)), encoding="utf-8")
        (tmp_path / "other.jsonl").write_text(json.dumps(other) + "\n", encoding="utf-8")
        with pytest.raises(DataError) as caught:
            prepare([tmp_path / "pairs.jsonl", tmp_path / "other.jsonl"], tmp_path / "out", PrepareConfig())
        assert caught.value.found == f"pairs.jsonl holds preference pairs, other.jsonl holds {words}"
        assert (caught.value.expected, caught.value.remedy) == ("data of one kind", "prepare each kind into a directory of its own")
        assert not (tmp_path / "out").exists()
