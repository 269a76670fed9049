"""Llama-2-like tokenizers put a space before whatever they are given; between the pieces of an example none may creep in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.render.helpers import show, with_chat_template
from tests.samples import conversation, qa, raw
from tunesmith.render.checks import find_fault
from tunesmith.render.renderer import Renderer

known_text = st.text(st.sampled_from("abehiorstw \n?:.#"), min_size=1, max_size=20).filter(str.strip)


def test_no_spurious_space(metaspace_tokenizer: Any) -> None:
    shown = show(Renderer.for_model(metaspace_tokenizer, "qa"), qa("What is the capital?", "Paris."))
    assert shown.tokens == [
        "<s>",
        "▁###▁Questio",
        "n:\n",
        "W",
        "hat▁",
        "is▁the▁",
        "capita",
        "l",
        "?\n\n",
        "###▁Ans",
        "wer",
        ":\n",
        "Pa",
        "ris.",
        "</s>",
    ]
    assert shown.supervised == ["Pa", "ris.", "</s>"]


def test_the_same_tokens_as_the_whole_text(metaspace_tokenizer: Any) -> None:
    own = metaspace_tokenizer("### Question:\nWhat is the capital?\n\n### Answer:\nParis.").input_ids
    rendered = Renderer.for_model(metaspace_tokenizer, "qa").render(qa("What is the capital?", "Paris."))
    assert list(rendered.token_ids) == [*own, metaspace_tokenizer.eos_token_id]


def test_raw_text_is_tokenized_as_the_tokenizer_does(metaspace_tokenizer: Any) -> None:
    rendered = Renderer.for_model(metaspace_tokenizer, "auto").render(raw("The quick brown fox"))
    assert list(rendered.token_ids) == [*metaspace_tokenizer("The quick brown fox").input_ids, metaspace_tokenizer.eos_token_id]


@pytest.mark.parametrize("answer", ["\n\nfour", "\nfour", "#four", " four", ":\n", "|0a", "0", "a"])
def test_an_answer_that_begins_like_the_text_before_it_is_kept_whole(metaspace_tokenizer: Any, answer: str) -> None:
    """The newline put before an answer to hold off the space may grow together with it; then another character does it."""
    renderer = Renderer.for_model(metaspace_tokenizer, "qa")
    rendered = renderer.render(qa("one", answer))
    supervised = [token for token, flag in zip(rendered.token_ids, rendered.supervised, strict=True) if flag]
    pieces = metaspace_tokenizer.convert_ids_to_tokens(supervised[:-1])
    assert "".join(pieces).replace("▁", " ").replace("<unk>", "|") == answer


def test_multi_turn_keeps_the_blank_line_between_turns(metaspace_tokenizer: Any) -> None:
    renderer = Renderer.for_model(metaspace_tokenizer, "qa")
    rendered = renderer.render(conversation(("u", "one"), ("a", "two"), ("u", "three"), ("a", "four")))
    text = renderer.decode(rendered.token_ids)
    assert text.replace("<s> ", "<s>") == ("<s>### Question:\none\n\n### Answer:\ntwo</s>\n\n### Question:\nthree\n\n### Answer:\nfour</s>")


def test_a_chat_template_that_writes_bos(metaspace_tokenizer: Any) -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{{ '# ' + m.content + ' :' if m.role == 'user' else m.content + eos_token }}{% endfor %}"
    )
    renderer = Renderer.for_model(with_chat_template(metaspace_tokenizer, template), "chat")
    rendered = renderer.render(qa("one", "two"))
    assert rendered.token_ids.count(metaspace_tokenizer.bos_token_id) == 1
    own = metaspace_tokenizer("# one :two").input_ids
    assert list(rendered.token_ids) == [*own, metaspace_tokenizer.eos_token_id]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=known_text, answer=known_text)
def test_laws(metaspace_tokenizer: Any, question: str, answer: str) -> None:
    renderer = Renderer.for_model(metaspace_tokenizer, "qa")
    example = qa(question, answer)
    rendered = renderer.render(example)
    prompt = renderer.prompt_ids(example.prompt_messages)
    assert rendered.token_ids[: len(prompt)] == prompt
    # This tokenizer's decoder drops one leading space of whatever it decodes.
    assert renderer.parse(rendered.token_ids[len(prompt) :]) == answer.removeprefix(" ")
    assert find_fault(rendered, renderer, 1000) is None
