"""Which guardrails the playground puts around its models: rules with their defaults, or a file as `serve --guardrails FILE` takes it.

>>> chosen = ChosenRules(file=find_rules_file("guardrails.yaml", folders))
>>> open_guards(chosen.settings(), run, {"base": base, "tuned": tuned})["tuned"].check_prompt(messages)
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunesmith.config import build
from tunesmith.errors import ConfigError
from tunesmith.runs import RunDirectory
from tunesmith.studio.pages.rate_standing import of_this_making
from tunesmith.studio.widgets import shown_path

if TYPE_CHECKING:  # they load torch, which a studio without questions needs not
    from tunesmith.serve.guarding import Guard
    from tunesmith.serve.guardrails.settings import GuardrailConfig
    from tunesmith.together import ServedModel

Side = Literal["base", "tuned"]
SUFFIXES = (".yaml", ".yml", ".json")
MOST_BYTES = 64 * 1024
MOST_LISTED = 50
_A_RULE = re.compile(rb"""^[\s{"']*(length|pii|profanity|scope|json_schema)["']?\s*:""", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class ChosenRules:
    """What somebody wants; neither: no guardrails."""

    names: tuple[str, ...] = ()
    """Of rules with their defaults."""
    file: Path | None = None
    """Of rules; stands in place of the names."""

    def settings(self) -> GuardrailConfig | None:
        """What to open.

        Raises:
            ConfigError: the file cannot be used.
        """
        from tunesmith.serve.guardrails.settings import GuardrailConfig, load_settings

        if self.file is not None:
            return load_settings(self.file)
        return build(GuardrailConfig, dict.fromkeys(self.names, True), place="guardrails") if self.names else None


def find_rules_file(name: str, folders: Sequence[Path]) -> Path:
    """A file by its path, as one would type it where the studio was started.

    Args:
        name: relative or absolute.
        folders: in or below one of which it must lie, with links followed.

    Raises:
        ConfigError: it lies elsewhere, there is none, or it cannot be one of rules.
    """
    shown = f"{name[:120]!r}"
    try:
        file = Path(name).resolve()
        is_ours = any(file.is_relative_to(folder.resolve()) for folder in folders)
        size = file.stat().st_size if is_ours and file.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a character that no path has
        file, is_ours, size = Path(), True, None
    if not is_ours:
        places = ", ".join(str(folder) for folder in folders)
        raise ConfigError("the rules file", f"{shown} lies elsewhere", expected=f"a file in {places}", remedy="copy it there")
    if size is None:
        raise ConfigError("the rules file", f"there is no file {shown}", expected="a YAML file of rules", remedy="correct its name")
    if file.suffix.lower() not in SUFFIXES or size > MOST_BYTES:
        expected = f"a file that ends in {', '.join(SUFFIXES)}, of at most {MOST_BYTES // 1024} KiB"
        raise ConfigError("the rules file", f"{shown}, {size:,} bytes", expected=expected, remedy="choose another")
    return Path(shown_path(file))


def rules_files(folders: Sequence[Path]) -> list[str]:
    """Those that lie directly in the folders and name a rule, to choose from."""
    found: dict[str, None] = {}
    for folder in folders:
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(SUFFIXES) and not entry.name.startswith("."))
        except OSError:  # the folder is made later
            continue
        for name in names:
            if len(found) < MOST_LISTED and _names_a_rule(folder / name):
                found[shown_path((folder / name).resolve())] = None
    return list(found)


def _names_a_rule(file: Path) -> bool:
    try:
        return file.is_file() and file.stat().st_size <= MOST_BYTES and _A_RULE.search(file.read_bytes()) is not None
    except OSError:
        return False


def open_guards(config: GuardrailConfig, run: RunDirectory, models: Mapping[Side, ServedModel]) -> dict[Side, Guard]:
    """The rules of each model that they are for; a run's own data say what is on its subject.

    Raises:
        ConfigError: they are for other models, or a rule needs what is not there.
        DataError, RunError, AssetError: what a rule needs is gone.
        Unreadable: the run's record is damaged.
    """
    from tunesmith.serve.guardrails.rules import Guardrails

    with of_this_making(f"run.json of {run.name}"):
        names: dict[Side, str] = {"base": str(run.record()["model"]["name"]), "tuned": run.name}
    sides = [side for side in models if config.models is None or names[side] in config.models]
    if not sides:
        found = f"rules for {', '.join(config.models or ())} alone"
        expected = f"{names['tuned']} or {names['base']}"
        raise ConfigError("guardrails", found, expected=expected, remedy="add it to `models`, or leave `models` out")
    return {side: Guardrails.from_config(config, run=run, count_tokens=_counter(models[side])) for side in sides}


def _counter(model: ServedModel) -> Callable[[str], int]:
    return lambda text: len(model.renderer.text_prompt_ids(text))
