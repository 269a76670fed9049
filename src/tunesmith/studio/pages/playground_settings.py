"""How the playground generates: sampling, the system message, guardrails on or off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nicegui import ui

from tunesmith.errors import ConfigError
from tunesmith.studio.pages.playground_rules import ChosenRules, find_rules_file, rules_files
from tunesmith.studio.widgets import alert, muted

ENTRY = "outlined dense stack-label"
RULES = {"pii": "Personal data, masked", "profanity": "Vulgar words, blocked", "scope": "Questions off the subject, redirected"}
"""Guardrails that need no settings of their own; scope takes its redirection from the run's data, and says so where there is none."""
FIRST_RULES = ["pii", "profanity"]
ABOUT_RULES = "With their defaults, around both models; answers that a rule looks at come when they are whole."
ABOUT_FILE = "As tunesmith serve --guardrails takes the file; answers that a rule looks at come when they are whole."
NUMBERS = (
    ("temperature", "Temperature (0: greedy)", "0", float),
    ("top_p", "Top p", "1", float),
    ("max_new_tokens", "Most new tokens", "256", int),
    ("seed", "Seed", "0", int),
)


class PlaygroundSettings:
    """The controls, folded away until somebody wants them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """See the class; rules files may lie in the folders and below."""
        self._folders = folders
        self._numbers: dict[str, tuple[ui.input, str, Any]] = {}
        with ui.expansion("Sampling and system message").classes("ts-wide").props("dense"), ui.element("div").classes("ts-column ts-wide"):
            with ui.element("div").classes("ts-fields"):
                for name, label, default, kind in NUMBERS:
                    entry = ui.input(label, value=default).props(ENTRY).props("inputmode=decimal autocomplete=off")
                    self._numbers[name] = entry, label, kind
            self._stop = ui.textarea("Stop strings, one a line").props(ENTRY).props("autogrow rows=1")
            self._system = ui.textarea("System message").props(ENTRY).props("autogrow rows=1")
        with ui.element("div").classes("ts-row ts-wide"):
            self._guardrails = ui.switch("Guardrails", on_change=self._show_rules).props("dense")
            self._rules = ui.select(RULES, value=FIRST_RULES, multiple=True, label="Rules").props(ENTRY).props("options-dense use-chips")
            self._file = ui.select(
                rules_files(folders),
                label="Rules file",
                with_input=True,
                new_value_mode="add-unique",
                clearable=True,
                on_change=self._check,
            )
            self._file.props(ENTRY).props("options-dense").classes("ts-choice")
        self._about = muted("").classes("ts-small")
        self._problem = alert("")
        self._show_rules()

    def _show_rules(self) -> None:
        is_on, has_file = bool(self._guardrails.value), bool(self._file.value)
        self._rules.visible = is_on and not has_file
        self._file.visible = self._about.visible = is_on
        self._about.text = ABOUT_FILE if has_file else ABOUT_RULES
        self._problem.visible = is_on and has_file and bool(self._problem.text)

    def _check(self) -> None:
        """Say at once what is wrong with the file."""
        self._problem.text = ""
        try:
            self.rules().settings()
        except ConfigError as error:
            self._problem.text = str(error)
        self._show_rules()

    def values(self) -> dict[str, Any]:
        """For `GenerateConfig`.

        Raises:
            ValueError: an entry is no number; the message names its label.
        """
        found: dict[str, Any] = {"stop": tuple(line for line in (self._stop.value or "").split("\n") if line)}
        for name, (entry, label, kind) in self._numbers.items():
            try:
                found[name] = kind((entry.value or "").strip())
            except ValueError:
                noun = "whole number" if kind is int else "number"
                raise ValueError(f"{label}: {str(entry.value)[:80]!r} is no {noun}") from None
        return found

    @property
    def system_message(self) -> str:
        """Empty where there is none."""
        return str(self._system.value or "").strip()

    def rules(self) -> ChosenRules:
        """The guardrails that are on; names in a fixed order.

        Raises:
            ConfigError: the file is none that may be used.
        """
        if not self._guardrails.value:
            return ChosenRules()
        if self._file.value:
            return ChosenRules(file=find_rules_file(str(self._file.value), self._folders))
        return ChosenRules(names=tuple(name for name in RULES if name in (self._rules.value or [])))
