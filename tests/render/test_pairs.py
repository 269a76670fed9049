"""Preference pairs and judged answers to the token: what trains, that both sides share their prompt, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.render.helpers import show
from tests.samples import conversation, qa
from tunesmith.errors import DataError, PreflightError
from tunesmith.render.checks import find_fault, find_fault_of_all
from tunesmith.render.chunks import render_all
from tunesmith.render.preflight import Preflight, run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.types import Example

LONG = "The quick brown fox jumps over the lazy dog. " * 6


def pair(question: str, chosen: str, rejected: str, source: str = "votes.csv:2") -> Example:
    return dataclasses.replace(qa(question, chosen, source), rejected=rejected)


def run(examples: list[Example], renderer: Renderer, **options: Any) -> Preflight:
    return run_preflight(examples, renderer, **{"max_length": 200, "over_length": "refuse", **options})


PROMPT = ["<bos>", "###", "ĠQu", "estion", ":", "Ċ", "on", "e", "Ċ", "Ċ", "###", "ĠAn", "sw", "er", ":", "Ċ"]


def test_a_pair_to_the_token(base: Renderer) -> None:
    example = pair("one", "two", "red")
    chosen, rejected = show(base, example), show(base, example.swapped())
    assert chosen.tokens == [*PROMPT, "t", "wo", "<eos>"]
    assert rejected.tokens == [*PROMPT, "re", "d", "<eos>"]
    assert chosen.supervised == ["t", "wo", "<eos>"]
    assert rejected.supervised == ["re", "d", "<eos>"]


def test_a_judged_answer_to_the_token(base: Renderer) -> None:
    for label in (True, False):
        assert show(base, dataclasses.replace(qa("one", "two"), label=label)) == show(base, qa("one", "two"))


@pytest.mark.parametrize("preference", [{"rejected": "red"}, {"label": False}])
def test_earlier_answers_belong_to_the_prompt(chat: Renderer, base: Renderer, preference: dict[str, Any]) -> None:
    talk = conversation(("u", "one"), ("a", "two"), ("u", "three"), ("a", "Paris"))
    for renderer in (chat, base):
        plain, judged = renderer.render(talk), renderer.render(dataclasses.replace(talk, **preference))
        num_prompt = len(renderer.prompt_ids(talk.prompt_messages))
        assert judged.token_ids == plain.token_ids
        assert any(plain.supervised[:num_prompt])
        assert not any(judged.supervised[:num_prompt])
        assert all(judged.supervised[num_prompt:])
        assert find_fault(judged, renderer, 200) is None
        with_earlier = dataclasses.replace(judged, supervised=plain.supervised)
        assert "what would be trained is not its answer" in str(find_fault(with_earlier, renderer, 200))


def test_both_sides_in_step(chat: Renderer) -> None:
    examples = [pair("one", "two", "red", "a:1"), pair("three", "four", "five and blue", "a:2")]
    preflight = run(examples, chat)
    assert [one.example for one in preflight.rendered] == examples
    assert [one.example.reference for one in preflight.rejected] == ["red", "five and blue"]
    assert [one.example.id for one in preflight.rejected] == [one.id for one in examples]
    for chosen, rejected in zip(preflight.rendered, preflight.rejected, strict=True):
        prompt = chat.prompt_ids(chosen.example.prompt_messages)
        assert chosen.token_ids[: len(prompt)] == rejected.token_ids[: len(prompt)] == prompt
    every = (*preflight.rendered, *preflight.rejected)
    num_tokens = sum(len(one.token_ids) for one in every)
    assert preflight.record()["num_tokens"] == num_tokens
    assert preflight.record()["longest"] == max(len(one.token_ids) for one in every)
    assert preflight.summary().startswith(f"kept 2 of 2 preference pairs: {num_tokens} tokens, ")


def test_other_kinds_have_no_rejected_side(chat: Renderer) -> None:
    assert len(run([dataclasses.replace(qa("one", "two"), label=True)], chat).rejected) == 0
    assert len(run([qa("one", "two")], chat).rejected) == 0


class TestFaults:
    def test_a_sound_pair(self, base: Renderer) -> None:
        assert find_fault_of_all(render_all(pair("one", "two", "red"), base, 100), base, 100) is None

    def test_the_rejected_side_goes_through_every_check(self, base: Renderer) -> None:
        chosen, rejected = render_all(pair("one", "two", "red"), base, 100)
        late = dataclasses.replace(rejected, supervised=(*rejected.supervised[:-1], False))
        assert find_fault_of_all((chosen, late), base, 100) == (
            late, "its end-of-turn token is not supervised: the model would never learn to stop",
        )  # fmt: skip

    def test_another_prompt(self, base: Renderer) -> None:
        chosen, _ = render_all(pair("one", "two", "red"), base, 100)
        _, other = render_all(pair("three", "two", "red"), base, 100)
        assert find_fault_of_all((chosen, other), base, 100) == (
            other, "its chosen and its rejected answer do not follow the same prompt tokens",
        )  # fmt: skip

    def test_equal_answers(self, base: Renderer) -> None:
        with pytest.raises(PreflightError, match=r"^votes\.csv:2: its chosen and its rejected answer have the same tokens") as caught:
            run([pair("one", "two", "two")], base)
        assert caught.value.exit_code == 3

    def test_a_rejected_answer_that_the_tokenizer_does_not_know(self, metaspace_tokenizer: Any) -> None:
        with pytest.raises(PreflightError, match="trained is not its answer but '<unk>") as caught:
            run([pair("one", "two", "日本")], Renderer.for_model(metaspace_tokenizer, "qa"))
        assert "<unk>" in caught.value.remedy, "the picture is not of the side at fault"

    def test_pairs_among_others(self, chat: Renderer) -> None:
        with pytest.raises(DataError, match="the training split: 1 preference pairs among the first 2 examples"):
            run([pair("one", "two", "red"), qa("one", "two")], chat)


class TestOverLength:
    examples = (pair("one", "two", "red", "a:1"), pair("one", "two", LONG, "a:2"), pair(LONG, "red blue", "two " * 9, "a:3"))

    def test_the_longer_side_decides(self, chat: Renderer) -> None:
        with pytest.raises(PreflightError, match=r"^a:3: \d+ tokens; 2 of 3 examples are too long \(a:2, a:3\)"):
            run(list(self.examples), chat, max_length=80)
        preflight = run(list(self.examples), chat, max_length=80, over_length="drop")
        assert preflight.dropped == ("a:2", "a:3")
        assert (len(preflight.rendered), len(preflight.rejected)) == (1, 1)

    @pytest.mark.parametrize("swap", [False, True])
    def test_cut_gives_both_the_same_prompt(self, chat: Renderer, swap: bool) -> None:
        example = self.examples[2].swapped() if swap else self.examples[2]
        preflight = run([example], chat, max_length=80, over_length="cut")
        (chosen,), (rejected,) = preflight.rendered, preflight.rejected
        assert preflight.cut == ("a:3",)
        prompts = [one.token_ids[: one.supervised.index(True)] for one in (chosen, rejected)]
        assert prompts[0] == prompts[1]
        assert chosen.num_cut_tokens == rejected.num_cut_tokens > 0
        assert 75 <= max(len(chosen.token_ids), len(rejected.token_ids)) <= 80
        for one in (chosen, rejected):
            assert chat.parse(one.token_ids[len(prompts[0]) :]) == one.example.reference

    def test_a_longer_answer_that_never_fits(self, chat: Renderer) -> None:
        with pytest.raises(DataError, match=r"^a:2: \d+ tokens, and the answer alone does not fit; expected at most 80"):
            run([self.examples[1]], chat, max_length=80, over_length="cut")
