"""Which columns hold what: every known layout, every ambiguity, and the user's own keys."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.layouts import Layout
from tunesmith.data.converting.survey import MOST_CLASSES, Survey
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.errors import DataError


def layout_of(*columns: str, **keys: str) -> Layout:
    return recognise(rows_from_records([dict.fromkeys(columns, "x")], "faq.csv"), PrepareConfig(**keys))


def refused(*columns: str, **keys: str) -> DataError:
    with pytest.raises(DataError) as caught:
        layout_of(*columns, **keys)
    assert caught.value.place == "faq.csv#1"
    return caught.value


@pytest.mark.parametrize(
    ("columns", "words", "kind"),
    [
        ("question answer", "question -> prompt, answer -> completion (question/answer)", "prompt-completion"),
        ("Answer QUESTION", "QUESTION -> prompt, Answer -> completion (question/answer)", "prompt-completion"),
        ("instruction response", "instruction -> prompt, response -> completion (instruction/response)", "prompt-completion"),
        ("instruction input output", "instruction + input -> prompt, output -> completion (Alpaca)", "prompt-completion"),
        ("instruction output", "instruction -> prompt, output -> completion (Alpaca without input)", "prompt-completion"),
        ("ticket reply", "ticket -> prompt, reply -> completion (support tickets)", "prompt-completion"),
        ("input output", "input -> prompt, output -> completion (input/output)", "prompt-completion"),
        ("prompt completion", "prompt -> prompt, completion -> completion (prompt/completion)", "prompt-completion"),
        ("messages", "messages -> conversation (OpenAI messages)", "messages"),
        ("conversations", "conversations -> conversation (ShareGPT)", "sharegpt"),
        ("text", "text -> raw text, every token supervised", "text"),
        ("text url timestamp", "text -> raw text, every token supervised", "text"),
        ("id question answer", "question -> prompt, answer -> completion (question/answer)", "prompt-completion"),
        ("instruction input output answer", "instruction + input -> prompt, output -> completion (Alpaca)", "prompt-completion"),
    ],
)
def test_recognised(columns: str, words: str, kind: str) -> None:
    layout = layout_of(*columns.split())
    assert (str(layout), layout.kind) == (words, kind)
    assert set(layout.columns) | set(layout.unused) == set(columns.split())
    assert not set(layout.columns) & set(layout.unused)


def test_columns_of_all_rows_count() -> None:
    rows = rows_from_records([{"instruction": "a", "output": "b"}, {"instruction": "a", "input": "c", "output": "b"}])
    assert recognise(rows, PrepareConfig()).name == "Alpaca"


@pytest.mark.parametrize(
    ("columns", "readings"),
    [
        ("question answer prompt completion", "question/answer or as prompt/completion"),
        ("instruction response output", "instruction/response or as Alpaca without input"),
        ("question answer messages", "question/answer or as OpenAI messages"),
        ("question answer text", "question/answer or as raw text"),
    ],
)
def test_ambiguous(columns: str, readings: str) -> None:
    error = refused(*columns.split())
    assert error.found == f"the columns {', '.join(columns.split())} can be read as {readings}"
    assert error.remedy == "name the columns with `--prompt-key COLUMN --completion-key COLUMN`"


def test_two_conversations_cannot_be_told_apart_by_keys() -> None:
    assert refused("messages", "conversations").remedy == "remove the column that is not meant"


def test_unknown_layout_lists_the_columns_and_the_option() -> None:
    error = refused("Frage", "Antwort")
    assert error.found == "the columns Frage, Antwort are no layout tunesmith knows"
    assert "question + answer, instruction + response" in error.expected
    assert "`--prompt-key COLUMN --completion-key COLUMN`" in error.remedy


def test_text_beside_an_unknown_column_is_not_taken_for_raw_text() -> None:
    error = refused("text", "mood")
    assert "as raw text, or as prompts whose completion is another column" in error.found
    assert "`--completion-key text`" in error.remedy
    assert layout_of("text", "mood", completion_key="text").kind == "text"
    named = layout_of("text", "mood", prompt_key="text", completion_key="mood")
    assert str(named) == "text -> prompt, mood -> completion (as named)"


BANKING = [("I am still waiting on my card?", "card_arrival"), ("Where is it?", "card_arrival"), ("It is gone!", "lost_card")]


@pytest.mark.parametrize("column", ["category", "label", "Intent", "class"])
def test_texts_with_names_of_classes(column: str) -> None:
    rows = rows_from_records([{"id": 1, "text": text, column: name} for text, name in BANKING])
    layout = recognise(rows, PrepareConfig())
    assert str(layout) == f"text -> prompt, {column} -> completion (classification)"
    assert layout.unused == ("id",)
    assert recognise(rows, PrepareConfig(completion_key="text")).kind == "text"


@pytest.mark.parametrize(
    ("texts", "classes"),
    [
        (["a"] * 40, [f"name {number}" for number in range(40)]),  # every name once
        (["a"], ["x" * 200]),
        (["a", "b"], [True, False]),
        (["a", "b"], ["yes", "no"]),
        (["a " * 5_000], ["news"]),  # a document and its kind
    ],
)
def test_what_may_be_no_classes_stays_a_question(texts: list[str], classes: list[Any]) -> None:
    records = [{"text": text, "category": name} for text, name in zip(texts, classes, strict=True)]
    with pytest.raises(DataError, match="can be read as raw text, or as prompts"):
        recognise(rows_from_records(records), PrepareConfig())


@pytest.mark.parametrize("numbers", [[0, 1, 76], ["0", "1", "76"]])
def test_numbers_of_classes_are_refused(numbers: list[Any]) -> None:
    with pytest.raises(DataError, match="the column label holds numbers of classes") as caught:
        recognise(rows_from_records([{"text": "a", "label": number} for number in numbers]), PrepareConfig())
    assert caught.value.remedy == "write the names in it"


def test_a_question_without_its_choices_is_refused() -> None:
    rows = rows_from_records([{"question": "Which?", "choices": ["this", "that"], "answer": "A"}])
    with pytest.raises(DataError, match="the column choices holds the choices of a question, which the prompt would lack"):
        recognise(rows, PrepareConfig())
    assert recognise(rows, PrepareConfig(prompt_key="question", completion_key="answer")).completion == "answer"


def test_weights_of_messages_are_said() -> None:
    answers = [{"role": "assistant", "content": "Hello.", "weight": 1}, {"role": "assistant", "content": "What?", "weight": 0}]
    rows = rows_from_records([{"messages": [{"role": "user", "content": "Hi?"}, answer], "tools": []} for answer in answers])
    assert recognise(rows[:1], PrepareConfig()).note == ""
    layout = recognise(rows, PrepareConfig())
    assert layout.note == "some messages have weight 0, which is not looked at: every answer is an answer to learn"
    assert layout.unused == ("tools",)


def test_rows_are_gone_through_once() -> None:
    survey = Survey()
    for row in rows_from_records([{"text": text, "category": name} for text, name in BANKING * 1_000]):
        survey.add(row)
    assert recognise(survey, PrepareConfig()) == recognise(iter(rows_from_records([{"text": "a", "category": "b"}])), PrepareConfig())
    many = Survey.of(rows_from_records([{"text": "a", "category": f"name {number}"} for number in range(3_000)]))
    assert len(many.distinct("category")) == MOST_CLASSES + 1
    assert not many.has_classes("category")


def test_keys_win() -> None:
    layout = layout_of("question", "answer", "Frage", "Antwort", prompt_key="frage", completion_key="Antwort")
    assert (layout.prompt, layout.completion, layout.unused) == ("Frage", "Antwort", ("question", "answer"))


def test_one_key_and_the_other_recognised() -> None:
    assert layout_of("Frage", "answer", prompt_key="Frage").completion == "answer"
    assert layout_of("question", "Antwort", completion_key="Antwort").prompt == "question"
    alpaca = layout_of("instruction", "input", "Antwort", completion_key="Antwort")
    assert (alpaca.prompt, alpaca.input) == ("instruction", "input")
    error = refused("Frage", "Antwort", prompt_key="Frage")
    assert (error.found, error.remedy) == (
        "which of the columns Frage, Antwort is the completion cannot be told",
        "name it with `--completion-key COLUMN`",
    )
    assert refused("Frage", "Antwort", completion_key="Antwort").remedy == "name it with `--prompt-key COLUMN`"


def test_input_key() -> None:
    assert layout_of("question", "answer", "passage", input_key="passage").input == "passage"
    assert layout_of("a", "b", "c", prompt_key="a", completion_key="b", input_key="c").columns == ("a", "c", "b")
    assert "cannot be the input" in refused("question", "answer", input_key="answer").found
    assert "cannot be the input" in refused("messages", "context", input_key="context").found


def test_key_that_is_no_column() -> None:
    error = refused("question", "Answer", completion_key="anser")
    assert error.found == "there is no column 'anser' (--completion-key)"
    assert error.expected == "one of the columns question, Answer"
    assert error.remedy == "pass `--completion-key Answer`"
    assert refused("question", "answer", prompt_key="zzz").remedy == "correct --prompt-key"


def test_same_column_twice_and_columns_that_differ_in_case() -> None:
    assert "named as prompt and as completion" in refused("a", "b", prompt_key="a", completion_key="a").found
    assert refused("Question", "QUESTION", "answer").found == "the columns Question and QUESTION differ only in case"


def test_no_rows() -> None:
    with pytest.raises(DataError, match="rows: there are none"):
        recognise([], PrepareConfig())
