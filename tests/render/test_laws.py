"""What holds for every example: the prompt is a prefix, parse undoes render, and the model's own template is followed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.render.helpers import with_chat_template
from tests.samples import conversation, messages, qa, raw
from tunesmith.errors import ConfigError
from tunesmith.render.checks import find_fault
from tunesmith.render.renderer import Renderer
from tunesmith.types import Example

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bos>", "<eos>", "<pad>", "</s>")

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
any_prompt = st.lists(st.one_of(any_text, st.sampled_from(SPECIAL)), max_size=4).map("".join)
any_answer = any_prompt.filter(str.strip)
ordinary = any_text.filter(lambda text: text.strip() and not any(special in text for special in SPECIAL))

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["chat", "qa", "alpaca"])
def renderer(request: pytest.FixtureRequest, llama_tokenizer: Any, gemma_tokenizer: Any) -> Renderer:
    return Renderer.for_model(llama_tokenizer if request.param == "chat" else gemma_tokenizer, request.param)


def multi_turn(first: str, second: str, third: str, fourth: str, system: str) -> Example:
    return conversation(("s", system), ("u", first), ("a", second), ("u", third), ("a", fourth))


@quick
@given(question=any_prompt, answer=any_answer)
def test_the_prompt_of_generation_is_a_prefix_and_parse_undoes_render(renderer: Renderer, question: str, answer: str) -> None:
    example = qa(question, answer)
    rendered = renderer.render(example)
    prompt = renderer.prompt_ids(example.prompt_messages)
    assert rendered.token_ids[: len(prompt)] == prompt
    assert rendered.supervised == (False,) * len(prompt) + (True,) * (len(rendered.token_ids) - len(prompt))
    assert renderer.parse(rendered.token_ids[len(prompt) :]) == answer
    assert find_fault(rendered, renderer, 10_000) is None


@quick
@given(texts=st.tuples(any_prompt, any_answer, any_prompt, any_answer, any_prompt))
def test_the_same_in_a_longer_conversation(renderer: Renderer, texts: tuple[str, str, str, str, str]) -> None:
    example = multi_turn(*texts)
    rendered = renderer.render(example)
    prompt = renderer.prompt_ids(example.prompt_messages)
    assert rendered.token_ids[: len(prompt)] == prompt
    assert renderer.parse(rendered.token_ids[len(prompt) :]) == texts[3]
    first = renderer.render(conversation(("s", texts[4]), ("u", texts[0]), ("a", texts[1])))
    assert rendered.token_ids[: len(first.token_ids)] == first.token_ids  # what was trained in turn one is what turn two reads
    assert rendered.supervised[: len(first.token_ids)] == first.supervised
    assert find_fault(rendered, renderer, 10_000) is None


@quick
@given(text=any_answer)
def test_raw_text_comes_back(renderer: Renderer, text: str) -> None:
    rendered = renderer.render(raw(text))
    assert renderer.parse(rendered.token_ids[renderer.bos_id is not None :]) == text
    assert find_fault(rendered, renderer, 10_000) is None


@quick
@given(first=ordinary, second=ordinary.map(str.strip), third=ordinary, fourth=ordinary.map(str.strip))
def test_chat_follows_the_models_own_template(llama_tokenizer: Any, first: str, second: str, third: str, fourth: str) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    example = conversation(("u", first), ("a", second), ("u", third), ("a", fourth))
    turns = [{"role": m.role, "content": m.content} for m in example.messages]
    own = llama_tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    token_ids = renderer.render(example).token_ids
    assert list(token_ids) == own[: len(token_ids)]
    assert renderer.decode(own[len(token_ids) :]) == "\n"  # what the template writes after the last end of turn
    own_prompt = llama_tokenizer.apply_chat_template(turns[:-1], tokenize=True, add_generation_prompt=True, return_dict=False)
    assert list(renderer.prompt_ids(example.prompt_messages)) == own_prompt


@quick
@given(question=ordinary, answer=ordinary.map(str.strip))
def test_qa_is_what_the_tokenizer_makes_of_the_whole_text(gemma_tokenizer: Any, question: str, answer: str) -> None:
    own = gemma_tokenizer(f"### Question:\n{question}\n\n### Answer:\n{answer}").input_ids
    rendered = Renderer.for_model(gemma_tokenizer, "qa").render(qa(question, answer))
    assert list(rendered.token_ids) == [*own, gemma_tokenizer.eos_token_id]


def test_a_template_that_rewrites_history_is_refused(llama_tokenizer: Any) -> None:
    forgetful = "{% for m in messages %}{% if loop.last or m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}"
    renderer = Renderer.for_model(with_chat_template(llama_tokenizer, forgetful), "chat")
    with pytest.raises(ConfigError, match="rewrites earlier turns"):
        renderer.prompt_ids(messages(("u", "one"), ("a", "two"), ("u", "three")))


def test_a_template_that_refuses_a_role_is_named(llama_tokenizer: Any) -> None:
    strict = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m.content }}{% endfor %}"
    renderer = Renderer.for_model(with_chat_template(llama_tokenizer, strict), "chat")
    with pytest.raises(ConfigError, match="no system"):
        renderer.prompt_ids(messages(("s", "one"), ("u", "three")))


@pytest.mark.parametrize(
    ("header", "generation_prompt"),
    [("<|im_start|>assistant\n", ""), ("<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|im_start|>assistant\n")],
    ids=["no generation prompt", "an empty thought, as Qwen 3 writes it"],
)
def test_what_the_template_puts_before_an_answer_belongs_to_the_prompt(llama_tokenizer: Any, header: str, generation_prompt: str) -> None:
    template = (
        "{% for m in messages %}{{ ('<|im_start|>user\n' if m.role == 'user' else header) + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ opening }}{% endif %}"
    )
    template = f"{{% set header = {header!r} %}}{{% set opening = {generation_prompt!r} %}}" + template
    renderer = Renderer.for_model(with_chat_template(llama_tokenizer, template), "chat")
    example = qa("one", "two")
    own = renderer.tokenizer.apply_chat_template([{"role": m.role, "content": m.content} for m in example.messages], return_dict=False)
    rendered = renderer.render(example)
    assert list(rendered.token_ids) == own[:-1]
    assert renderer.decode(rendered.token_ids[: rendered.supervised.index(True)]).endswith(header)
    assert find_fault(rendered, renderer, 1000) is None
