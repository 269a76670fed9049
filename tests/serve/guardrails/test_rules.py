"""Settings from YAML and options; rules in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import messages
from tunesmith.errors import ConfigError
from tunesmith.serve.guardrails.rules import Guardrails
from tunesmith.serve.guardrails.settings import GuardrailConfig, load_settings


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_and_what_stands_over_it(tmp_path: Path) -> None:
    file = write(tmp_path / "rules.yaml", "pii: true\nprofanity: false\nlength: {max_prompt_characters: 9}\n")
    config = load_settings(file, ["length.max_prompt_characters=7", "scope.by=words", "pii.on=answers"])
    assert config.names == ("length", "pii", "scope")
    assert config.length is not None
    assert config.length.max_prompt_characters == 7
    assert config.pii is not None
    assert config.pii.on == "answers"


def test_a_schema_lies_beside_the_settings(tmp_path: Path) -> None:
    write(tmp_path / "answer.json", '{"type": "object"}')
    config = load_settings(write(tmp_path / "rules.yaml", "json_schema: {file: answer.json, retries: 4}"))
    rails = Guardrails.from_config(config)
    assert rails.retries == 4
    assert not rails.streams_live
    assert rails.check_answer("[]", ()).is_retry
    assert not rails.check_answer("{}", ()).is_retry


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pii: {where: prompts}", "there is no setting 'pii.where'"),
        ("pij: true", "there is no setting 'pij'"),
        ("pii: {kinds: [name]}", "kinds"),
        ("scope: false", "no rule is on"),
        ("- pii", "no mapping"),
        ("{", "cannot be read"),
        ("length: {}", "max_prompt_characters"),
        ("length: true", "max_prompt_characters"),
        ("json_schema: {file: nowhere.json}", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        load_settings(write(tmp_path / "rules.yaml", text))


def test_missing_files_and_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="not KEY=VALUE"):
        load_settings(None, ["scope"])


def test_what_one_rule_masks_the_next_does_not_see() -> None:
    config = load_settings(None, ["pii=true", "length.max_prompt_characters=1000", "length.max_answer_characters=14", "json_schema=true"])
    rails = Guardrails.from_config(config)
    verdict = rails.check_prompt(messages(("u", "I am ann@firm.org.")))
    assert verdict.goes_on
    assert verdict.messages[0].content == "I am [EMAIL]."
    answer = rails.check_answer('["ann@firm.org", "bob@firm.org"]', verdict.messages)
    assert answer.is_retry  # cut to what is no JSON any more, which is found last
    assert [one.rule for one in answer.fired] == ["pii", "length", "json_schema"]


def test_without_rules_everything_passes() -> None:
    rails = Guardrails.from_config(GuardrailConfig())
    assert rails.streams_live
    assert not rails.checks_prompts
    assert rails.check_prompt(messages(("u", "Hi"))).goes_on
    assert rails.check_answer("Hi", ()).text == "Hi"


def test_a_stock_answer_is_looked_at_by_no_further_rule() -> None:
    rails = Guardrails.from_config(load_settings(None, ["profanity=true", "json_schema=true"]))
    verdict = rails.check_answer("shit", ())
    assert (verdict.finish, verdict.is_retry) == ("content_filter", False)
