"""Rows become examples to the letter; every fault has a name, a place and a count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import ExamplesResult, build_example, normalise_prompt, to_examples
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.errors import DataError
from tunesmith.types import Message

DROP = PrepareConfig(on_invalid="drop")
GOOD = {"question": "Hi?", "answer": "Hello."}


def examples_of(*records: dict[str, Any], config: PrepareConfig = PrepareConfig()) -> ExamplesResult:  # noqa: B008 - frozen
    rows = rows_from_records(records, "faq.json")
    return to_examples(rows, recognise(rows, config), config)


def fault_of(record: dict[str, Any]) -> tuple[str, str]:
    """The problem and detail of a row that stands among good ones of its layout."""
    good: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]}
    result = examples_of(good if "messages" in record else GOOD, record, config=DROP)
    assert len(result.examples) == 1
    (invalid,) = result.invalid
    assert invalid.source == "faq.json#2"
    return invalid.problem, invalid.detail


def test_prompt_and_completion_are_kept_to_the_letter() -> None:
    (example,) = examples_of({"question": "  Hi?\n", "answer": " Hello. "}).examples
    assert example.messages == (Message(role="user", content="  Hi?\n"), Message(role="assistant", content=" Hello. "))
    assert (example.source, example.fields) == ("faq.json#1", {})


def test_alpaca_input_follows_the_instruction() -> None:
    filled, blank, none, absent = examples_of(
        {"instruction": "Translate.", "input": "Hallo", "output": "Hello"},
        {"instruction": "Sing.", "input": " ", "output": "La"},
        {"instruction": "Sing.", "input": None, "output": "La"},
        {"instruction": "Sing.", "output": "La"},
    ).examples
    assert filled.prompt == "Translate.\n\nHallo"
    assert filled.fields == {"instruction": "Translate.", "input": "Hallo"}
    assert [(example.prompt, example.fields) for example in (blank, none, absent)] == [("Sing.", {})] * 3


def test_fields_keep_their_names_whatever_the_columns_are_called() -> None:
    config = PrepareConfig(prompt_key="Aufgabe", completion_key="Antwort", input_key="Text")
    (example,) = examples_of({"Aufgabe": "Kürze.", "Text": "Lang.", "Antwort": "Kurz."}, config=config).examples
    assert example.fields == {"instruction": "Kürze.", "input": "Lang."}


def test_conversations_in_either_spelling() -> None:
    (openai,) = examples_of(
        {"messages": [{"role": "System", "content": ""}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    ).examples
    assert [message.role for message in openai.messages] == ["system", "user", "assistant"]
    (sharegpt,) = examples_of(
        {"conversations": [{"from": who, "value": who} for who in ("human", "gpt", "user", "assistant")]},
    ).examples
    assert [message.role for message in sharegpt.messages] == ["user", "assistant", "user", "assistant"]
    assert (sharegpt.prompt, sharegpt.reference) == ("user", "assistant")


def test_raw_text() -> None:
    (example,) = examples_of({"text": "Call me Ishmael.\n"}).examples
    assert (example.text, example.messages) == ("Call me Ishmael.\n", ())


@pytest.mark.parametrize(
    ("record", "problem", "detail"),
    [
        ({"question": "Hi?", "answer": " \n"}, "empty completion", "the completion (column 'answer') is empty"),
        ({"question": "Hi?"}, "missing completion", "the completion (column 'answer') is missing"),
        ({"question": None, "answer": "x"}, "missing prompt", "the prompt (column 'question') is missing"),
        ({"question": "Hi?", "answer": 42}, "completion is not a string", "the completion (column 'answer') is 42, of type int"),
        ({"question": ["Hi?"], "answer": "x"}, "prompt is not a string", "the prompt (column 'question') is ['Hi?'], of type list"),
        (
            {"question": "Hi?", "answer": "a \ud83d"},
            "broken character in completion",
            "the completion (column 'answer') holds '\\ud83d', half of a character",
        ),
        ({"messages": "[]"}, "conversation is not a list", "the column 'messages' is '[]', of type str"),
        ({"messages": ["Hi?"]}, "message is not an object", "messages[0] is 'Hi?'"),
        ({"messages": [{"text": "Hi?"}]}, "message without a role", "messages[0] has the keys text"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "unknown role 'bot'", "the role of messages[0] is 'bot'"),
        ({"messages": [{"role": None, "content": "x"}]}, "unknown role None", "the role of messages[0] is None"),
        (
            {"messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
            "conversation with tool messages",
            "messages[1] calls a tool, and calls of tools and their results are not trained on",
        ),
        (
            {"messages": [{"role": "user", "content": "Weather?"}, {"role": "Tool", "content": "17 degrees"}]},
            "conversation with tool messages",
            "messages[1] is from Tool, and calls of tools and their results are not trained on",
        ),
        (
            {"messages": [{"role": "bot", "content": "x"}, {"from": "observation", "value": "17 degrees"}]},
            "conversation with tool messages",
            "messages[1] is from observation, and calls of tools and their results are not trained on",
        ),
        ({"messages": []}, "conversation without a user message", "the conversation has no user message"),
        (
            {"messages": [{"role": "system", "content": "Be brief."}]},
            "conversation without a user message",
            "the conversation has no user message",
        ),
        (
            {"messages": [{"role": "assistant", "content": "Hi!"}]},
            "assistant message where user is due",
            "message 1 of 1 is from assistant",
        ),
        (
            {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
            "user message where assistant is due",
            "message 3 of 3 is from user",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "x"}]},
            "system message where assistant is due",
            "message 2 of 2 is from system",
        ),
        ({"messages": [{"role": "user", "content": "a"}]}, "conversation ends without an answer", "the last message is from user"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]},
            "empty completion",
            "the completion (column 'messages[1].content') is empty",
        ),
        (
            {"messages": [{"role": "user", "content": None}]},
            "missing prompt",
            "the prompt (column 'messages[0].content') is missing",
        ),
    ],
)
def test_faults(record: dict[str, Any], problem: str, detail: str) -> None:
    assert fault_of(record) == (problem, detail)


def test_input_that_is_no_string() -> None:
    result = examples_of(
        {"instruction": "a", "input": "", "output": "b"}, {"instruction": "a", "input": {"x": 1}, "output": "b"}, config=DROP
    )
    assert [one.problem for one in result.invalid] == ["input is not a string"]


def test_stop_names_the_first_and_counts_all() -> None:
    with pytest.raises(DataError) as caught:
        examples_of(GOOD, {"question": "a", "answer": ""}, {"question": "b", "answer": " "}, {"question": 3, "answer": "x"})
    error = caught.value
    assert error.place == "faq.json#2"
    assert error.found == (
        "the completion (column 'answer') is empty, the first of 3 unusable rows out of 4 (2 empty completion, 1 prompt is not a string)"
    )
    assert error.expected == "text"
    assert error.remedy == "correct it, or leave such rows out with `--on-invalid drop`"


def test_drop_loses_no_row() -> None:
    result = examples_of(GOOD, {"question": "a", "answer": ""}, GOOD, config=DROP)
    assert [example.source for example in result.examples] == ["faq.json#1", "faq.json#3"]
    assert [invalid.source for invalid in result.invalid] == ["faq.json#2"]


def test_nothing_left() -> None:
    with pytest.raises(DataError, match=r"faq.json#1: no usable row is left of 2 \(2 empty completion\)"):
        examples_of({"question": "a", "answer": ""}, {"question": "b", "answer": ""}, config=DROP)


def test_an_empty_prompt_is_a_prompt_but_a_blank_row_is_none() -> None:
    result = examples_of({"question": " ", "answer": "Did you type something?"}, {"question": "", "answer": None})
    assert [example.prompt for example in result.examples] == [" "]
    assert [(invalid.source, invalid.problem) for invalid in result.invalid] == [("faq.json#2", "blank row")]


def test_a_blank_alpaca_row_may_lack_its_input_but_not_its_completion() -> None:
    good = {"instruction": "a", "input": "b", "output": "c"}
    result = examples_of(good, {"instruction": "", "output": ""}, {"instruction": ""}, config=DROP)
    assert [one.problem for one in result.invalid] == ["blank row", "missing completion"]


def test_id_is_of_the_content_and_group_of_the_prompt() -> None:
    first, same, other = examples_of(
        {"question": "Ｈow  do I\nreset it?", "answer": "So."},
        {"question": "how do i reset it?", "answer": "Thus."},
        {"question": "How do I set it?", "answer": "So."},
    ).examples
    assert first.group == same.group != other.group
    assert len({first.id, same.id, other.id}) == 3
    assert (other.id, other.group) == ("05dd63499f0baf01", "5af0ee4f3366e53e")  # stored in every prepared directory: they must never change


def test_group_of_a_conversation_is_all_the_user_says() -> None:
    def talk(*turns: str) -> Any:
        return [{"role": "user" if i % 2 == 0 else "assistant", "content": turn} for i, turn in enumerate(turns)]

    first, same, longer = examples_of(
        {"messages": talk("Hi", "Hello", "Bye", "Ciao")},
        {"messages": talk("hi", "Hey", "BYE", "So long")},
        {"messages": talk("Hi", "Hello")},
    ).examples
    assert first.group == same.group != longer.group


@given(st.text())
def test_normalised_prompts_stay_normalised_in_spacing(text: str) -> None:
    normal = normalise_prompt(text)
    assert normal == " ".join(normal.split())


def test_id_does_not_depend_on_the_source() -> None:
    messages = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    assert build_example("x:1", messages=messages).id == build_example("y:2", messages=messages).id
    assert build_example("x:1", messages=messages).id != build_example("x:1", messages=messages, fields={"instruction": "a"}).id
