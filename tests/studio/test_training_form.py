"""From the form of a new run to a command line."""

from __future__ import annotations

import shlex

import pytest

from tunesmith.config import TrainConfig
from tunesmith.errors import ConfigError
from tunesmith.studio.training_form import FIELDS, check, parse, setting_words, train_words


def words(model: str = "m", **entered: object) -> list[str]:
    return train_words(data="prepared/faq", model=model, runs_dir="runs", name="faq", values=parse(entered))


def test_nothing_entered_is_the_plain_command() -> None:
    untouched = {field.name: field.default if field.kind == "choice" else "" for field in FIELDS}
    assert shlex.join(words(**untouched)) == "train prepared/faq --model=m --runs-dir=runs --name=faq"


def test_what_is_entered_is_a_flag() -> None:
    assert words(epochs="2", learning_rate="3e-4", lora_rank="8", method="full", seed="1")[2:-2] == [
        "--model=m",
        "--method=full",
        "--epochs=2",
        "--learning-rate=0.0003",
        "--lora-rank=8",
        "--seed=1",
    ]


@pytest.mark.parametrize(("name", "value"), [("epochs", "two"), ("max_steps", "2.5"), ("seed", "--name=x"), ("lora_rank", "1; rm")])
def test_what_is_no_number_is_said_by_its_label(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=next(field.label for field in FIELDS if field.name == name)):
        parse({name: value})


@pytest.mark.parametrize("model", ["--resume=x", "-h", "a b", "$(x)"])
def test_a_model_can_be_no_option(model: str) -> None:
    from tunesmith.cli.train import command

    made = train_words(data="prepared/faq", model=model, runs_dir="runs", name="faq", values={})
    with command.make_context("train", made[1:]) as context:
        assert context.params["model"] == model
        assert context.params["resume"] is None


def test_every_command_is_one_that_train_reads() -> None:
    from tunesmith.cli.train import command, settings

    entered = {field.name: field.choices[-1] if field.kind == "choice" else "9" for field in FIELDS}
    made = words(**entered)
    with command.make_context("train", made[1:]) as context:
        given = {key: value for key, value in context.params.items() if value is not None and value is not False}
    assert TrainConfig(**settings(given)) == check("prepared/faq", "m", parse(entered))


def test_a_setting_out_of_range_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="epochs is -1"):
        check("prepared/faq", "m", parse({"epochs": "-1"}))
    with pytest.raises(ConfigError, match="rank"):
        check("prepared/faq", "m", parse({"lora_rank": "0"}))


def test_a_number_keeps_its_digits() -> None:
    assert setting_words("m", parse({"learning_rate": "0.00012345678"})) == ["--model=m", "--learning-rate=0.00012345678"]
