"""Which tokens an example becomes and which of them train, written out."""

# ruff: noqa: SIM905 - tokens read better in a line

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.render.helpers import show
from tests.samples import conversation, messages, qa, raw
from tunesmith.render.renderer import Renderer

SYSTEM = "<|im_start|> sy stem Ċ You Ġare Ġhe lp fu l . <|im_end|> Ċ".split()
USER = "<|im_start|> use r Ċ".split()
ASSISTANT = "<|im_start|> as s ist ant Ċ".split()
END = "<|im_end|> Ċ".split()


def test_chat_single_turn(llama_tokenizer: Any) -> None:
    shown = show(Renderer.for_model(llama_tokenizer, "auto"), qa("What is the capital of France?", "Paris."))
    question = "What Ġis Ġthe Ġcapital Ġof ĠFrance ?".split()
    assert shown.tokens == [*SYSTEM, *USER, *question, *END, *ASSISTANT, "Pa", "ris", ".", "<|im_end|>"]
    assert shown.supervised == ["Pa", "ris", ".", "<|im_end|>"]
    assert shown.flags == "." * (len(shown.tokens) - 4) + "SSSS"


def test_chat_multi_turn_trains_every_answer_and_its_end(llama_tokenizer: Any) -> None:
    example = conversation(("s", "You are helpful."), ("u", "one"), ("a", "two"), ("u", "three"), ("a", "four"))
    shown = show(Renderer.for_model(llama_tokenizer, "chat"), example)
    first = [*USER, "on", "e", *END, *ASSISTANT, "t", "wo", "<|im_end|>", "Ċ"]
    second = [*USER, "t", "hre", "e", *END, *ASSISTANT, "f", "ou", "r", "<|im_end|>"]
    assert shown.tokens == [*SYSTEM, *first, *second]
    assert shown.supervised == ["t", "wo", "<|im_end|>", "f", "ou", "r", "<|im_end|>"]
    assert shown.flags == "." * 13 + "." * 14 + "SSS" + "." + "." * 15 + "SSSS"


def test_chat_system_message_replaces_the_default_one(llama_tokenizer: Any) -> None:
    shown = show(Renderer.for_model(llama_tokenizer, "chat"), conversation(("s", "one"), ("u", "two"), ("a", "Paris")))
    opening = ["<|im_start|>", "sy", "stem", "Ċ", "on", "e", *END]
    assert shown.tokens == [*opening, *USER, "t", "wo", *END, *ASSISTANT, "Pa", "ris", "<|im_end|>"]
    assert shown.supervised == ["Pa", "ris", "<|im_end|>"]


def test_qa_has_one_bos_and_the_eos(gemma_tokenizer: Any) -> None:
    shown = show(Renderer.for_model(gemma_tokenizer, "qa"), qa("What is the capital?", "Paris."))
    prompt = "<bos> ### ĠQu estion : Ċ What Ġis Ġthe Ġcapital ? Ċ Ċ ### ĠAn sw er : Ċ".split()
    assert shown.tokens == [*prompt, "Pa", "ris", ".", "<eos>"]
    assert shown.supervised == ["Pa", "ris", ".", "<eos>"]
    assert shown.flags == "." * len(prompt) + "SSSS"


def test_auto_is_qa_where_there_is_no_chat_template(gemma_tokenizer: Any) -> None:
    example = qa("one", "two")
    assert show(Renderer.for_model(gemma_tokenizer, "auto"), example) == show(Renderer.for_model(gemma_tokenizer, "qa"), example)


def test_qa_multi_turn(gemma_tokenizer: Any) -> None:
    shown = show(Renderer.for_model(gemma_tokenizer, "qa"), conversation(("u", "one"), ("a", "two"), ("u", "three"), ("a", "four")))
    opening, closing = "### ĠQu estion : Ċ".split(), "Ċ Ċ ### ĠAn sw er : Ċ".split()
    first = ["<bos>", *opening, "on", "e", *closing, "t", "wo", "<eos>"]
    assert shown.tokens == [*first, "Ċ", "Ċ", *opening, "t", "hre", "e", *closing, "f", "ou", "r", "<eos>"]
    assert shown.supervised == ["t", "wo", "<eos>", "f", "ou", "r", "<eos>"]


