"""Scope: what counts as a redirection, what is asked, and both kinds of error counted right."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from tests.evaluate.probing.conftest import OFF_TOPIC, REDIRECTION, ROWS, prepared, trained
from tunesmith.config import PrepareConfig, ScopeConfig, TrainConfig
from tunesmith.data.converting.examples import build_example
from tunesmith.data.prepare import prepare
from tunesmith.errors import ConfigError, DataError, RunError
from tunesmith.evaluate.probing.questions import Question, from_held_out, general_questions
from tunesmith.evaluate.probing.rates import paired_rates, rate_of
from tunesmith.evaluate.probing.recognise import Recogniser
from tunesmith.evaluate.probing.scope import probe_scope
from tunesmith.evaluate.probing.scope_report import Asked, build_report
from tunesmith.runs import RunDirectory
from tunesmith.types import Message

CONFIG = ScopeConfig(max_new_tokens=16)


def example(prompt: str, answer: str = "Yes."):
    return build_example("a:1", messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))


@pytest.fixture(scope="module")
def run(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = tmp_path_factory.mktemp("scope")
    return trained(prepared([*ROWS, *OFF_TOPIC], directory), tiny_llama, directory / "runs", steps=2)


def test_redirections_are_recognised_in_three_ways() -> None:
    train = [example(row["question"], row["answer"]) for row in (*ROWS, *OFF_TOPIC)]
    recogniser = Recogniser.learn(train, r"(?i)ask me about \w+")
    assert recogniser.is_taught
    assert (recogniser.reason("Let us keep to questions about numbers!") or "").startswith("as in training")
    assert recogniser.reason("I'm sorry, but I can't help with that.") == "declines by its words"
    assert recogniser.reason("Better ask me about numbers.") == "matches the pattern: 'ask me about numbers'"
    assert recogniser.reason("7 is a number.") is None
    assert not Recogniser.learn([example("Hi", "Hello there, my friend.")], None).is_taught


def test_bad_patterns_are_errors() -> None:
    with pytest.raises(ConfigError, match="no regular expression"):
        Recogniser.learn([], "(")
    with pytest.raises(DataError, match="takes over 1 s"):
        Recogniser.learn([], "^(a|a|aa)+$").reason("a" * 60 + "b")


def test_the_held_out_split_is_divided_by_what_the_references_do(tmp_path: Path) -> None:
    data = prepared([*ROWS, *OFF_TOPIC], tmp_path)
    asked = from_held_out(data, CONFIG, Recogniser.learn(data.train, None))
    assert asked.off_topic
    assert all(one.prompt.startswith("Who sang") for one in asked.off_topic)
    assert len(asked.off_topic) + len(asked.on_topic) == len(data.test)
    assert all(one.messages[-1].role == "user" for one in asked.on_topic)


def test_general_questions_near_a_training_prompt_are_left_out() -> None:
    lines = (resources.files("tunesmith.evaluate.probing") / "general.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines]
    assert len(set(prompts)) == len(prompts) >= 75
    assert all(set(json.loads(line)) == {"prompt", "subject"} for line in lines)
    general = general_questions([example("What is the capital of Australia, please?"), example("What is the purpose of a test split?")])
    assert general.num_near == 1
    assert "What is the capital of Australia?" not in [one.prompt for one in general.questions]
    assert len(general.questions) == len(prompts) - 1


def test_rates_are_exact_and_pairs_are_tested() -> None:
    rate = rate_of([True] * 3 + [False] * 37, 0.95)
    assert rate.interval is not None
    assert [round(end, 4) for end in rate.interval] == [0.0157, 0.2039]  # Clopper-Pearson: R's binom.test(3, 40)
    assert rate.words == "3 of 40 (8 % [2, 20])"
    assert rate_of([], 0.95).words == "none asked"
    pairs = paired_rates([True] * 9 + [False], [False] * 8 + [True, True], 0.95)
    assert (pairs.num_gone, pairs.num_new) == (8, 1)
    assert pairs.p_value == pytest.approx(2 * 10 / 512)  # exact: two tails of 9 tosses with at most 1 head


def asked(side: str, base: bool, tuned: bool) -> Asked:
    reasons = {"base_redirects": "x" if base else None, "tuned_redirects": "x" if tuned else None}
    return Asked(side=side, origin="file", source="a:1", prompt="?", base="b", tuned="t", **reasons)  # type: ignore[arg-type]


def test_both_kinds_of_error_are_counted_on_their_side() -> None:
    answers = [asked("off-topic", False, True)] * 9 + [asked("off-topic", False, False)] + [asked("on-topic", False, False)] * 7
    answers += [asked("on-topic", False, True)] * 3
    recogniser = Recogniser.learn([example(row["question"], row["answer"]) for row in (*ROWS, *OFF_TOPIC)], None)
    settings = {"run_name": "r", "model_name": "m", "data_directory": "prepared/faq", "num_near": 0}
    report = build_report(answers, CONFIG, recogniser=recogniser, **settings)
    missed, needless = report.errors
    assert (missed.rates.base.count, missed.rates.tuned.count, missed.rates.num_gone) == (10, 1, 9)
    assert (needless.rates.base.count, needless.rates.tuned.count, needless.rates.num_new) == (0, 3, 3)
    assert [one.tuned_redirects for one in report.shown("off-topic", 5)] == [None]
    assert len(report.shown("on-topic", 2)) == 2
    assert "9 gone, 0 new, McNemar p = 0.004: fewer" in report.remarks[0]
    assert "p = 0.25: cannot tell yet" in report.remarks[1]
    assert any("answered examples" in command for command in report.commands)


def test_a_run_is_probed_and_the_result_is_kept(run: RunDirectory) -> None:
    own = [Question(origin="file", source="mine:1", messages=(Message(role="user", content="Sing!"),))]
    report = probe_scope(run, ScopeConfig(max_new_tokens=16, general=True, limit=12), off_topic=own)
    assert report.redirections == (REDIRECTION,)
    off_topic = [one for one in report.asked if one.side == "off-topic"]
    assert len(off_topic) == 12
    assert next(one.origin for one in report.errors if one.side == "off-topic") is None
    written = json.loads(run.scope_file.read_text(encoding="utf-8"))
    assert written["schema_version"] == 1
    assert len(written["asked"]) == len(report.asked)
    assert written["errors"][0]["rates"]["tuned"]["total"] == 12


def test_own_prompts_replace_the_held_out_ones_that_are_answered(run: RunDirectory) -> None:
    own = [Question(origin="file", source="mine:1", messages=(Message(role="user", content="What is 99?"),))]
    report = probe_scope(run, CONFIG, on_topic=own)
    assert [one.prompt for one in report.asked if one.side == "on-topic"] == ["What is 99?"]


def test_an_always_declining_pattern_makes_every_answer_on_the_subject_an_error(run: RunDirectory) -> None:
    report = probe_scope(run, CONFIG.model_copy(update={"pattern": r"(?s)^"}))
    assert not any(one.is_error("tuned") for one in report.asked if one.side == "off-topic")
    assert all(one.is_error("base") for one in report.asked if one.side == "on-topic")


def test_nothing_off_the_subject_is_an_error_that_says_what_to_do(tiny_llama: Path, tmp_path: Path) -> None:
    run = trained(prepared(ROWS, tmp_path), tiny_llama, tmp_path / "runs", steps=1)
    with pytest.raises(DataError, match="tunesmith synthesize redirections --scope"):
        probe_scope(run, CONFIG)
    report = probe_scope(run, CONFIG.model_copy(update={"general": True, "limit": 3}))
    assert any("teach no redirection" in remark for remark in report.remarks)
    assert any("tunesmith synthesize redirections" in command for command in report.commands)


def test_a_run_on_raw_text_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from tunesmith.train.train import train

    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": f"Line {n} of it."}) + "\n" for n in range(20)), encoding="utf-8")
    data = prepare([tmp_path / "text.jsonl"], tmp_path / "text", PrepareConfig(near_threshold=1))
    config = TrainConfig(model=str(tiny_llama), data=data.directory, max_steps=1, dtype="float32", estimate=False)
    with pytest.raises(RunError, match="trained on raw text"):
        probe_scope(train(config, runs_dir=tmp_path / "runs", name="run"), CONFIG)
