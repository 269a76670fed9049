"""Trials take the base model's answers from one another, and their evaluations are what they would be without."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import EvaluateConfig, GenerateConfig, PrepareConfig, TrainConfig, build
from tunesmith.data.prepare import prepare
from tunesmith.errors import RunError
from tunesmith.evaluate.answering import Answers, Effort
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.runs import RunDirectory
from tunesmith.sweep.base_answers import KeptAnswers
from tunesmith.train.train import train
from tunesmith.types import Completion, ExampleLoss, TokenLogprob

QUICK = EvaluateConfig(generation=GenerateConfig(max_new_tokens=6), limit=5)

TrainIt = Callable[..., RunDirectory]


@pytest.fixture(scope="module")
def train_it(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> TrainIt:
    """Train two steps."""
    directory = tmp_path_factory.mktemp("base-answers")
    rows = [{"question": f"What is {n}?", "answer": f"{n} is {('red', 'green', 'blue')[n % 3]}."} for n in range(60)]
    (directory / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare([directory / "faq.jsonl"], directory / "data", PrepareConfig(near_threshold=1))

    def run(name: str, **settings: Any) -> RunDirectory:
        fixed = {"model": str(tiny_llama), "data": directory / "data", "max_steps": 2, "estimate": False}
        return train(build(TrainConfig, {**fixed, **settings}), runs_dir=directory / "runs", name=name)

    return run


def numbers_of(run: RunDirectory) -> list[Any]:
    """Everything an evaluation writes for machines."""
    report = json.loads(run.evaluation_report_file.read_text(encoding="utf-8"))
    return [report, run.evaluation_records_file.read_text(encoding="utf-8")]


def kept(directory: Path, trial: str, said: list[str] | None = None) -> KeptAnswers:
    return KeptAnswers(directory=directory / "base", trial=trial, say=(said if said is not None else []).append)


def test_evaluations_with_and_without_reuse_are_equal_in_all_numbers(train_it: TrainIt, tmp_path: Path) -> None:
    """Of adapters of several ranks and rates, and of runs that trained all weights."""
    kinds: list[dict[str, Any]] = [
        {"lora": {"rank": 2}},
        {"lora": {"rank": 8}, "learning_rate": 1e-2},
        {"method": "full"},
        {"method": "full", "seed": 3},
    ]
    said: list[str] = []
    for number, settings in enumerate(kinds):
        run = train_it(f"equal-{number}", **settings)
        evaluate_run(run, QUICK)
        without = numbers_of(run)
        evaluate_run(run, QUICK, keep_base=kept(tmp_path, run.name, said))
        assert numbers_of(run) == without
    assert said == [f"the base model's answers are those that trial equal-{n} was given to the same questions" for n in (0, 2)]
    assert len(list((tmp_path / "base").iterdir())) == 2  # under an adapter that is switched off, and by itself


def test_another_setting_example_or_model_is_asked_anew(train_it: TrainIt, tmp_path: Path, tiny_gemma: Path) -> None:
    run = train_it("asked")
    said: list[str] = []
    others: list[EvaluateConfig] = [
        QUICK,
        QUICK.model_copy(update={"generation": GenerateConfig(max_new_tokens=5)}),
        QUICK.model_copy(update={"limit": 1}),
        QUICK.model_copy(update={"split": "validation"}),
    ]
    for config in others:
        evaluate_run(run, config, dtype="float32", keep_base=kept(tmp_path, "a", said))
    evaluate_run(run, QUICK, dtype="bfloat16", keep_base=kept(tmp_path, "a", said))
    evaluate_run(train_it("template", template="qa"), QUICK, dtype="float32", keep_base=kept(tmp_path, "a", said))
    evaluate_run(train_it("gemma", model=str(tiny_gemma)), QUICK, dtype="float32", keep_base=kept(tmp_path, "a", said))
    assert said == []
    assert len(list((tmp_path / "base").iterdir())) == 7
    evaluate_run(
        run, QUICK.model_copy(update={"confidence": 0.9}), dtype="float32", keep_base=kept(tmp_path, "b", said)
    )  # the answers do not depend on it
    assert len(said) == 1


def answers(text: str = "Grün\u2028.") -> Answers:
    logprob = TokenLogprob(token=3, logprob=-0.1 - 1e-17, top=((3, -0.1), (4, -2.5)))
    completion = Completion(text=text, token_ids=(3,), finish_reason="end_of_turn", logprobs=(logprob,))
    effort = Effort(seconds=30.0, num_prompt_tokens=4, num_new_tokens=1, peak_memory_bytes=9)
    return Answers(losses=[ExampleLoss(total=1 / 3, num_supervised=7)], completions=[completion], effort=effort)


def unexpected() -> Answers:
    raise AssertionError("asked again")


def test_what_is_kept_comes_back_to_the_last_bit_but_for_the_time_it_took(tmp_path: Path) -> None:
    depends_on = {"weights": "w", "num_examples": 1}
    given = kept(tmp_path, "first")(depends_on, answers)
    assert given == dataclasses.replace(answers(), effort=None)
    assert kept(tmp_path, "second")(depends_on, unexpected) == given
    silent = Answers(losses=[ExampleLoss(total=0.1, num_supervised=2)], completions=None, effort=None)
    assert kept(tmp_path, "text")({"weights": "v", "num_examples": 1}, lambda: silent) == silent
    assert kept(tmp_path, "text")({"weights": "v", "num_examples": 1}, unexpected) == silent


def test_two_that_ask_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    depends_on = {"weights": "w", "num_examples": 1}

    def meanwhile() -> Answers:
        kept(tmp_path, "other")(depends_on, answers)
        return answers()

    assert kept(tmp_path, "one")(depends_on, meanwhile) == kept(tmp_path, "late")(depends_on, unexpected)
    (file,) = (tmp_path / "base").iterdir()
    assert json.loads(file.read_text(encoding="utf-8").split("\n")[0])["made_by"] == "one"


@pytest.mark.parametrize(
    "spoil", [lambda text: text[:-30], lambda text: "", lambda text: text.replace('"total"', '"sum"'), lambda text: "{\n"]
)
def test_a_spoilt_file_is_said_and_not_taken(spoil: Callable[[str], str], tmp_path: Path) -> None:
    depends_on = {"weights": "w", "num_examples": 1}
    kept(tmp_path, "one")(depends_on, answers)
    (file,) = (tmp_path / "base").iterdir()
    file.write_text(spoil(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RunError, match=r"delete .*the base model is then asked again"):
        kept(tmp_path, "two")(depends_on, unexpected)
