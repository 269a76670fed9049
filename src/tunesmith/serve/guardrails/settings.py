"""The settings of all rules, from a YAML file and from single options.

    scope: true                         # a rule with its defaults
    pii: {on: both}
    profanity: {prompts: block, answers: mask}
    length: {max_prompt_characters: 4000}
    json_schema: {file: answer.schema.json, retries: 2}

A rule that is left out, or false, is off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from tunesmith.config import Settings, build
from tunesmith.errors import ConfigError
from tunesmith.serve.guardrails.json_schema import JsonSchemaSettings, read_schema
from tunesmith.serve.guardrails.length import LengthSettings
from tunesmith.serve.guardrails.pii import PiiSettings
from tunesmith.serve.guardrails.profanity import ProfanitySettings
from tunesmith.serve.guardrails.scope import ScopeSettings

RuleName = Literal["length", "pii", "profanity", "scope", "json_schema"]
RULES: tuple[RuleName, ...] = ("length", "pii", "profanity", "scope", "json_schema")


class GuardrailConfig(Settings):
    """Which rules are on, and how."""

    models: tuple[str, ...] | None = None
    """Names of the served models that they are for; None: all."""
    length: LengthSettings | None = None
    pii: PiiSettings | None = None
    profanity: ProfanitySettings | None = None
    scope: ScopeSettings | None = None
    json_schema: JsonSchemaSettings | None = Field(default=None)

    @field_validator(*RULES, mode="before")
    @classmethod
    def _on_or_off(cls, value: Any) -> Any:
        """`true` is a rule with its defaults, `false` none."""
        return {} if value is True else None if value is False else value

    @property
    def names(self) -> tuple[RuleName, ...]:
        """The rules that are on."""
        return tuple(name for name in RULES if getattr(self, name) is not None)


def load_settings(file: Path | None, overrides: Sequence[str] = ()) -> GuardrailConfig:
    """Read a file, and what stands over it: `scope.by=words`, `pii=true`.

    Raises:
        ConfigError: no such file, no YAML, an unknown key, a value that cannot be, or no rule at all.
    """
    values = {} if file is None else _read(file)
    for override in overrides:
        _put(values, override)
    place = "--set" if file is None else str(file)
    config = build(GuardrailConfig, values, place=place)
    if not config.names:
        raise ConfigError(place, "no rule is on", expected=f"one of {', '.join(RULES)}", remedy="switch one on, e.g. `scope: true`")
    if config.json_schema is not None and config.json_schema.file is not None:
        schema = read_schema(config.json_schema, Path() if file is None else file.parent)
        schema_settings = config.json_schema.model_copy(update={"definition": schema, "file": None})
        config = config.model_copy(update={"json_schema": schema_settings})
    return config


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = _parse(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(str(file), f"it cannot be read ({reason})", expected="a YAML file of rules", remedy="correct it") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigError(str(file), "no mapping", expected="a YAML file of rules such as `scope: true`", remedy="correct it")
    return found


def _parse(text: str) -> Any:
    """YAML whose only words for yes and no are `true` and `false`, as in YAML 1.2: 1.1 reads the keys and values `on` and `off` as such."""
    import yaml

    class Loader(yaml.SafeLoader):
        """With resolvers of its own."""

    boolean = "tag:yaml.org,2002:bool"
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.items()
    Loader.yaml_implicit_resolvers = {first: [one for one in known if one[0] != boolean] for first, known in resolvers}
    Loader.add_implicit_resolver(boolean, re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))
    return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader


def _put(values: dict[str, Any], override: str) -> None:
    import yaml

    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {override}", "not KEY=VALUE", expected="a setting such as scope.by=words", remedy="correct it")
    try:
        value = _parse(text)
    except yaml.YAMLError:
        raise ConfigError(
            f"--set {override}", "the value is no YAML", expected="a value such as 0.5 or [a, b]", remedy="quote it"
        ) from None
    inner = values
    for name in path[:-1]:
        below = inner.get(name)
        inner[name] = dict(below) if isinstance(below, Mapping) else {}
        inner = inner[name]
    inner[path[-1]] = value
