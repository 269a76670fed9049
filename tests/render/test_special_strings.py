"""Users write "<|im_end|>" and "<bos>": to the model that is plain text, wherever it stands."""

# ruff: noqa: SIM905 - tokens read better in a line

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.render.helpers import show, with_chat_template
from tests.render.test_exact_tokens import ASSISTANT, END, SYSTEM, USER
from tests.samples import conversation, qa, raw
from tunesmith.render.checks import find_fault
from tunesmith.render.renderer import Renderer

LITERAL_END = "< | i m _ en d | >".split()
LITERAL_BOS = "< b o s >".split()


def test_in_a_chat_prompt(llama_tokenizer: Any) -> None:
    shown = show(Renderer.for_model(llama_tokenizer, "chat"), qa("one <|im_end|> two", "Paris."))
    question = ["on", "e", "Ġ", *LITERAL_END, "Ġtwo"]
    assert shown.tokens == [*SYSTEM, *USER, *question, *END, *ASSISTANT, "Pa", "ris", ".", "<|im_end|>"]


def test_as_the_whole_chat_prompt(llama_tokenizer: Any) -> None:
    """The template writes the same string; only the user's is plain text."""
    shown = show(Renderer.for_model(llama_tokenizer, "chat"), qa("<|im_end|>", "Paris."))
    assert shown.tokens == [*SYSTEM, *USER, *LITERAL_END, *END, *ASSISTANT, "Pa", "ris", ".", "<|im_end|>"]


@pytest.mark.parametrize("words", ["user", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>", "assistant"])
def test_the_templates_own_words_stay_its_own(llama_tokenizer: Any, words: str) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    rendered = renderer.render(qa(words, "Paris."))
    starts, ends = (rendered.token_ids.count(llama_tokenizer.convert_tokens_to_ids(s)) for s in ("<|im_start|>", "<|im_end|>"))
    assert (starts, ends) == (3, 3)
    expected = (
        f"<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\n{words}<|im_end|>\n<|im_start|>assistant\nParis.<|im_end|>"
    )
    assert renderer.decode(rendered.token_ids) == expected


def test_in_system_and_earlier_turns(llama_tokenizer: Any) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    example = conversation(("s", "<|im_start|>"), ("u", "<|im_end|>"), ("a", "a <|im_end|>"), ("u", "<|endoftext|>"), ("a", "<|im_start|>"))
    rendered = renderer.render(example)
    special = [t for t in rendered.token_ids if t in llama_tokenizer.all_special_ids]
    start, end = llama_tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert special == [start, end] * 5
    assert find_fault(rendered, renderer, 1000) is None


def test_in_an_answer(llama_tokenizer: Any) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    shown = show(renderer, qa("one", "<|im_end|>"))
    assert shown.supervised == [*LITERAL_END, "<|im_end|>"]
    ids = renderer.render(qa("one", "<|im_end|>")).token_ids
    assert renderer.parse(ids[-len(LITERAL_END) - 1 :]) == "<|im_end|>"


def test_in_text_templates_and_raw_text(gemma_tokenizer: Any) -> None:
    renderer = Renderer.for_model(gemma_tokenizer, "qa")
    shown = show(renderer, qa("<bos>", "<bos>"))
    assert shown.tokens == [
        *"<bos> ### ĠQu estion : Ċ".split(),
        *LITERAL_BOS,
        *"Ċ Ċ ### ĠAn sw er : Ċ".split(),
        *LITERAL_BOS,
        "<eos>",
    ]
    assert show(renderer, raw("<bos>")).tokens == ["<bos>", *LITERAL_BOS, "<eos>"]
    assert renderer.text_prompt_ids("<bos>") == renderer.render(raw("<bos>")).token_ids[:-1]


def test_in_the_fields_of_a_users_own_template(llama_tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("<|im_start|>{instruction}<|im_end|>{input}\n", encoding="utf-8")
    example = conversation(("u", "x"), ("a", "Paris"), fields={"instruction": "<|im_end|>", "input": "<|im_end|>"})
    shown = show(Renderer.for_model(llama_tokenizer, str(file)), example)
    assert shown.tokens == ["<|im_start|>", *LITERAL_END, "<|im_end|>", *LITERAL_END, "Ċ", "Pa", "ris", "<|im_end|>"]


def test_private_use_characters_of_the_users_survive(llama_tokenizer: Any) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    words = "\U000f0000 <|im_end|> \U000f0001 <|im_start|>"
    assert words in renderer.decode(renderer.render(qa(words, "Paris.")).token_ids)


def test_a_template_that_trims_still_trims(llama_tokenizer: Any) -> None:
    trimming = with_chat_template(
        llama_tokenizer, llama_tokenizer.chat_template.replace("message['content'] +", "message['content'] | trim +")
    )
    renderer = Renderer.for_model(trimming, "chat")
    assert "user\n<|im_end|> one<|im_end|>" in renderer.decode(renderer.prompt_ids(qa("  <|im_end|> one ", "x").prompt_messages))


def test_end_of_turn_after_a_space(llama_tokenizer: Any) -> None:
    """Llama 2 writes " </s>" after an answer: one end of turn, right after the last word, in every turn."""
    template = "{% for m in messages %}{{ 'Q: ' + m.content + ' A: ' if m.role == 'user' else m.content + ' <|im_end|>' }}{% endfor %}"
    renderer = Renderer.for_model(with_chat_template(llama_tokenizer, template), "chat")
    rendered = renderer.render(conversation(("u", "one"), ("a", "two"), ("u", "three"), ("a", "four")))
    assert renderer.decode(rendered.token_ids) == "Q: one A: two<|im_end|>Q: three A: four<|im_end|>"
    assert find_fault(rendered, renderer, 1000) is None
