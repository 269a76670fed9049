"""Settings of rules as people write them."""

from __future__ import annotations

from pathlib import Path

from tunesmith.serve.guardrails.settings import load_settings


def test_on_and_off_are_words(tmp_path: Path) -> None:
    """YAML 1.1 reads them as true and false, as a key too."""
    file = tmp_path / "rules.yaml"
    file.write_text("scope: true\npii: {on: both}\nprofanity: {prompts: off, answers: mask}\nlength: false\n", encoding="utf-8")
    config = load_settings(file)
    assert config.names == ("pii", "profanity", "scope")
    assert config.pii is not None
    assert config.pii.on == "both"
    assert config.profanity is not None
    assert (config.profanity.prompts, config.profanity.answers) == ("off", "mask")


def test_on_and_off_in_single_options() -> None:
    config = load_settings(None, ["pii.on=answers", "profanity.prompts=off"])
    assert config.pii is not None
    assert config.pii.on == "answers"
    assert config.profanity is not None
    assert config.profanity.prompts == "off"