def test_qa_puts_a_system_message_first(gemma_tokenizer: Any) -> None:
    renderer = Renderer.for_model(gemma_tokenizer, "qa")
    prompt = renderer.decode(renderer.prompt_ids(messages(("s", "You are helpful."), ("u", "one"))))
    assert prompt == "<bos>You are helpful.\n\n### Question:\none\n\n### Answer:\n"


ALPACA = (
    "<bos> Bel ow Ġis Ġan Ġinstruction Ġthat Ġdescri bes Ġa Ġtas k . ĠWri te Ġa Ġresponse Ġthat Ġapp rop riatel y "
    "Ġcomp let es Ġthe Ġre qu est . Ċ Ċ ### ĠI n stru ction : Ċ on e Ċ Ċ ### ĠRes pon se : Ċ"
).split()


def test_alpaca_without_input(gemma_tokenizer: Any) -> None:
    shown = show(Renderer.for_model(gemma_tokenizer, "alpaca"), qa("one", "two"))
    assert shown.tokens == [*ALPACA, "t", "wo", "<eos>"]
    assert shown.supervised == ["t", "wo", "<eos>"]


def test_alpaca_with_input(gemma_tokenizer: Any) -> None:
    renderer = Renderer.for_model(gemma_tokenizer, "alpaca")
    example = conversation(("u", "one\n\nred"), ("a", "two"), fields={"instruction": "one", "input": "red"})
    text = renderer.decode(renderer.render(example).token_ids)
    assert text == (
        "<bos>Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\none\n\n### Input:\nred\n\n### Response:\ntwo<eos>"
    )
    assert show(renderer, example).supervised == ["t", "wo", "<eos>"]


def test_alpaca_with_an_empty_input_is_alpaca_without(gemma_tokenizer: Any) -> None:
    renderer = Renderer.for_model(gemma_tokenizer, "alpaca")
    example = conversation(("u", "one"), ("a", "two"), fields={"instruction": "one", "input": ""})
    assert show(renderer, example) == show(renderer, qa("one", "two"))


def test_users_own_template(gemma_tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "shop.txt"
    file.write_text("Rules: {system}\nCustomer: {prompt}\nAgent:\n", encoding="utf-8")
    renderer = Renderer.for_model(gemma_tokenizer, str(file))
    example = conversation(("s", "be kind"), ("u", "one"), ("a", "two"))
    assert renderer.decode(renderer.render(example).token_ids) == "<bos>Rules: be kind\nCustomer: one\nAgent:\ntwo<eos>"
    assert show(renderer, example).supervised == ["t", "wo", "<eos>"]


def test_special_tokens_in_a_users_own_template_are_special(llama_tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n", encoding="utf-8")
    shown = show(Renderer.for_model(llama_tokenizer, str(file)), qa("one", "Paris"))
    assert shown.tokens == [*USER, "on", "e", *END, *ASSISTANT, "Pa", "ris", "<|im_end|>"]


def test_raw_text_is_all_supervised(gemma_tokenizer: Any, llama_tokenizer: Any) -> None:
    shown = show(Renderer.for_model(gemma_tokenizer, "auto"), raw("The quick"))
    assert shown.tokens == ["<bos>", "The", "Ġqu", "ick", "<eos>"]
    assert shown.supervised == ["The", "Ġqu", "ick", "<eos>"]
    shown = show(Renderer.for_model(llama_tokenizer, "auto"), raw("The quick"))
    assert shown.tokens == shown.supervised == ["The", "Ġqu", "ick", "<|im_end|>"]


def test_the_prompt_of_a_text_model_is_the_start_of_its_training_text(gemma_tokenizer: Any) -> None:
    renderer = Renderer.for_model(gemma_tokenizer, "auto")
    assert renderer.text_prompt_ids("The quick") == renderer.render(raw("The quick brown fox")).token_ids[:4]
