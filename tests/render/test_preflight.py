"""Every fault the preflight knows, made by hand and by real causes; the refusal shows place and picture."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.render.helpers import with_chat_template
from tests.samples import conversation, qa, raw
from tunesmith.errors import ConfigError, DataError, PreflightError
from tunesmith.render.checks import CHECKS, find_fault
from tunesmith.render.preflight import Preflight, run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.types import Example, RenderedExample

PLAIN_CHAT = "{% for m in messages %}{{ m.content + (': ' if m.role == 'user' else '<eos>') }}{% endfor %}"
LONG = "The quick brown fox jumps over the lazy dog. " * 6


def changed(rendered: RenderedExample, *, ids: dict[int, int] | None = None, flags: dict[int, bool] | None = None) -> RenderedExample:
    """The example with some token ids and supervised flags replaced, by index from either end."""
    token_ids, supervised = list(rendered.token_ids), list(rendered.supervised)
    for index, value in (ids or {}).items():
        token_ids[index] = value
    for index, flag in (flags or {}).items():
        supervised[index] = flag
    return dataclasses.replace(rendered, token_ids=tuple(token_ids), supervised=tuple(supervised))


class TestByHand:
    def test_a_sound_example_passes_every_check(self, base: Renderer) -> None:
        rendered = base.render(qa("one", "two"))
        assert [check(rendered, base, 100) for check in CHECKS] == [None] * len(CHECKS)

    def test_nothing_supervised(self, base: Renderer) -> None:
        rendered = base.render(qa("one", "two"))
        rendered = dataclasses.replace(rendered, supervised=(False,) * len(rendered.token_ids))
        assert find_fault(rendered, base, 100) == "no token is supervised"

    def test_only_the_unpredictable_first_token_supervised(self, chat: Renderer) -> None:
        rendered = RenderedExample(example=raw(""), token_ids=(chat.end_of_turn_id,), supervised=(True,))
        assert find_fault(rendered, chat, 100) == "no token is supervised"

    def test_over_length(self, base: Renderer) -> None:
        assert find_fault(base.render(qa("one", "two")), base, 10) == "19 tokens, over 10"

    def test_end_of_turn_cut_off(self, base: Renderer) -> None:
        rendered = base.render(qa("one", "two"))
        cut = dataclasses.replace(rendered, token_ids=rendered.token_ids[:-1], supervised=rendered.supervised[:-1])
        assert find_fault(cut, base, 100) == "it ends in 'wo', not in an end-of-turn token: the model would never learn to stop"

    def test_end_of_turn_not_supervised(self, base: Renderer) -> None:
        fault = find_fault(changed(base.render(qa("one", "two")), flags={-1: False}), base, 100)
        assert fault == "its end-of-turn token is not supervised: the model would never learn to stop"

    def test_bos_missing_and_bos_twice(self, base: Renderer) -> None:
        rendered = base.render(qa("one", "two"))
        missing = dataclasses.replace(rendered, token_ids=rendered.token_ids[1:], supervised=rendered.supervised[1:])
        assert "0 beginning-of-sequence tokens" in str(find_fault(missing, base, 100))
        twice = dataclasses.replace(rendered, token_ids=(2, *rendered.token_ids), supervised=(False, *rendered.supervised))
        assert "2 beginning-of-sequence tokens" in str(find_fault(twice, base, 100))
        assert "1 beginning-of-sequence tokens where the model wants exactly one, first" in str(
            find_fault(changed(rendered, ids={0: rendered.token_ids[1], 1: 2}), base, 100)
        )

    def test_prompt_with_other_tokens(self, base: Renderer) -> None:
        fault = find_fault(changed(base.render(qa("one", "two")), ids={5: 7}), base, 100)
        assert fault == "its prompt has other tokens than the same prompt has in generation"

    def test_supervision_one_token_early(self, base: Renderer) -> None:
        rendered = base.render(qa("one", "two"))
        first = rendered.supervised.index(True)
        assert find_fault(changed(rendered, flags={first - 1: True}), base, 100) == "the end of its prompt is supervised"

    def test_supervision_one_token_late(self, base: Renderer) -> None:
        rendered = base.render(qa("one", "two"))
        first = rendered.supervised.index(True)
        fault = find_fault(changed(rendered, flags={first: False}), base, 100)
        assert fault == "what would be trained is not its answer but 'wo<eos>'"

    def test_prompt_supervised_from_its_start(self, base: Renderer) -> None:
        rendered = base.render(qa("one", "two"))
        assert "what would be trained is not its answer but '###" in str(find_fault(changed(rendered, flags={1: True}), base, 100))

    def test_another_answer(self, base: Renderer) -> None:
        rendered = dataclasses.replace(base.render(qa("one", "two")), example=qa("one", "three"))
        assert "what would be trained is not its answer but 'two<eos>'" in str(find_fault(rendered, base, 100))

    def test_an_earlier_answer_left_out(self, base: Renderer) -> None:
        rendered = base.render(conversation(("u", "one"), ("a", "two"), ("u", "three"), ("a", "four")))
        first = rendered.supervised.index(True)
        fault = find_fault(changed(rendered, flags={first: False, first + 1: False, first + 2: False}), base, 100)
        assert "what would be trained is not its answer" in str(fault)


def run(examples: list[Example], renderer: Renderer, **options: Any) -> Preflight:
    return run_preflight(examples, renderer, **{"max_length": 200, "over_length": "refuse", **options})


class TestRealCauses:
    def test_sound_examples_pass(self, chat: Renderer) -> None:
        preflight = run([qa("one", "two", "a:1"), qa("three", "four", "a:2")], chat)
        assert [r.example.source for r in preflight.rendered] == ["a:1", "a:2"]
        assert preflight.num_supervised == 3 + 4
        assert preflight.summary() == f"kept 2 of 2 examples: {preflight.num_tokens} tokens, 7 supervised (11 %)"

    def test_a_chat_template_without_end_of_turn_still_teaches_to_stop(self, llama_tokenizer: Any) -> None:
        template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
        renderer = Renderer.for_model(with_chat_template(llama_tokenizer, template), "chat")
        assert renderer.decode(run([qa("one", "two")], renderer).rendered[0].token_ids) == "user: one\nassistant: two<|im_end|>"

    def test_a_template_that_writes_bos_twice(self, gemma_tokenizer: Any) -> None:
        renderer = Renderer.for_model(with_chat_template(gemma_tokenizer, "{{ bos_token }}{{ bos_token }}" + PLAIN_CHAT), "chat")
        with pytest.raises(PreflightError) as caught:
            run([qa("one", "two", "faq.csv:5"), qa("three", "four", "faq.csv:6")], renderer)
        message = str(caught.value)
        assert caught.value.exit_code == 3
        assert message.startswith(
            "faq.csv:5: 2 beginning-of-sequence tokens where the model wants exactly one, first (2 of 2 examples have"
        )
        assert "<bos><bos>one: ⟦two<eos>⟧" in message

    def test_a_template_that_writes_bos_once_gets_no_second(self, gemma_tokenizer: Any) -> None:
        renderer = Renderer.for_model(with_chat_template(gemma_tokenizer, "{{ bos_token }}" + PLAIN_CHAT), "chat")
        assert run([qa("one", "two")], renderer).rendered[0].token_ids.count(2) == 1

    def test_a_template_that_drops_the_answer(self, llama_tokenizer: Any) -> None:
        template = (
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{{ m.content[:3] }}<|im_end|>{% endif %}{% endfor %}"
        )
        renderer = Renderer.for_model(with_chat_template(llama_tokenizer, template), "chat")
        with pytest.raises(PreflightError, match="trained is not its answer"):
            run([conversation(("u", "one"), ("a", "twenty"), ("u", "three"), ("a", "four"))], renderer)

    def test_characters_the_tokenizer_does_not_know(self, metaspace_tokenizer: Any) -> None:
        renderer = Renderer.for_model(metaspace_tokenizer, "qa")
        with pytest.raises(PreflightError, match="trained is not its answer but '<unk>"):
            run([qa("one", "日本")], renderer)

    def test_a_tokenizer_without_eos(self, gemma_tokenizer: Any) -> None:
        other = with_chat_template(gemma_tokenizer, None)
        other.eos_token = None
        with pytest.raises(ConfigError, match="no end-of-sequence token"):
            run([qa("one", "two")], Renderer.for_model(other, "qa"))


class TestOverLength:
    examples = (qa("one", "two", "a:1"), qa(LONG, "three", "a:2"), qa(LONG + LONG, "four", "a:3"))

    def test_refuse_names_the_longest(self, chat: Renderer) -> None:
        with pytest.raises(PreflightError, match=r"^a:3: 2\d\d tokens; 2 of 3 examples are too long \(a:2, a:3\)") as caught:
            run(list(self.examples), chat, max_length=60)
        assert "expected at most 60 tokens" in str(caught.value)
        assert "--over-length drop" in caught.value.remedy
        assert caught.value.exit_code == 3

    def test_drop_counts_what_it_leaves_out(self, chat: Renderer) -> None:
        preflight = run(list(self.examples), chat, max_length=60, over_length="drop")
        assert preflight.dropped == ("a:2", "a:3")
        assert [r.example.source for r in preflight.rendered] == ["a:1"]
        assert preflight.summary().startswith("kept 1 of 3 examples (2 over 60 tokens dropped, 0 prompts cut): ")
        assert preflight.record()["dropped"] == ["a:2", "a:3"]

    def test_drop_leaves_out_only_the_long_one_of_two_with_the_same_source(self, chat: Renderer) -> None:
        preflight = run([qa("one", "two", "a:1"), qa(LONG, "three", "a:1")], chat, max_length=60, over_length="drop")
        assert [r.example.reference for r in preflight.rendered] == ["two"]
        assert preflight.dropped == ("a:1",)

    def test_cut_shortens_prompts_only(self, chat: Renderer) -> None:
        preflight = run(list(self.examples), chat, max_length=60, over_length="cut")
        assert preflight.cut == ("a:2", "a:3")
        assert [len(r.token_ids) <= 60 for r in preflight.rendered] == [True] * 3
        assert [chat.parse(r.token_ids[r.supervised.index(True) :]) for r in preflight.rendered] == ["two", "three", "four"]
        assert preflight.record()["longest"] <= 60
        assert preflight.summary().startswith("kept 3 of 3 examples (0 over 60 tokens dropped, 2 prompts cut): ")

    def test_none_left(self, chat: Renderer) -> None:
        with pytest.raises(DataError, match=r"the training split: none of 3 examples is left \(3 over 8 tokens\)") as caught:
            run(list(self.examples), chat, max_length=8, over_length="drop")
        assert caught.value.exit_code == 2

    def test_none_left_of_another_split(self, chat: Renderer) -> None:
        with pytest.raises(DataError, match="the validation split: none of 0 examples"):
            run([], chat, split="validation")
