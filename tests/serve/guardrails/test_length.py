"""Too long a prompt is refused, too long an answer ends with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import messages, prepare_qa
from tunesmith.config import TrainConfig
from tunesmith.errors import ConfigError
from tunesmith.serve.guardrails.length import LengthRule, LengthSettings, cut
from tunesmith.serve.guardrails.tokens import token_counter
from tunesmith.train.train import train


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(5, "It is"), (11, "It is free."), (12, "It is free."), (26, "It is free. Nobody pays."), (99, "It is free. Nobody pays. Ever.")],
)
def test_cut_at_the_end_of_a_sentence_that_fits(limit: int, expected: str) -> None:
    assert cut("It is free. Nobody pays. Ever.", limit) == expected


def test_cut_between_decimals_and_in_other_scripts() -> None:
    assert cut("It costs 3.50 euros today", 12) == "It costs"
    assert cut("是的。没有费用。再见", 8) == "是的。没有费用。"


@given(st.text(min_size=1, max_size=60), st.integers(min_value=1, max_value=60))
def test_never_longer_and_always_a_beginning(text: str, limit: int) -> None:
    shortened = cut(text, limit)
    assert len(shortened) <= limit
    assert text.startswith(shortened)


def test_prompts_are_refused_by_characters_and_by_tokens() -> None:
    rule = LengthRule(LengthSettings(max_prompt_characters=10, max_prompt_tokens=2), lambda text: len(text.split()))
    assert rule.check_prompt(messages(("s", "s"), ("u", "012345678"))).goes_on
    assert "12 characters" in (rule.check_prompt(messages(("s", "0123456789"), ("u", "Hi"))).refusal or "")
    assert "11 characters" in (rule.check_prompt(messages(("u", "01234567890"))).refusal or "")
    refused = rule.check_prompt(messages(("u", "a b c")))
    assert "3 tokens" in (refused.refusal or "")
    assert refused.fired[0].action == "refuse"


def test_answers_are_cut_and_say_so() -> None:
    verdict = LengthRule(LengthSettings(max_answer_characters=12), None).check_answer("It is free. Nobody pays.", ())
    assert (verdict.text, verdict.finish) == ("It is free.", "length")


def test_tokens_of_a_run_with_new_ones(tiny_llama: Path, tmp_path: Path) -> None:
    prepare_qa(tmp_path / "data", [(f"What is {i} and red?", "<tool>") for i in range(12)])
    settings = {"new_tokens": ("<tool>",), "max_steps": 1, "dtype": "float32", "estimate": False}
    run = train(TrainConfig(model=str(tiny_llama), data=tmp_path / "data", **settings), runs_dir=tmp_path, name="faq")
    count = token_counter(run)
    assert count("<tool><tool>") - count("<tool>") == 1


def test_tokens_need_a_model() -> None:
    with pytest.raises(ConfigError, match="no model whose tokens"):
        LengthRule(LengthSettings(max_prompt_tokens=5), None)
