"""How bad an error group is: by default as the catalogue says, else as the user does, in options or a file.

tunesmith analyze runs/faq --severity misspelt=catastrophic --severity severity.yaml

# severity.yaml
misspelt: catastrophic
too_long: minor
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tunesmith.analyze.catalogue import ERROR_GROUPS, GROUP_NAMES
from tunesmith.analyze.groups import SEVERITIES, Severity
from tunesmith.config import AnalyzeConfig
from tunesmith.errors import ConfigError

FOUND = "found"
"""All groups that were found by their likeness, together."""


def read_severities(given: Iterable[str]) -> dict[str, Severity]:
    """From `GROUP=SEVERITY` and YAML files, later ones deciding.

    Raises:
        ConfigError: no such group, severity or file.
    """
    severities: dict[str, Severity] = {}
    for one in given:
        group, equals, severity = one.partition("=")
        values = {group.strip(): severity.strip()} if equals else _read_file(Path(one))
        severities |= {name: _checked(name, value, one) for name, value in values.items()}
    return severities


def _read_file(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = f"{path} cannot be read ({str(error).splitlines()[0]})"
        raise ConfigError("--severity", found, expected="GROUP=SEVERITY, or a YAML file of such pairs", remedy="correct it") from None
    if not isinstance(values, dict):
        raise ConfigError(str(path), "no pairs of group and severity", expected="lines such as `misspelt: minor`", remedy="correct it")
    return values


def _checked(group: object, severity: object, place: str) -> Severity:
    if group not in (*GROUP_NAMES, FOUND):
        known = ", ".join((*GROUP_NAMES, FOUND))
        raise ConfigError(
            f"--severity {place}", f"there is no error group {group!r}", expected=f"one of {known}", remedy="correct the name"
        )
    if severity not in SEVERITIES:
        raise ConfigError(
            f"--severity {place}", f"the severity {severity!r}", expected=f"one of {', '.join(SEVERITIES)}", remedy="choose one of them"
        )
    return severity


def severity_of(group: str, config: AnalyzeConfig) -> Severity:
    """Of a group of the catalogue, or of one that was found."""
    own: dict[str, Severity] = {one.name: one.severity for one in ERROR_GROUPS}
    return config.severity.get(group) or own.get(group) or config.severity.get(FOUND, "major")


def rank(severity: Severity) -> int:
    """0 for the worst."""
    return SEVERITIES.index(severity)
