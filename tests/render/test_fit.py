"""Examples over the limit: prompts are cut, answers never, in training as in generation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples import conversation, messages, qa, raw
from tunesmith.errors import DataError
from tunesmith.render.checks import find_fault
from tunesmith.render.renderer import Renderer

LONG = "The quick brown fox jumps over the lazy dog. " * 6

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["chat", "qa"])
def renderer(request: pytest.FixtureRequest, llama_tokenizer: Any, gemma_tokenizer: Any) -> Renderer:
    return Renderer.for_model(llama_tokenizer if request.param == "chat" else gemma_tokenizer, request.param)


def test_what_fits_is_left_alone(renderer: Renderer) -> None:
    example = qa("one", "two")
    whole = renderer.render(example)
    assert renderer.fit(example, len(whole.token_ids)) == whole
    assert whole.num_cut_tokens == 0


@quick
@given(question=st.text(st.characters(exclude_categories=["Cs"]), min_size=30, max_size=80), spare=st.integers(1, 25))
def test_the_longest_start_of_the_prompt_that_fits(renderer: Renderer, question: str, spare: int) -> None:
    question = "a" + question
    example = qa(question, "Paris.")
    max_length = len(renderer.render(qa("a", "Paris.")).token_ids) + spare
    fitted = renderer.fit(example, max_length)
    assert len(fitted.token_ids) <= max_length
    assert fitted.example == example
    whole = renderer.render(example)
    assert fitted.num_cut_tokens == len(whole.token_ids) - len(fitted.token_ids)
    starts = [n for n in range(1, len(question) + 1) if renderer.render(qa(question[:n], "Paris.")).token_ids == fitted.token_ids]
    assert starts, "not the rendering of a start of the prompt"
    if fitted.num_cut_tokens:
        one_more = renderer.render(qa(question[: max(starts) + 1], "Paris."))
        assert len(one_more.token_ids) > max_length, "one more character would have fitted"
    answer = renderer.render(qa("a", "Paris.")).token_ids[-4:]
    assert fitted.token_ids[-4:] == answer
    assert sum(fitted.supervised) == 4
    assert find_fault(fitted, renderer, max_length) is None


@quick
@given(room=st.integers(40, 100))
def test_generation_cuts_where_training_cuts(renderer: Renderer, room: int) -> None:
    example = conversation(("s", "Be kind."), ("u", "one"), ("a", "two"), ("u", LONG), ("a", "Paris."))
    num_answer = 4
    fitted = renderer.fit(example, room + 40)
    prompt = renderer.fit_prompt(example.prompt_messages, example.fields, room + 40 - num_answer, place="prompt 1")
    assert fitted.token_ids[:-num_answer] == prompt
    assert len(prompt) <= room + 40 - num_answer


def test_fields_are_cut_at_the_longest_one(gemma_tokenizer: Any) -> None:
    renderer = Renderer.for_model(gemma_tokenizer, "alpaca")
    example = conversation(("u", f"one\n\n{LONG}"), ("a", "two"), fields={"instruction": "one", "input": LONG})
    fitted = renderer.fit(example, 120)
    text = renderer.decode(fitted.token_ids)
    assert "### Instruction:\none\n\n### Input:\nThe quick" in text
    assert text.endswith("\n\n### Response:\ntwo<eos>")
    assert len(fitted.token_ids) <= 120
    assert fitted.token_ids[:-3] == renderer.fit_prompt(example.prompt_messages, example.fields, 117, place="x")


def test_fields_and_message_are_cut_alike_for_templates_without_fields(llama_tokenizer: Any) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    example = conversation(("u", f"one\n\n{LONG}"), ("a", "two"), fields={"instruction": "one", "input": LONG})
    text = renderer.decode(renderer.fit(example, 70).token_ids)
    assert "<|im_start|>user\none\n\nThe quick" in text
    assert text.endswith("<|im_start|>assistant\ntwo<|im_end|>")


def test_the_longest_message_is_the_one_that_is_cut(gemma_tokenizer: Any) -> None:
    renderer = Renderer.for_model(gemma_tokenizer, "qa")
    example = conversation(("u", LONG), ("a", "two"), ("u", "three"), ("a", "four"))
    text = renderer.decode(renderer.fit(example, 80).token_ids)
    assert "### Answer:\ntwo<eos>" in text
    assert "### Question:\nthree\n" in text


def test_an_answer_that_does_not_fit_is_refused(renderer: Renderer) -> None:
    with pytest.raises(DataError, match=r"faq.csv:17: .* the answer alone does not fit; expected at most 40") as caught:
        renderer.fit(qa("one", LONG), 40)
    assert "--over-length drop" in caught.value.remedy


def test_raw_text_is_never_cut(renderer: Renderer) -> None:
    with pytest.raises(DataError, match="does not fit"):
        renderer.fit(raw(LONG), 20)


def test_a_prompt_without_room_is_refused(renderer: Renderer) -> None:
    with pytest.raises(DataError, match=r"prompt 3: a prompt of \d+ tokens; expected at most 5"):
        renderer.fit_prompt(messages(("u", LONG)), {}, 5, place="prompt 3")
