"""How the playground generates: sampling, the system message, guardrails on or off."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from tunesmith.studio.widgets import muted

ENTRY = "outlined dense stack-label"
RULES = {"pii": "Personal data, masked", "profanity": "Vulgar words, blocked", "scope": "Questions off the subject, redirected"}
"""Guardrails that need no settings of their own; scope takes its redirection from the run's data, and says so where there is none."""
FIRST_RULES = ["pii", "profanity"]
NUMBERS = (
    ("temperature", "Temperature (0: greedy)", "0", float),
    ("top_p", "Top p", "1", float),
    ("max_new_tokens", "Most new tokens", "256", int),
    ("seed", "Seed", "0", int),
)


class PlaygroundSettings:
    """The controls, folded away until somebody wants them."""

    def __init__(self) -> None:
        self._numbers: dict[str, tuple[ui.input, str, Any]] = {}
        with ui.expansion("Sampling and system message").classes("ts-wide").props("dense"), ui.element("div").classes("ts-column ts-wide"):
            with ui.element("div").classes("ts-fields"):
                for name, label, default, kind in NUMBERS:
                    entry = ui.input(label, value=default).props(ENTRY).props("inputmode=decimal autocomplete=off")
                    self._numbers[name] = entry, label, kind
            self._stop = ui.textarea("Stop strings, one a line").props(ENTRY).props("autogrow rows=1")
            self._system = ui.textarea("System message").props(ENTRY).props("autogrow rows=1")
        with ui.element("div").classes("ts-row"):
            self._guardrails = ui.switch("Guardrails", on_change=self._show_rules).props("dense")
            self._rules = ui.select(RULES, value=FIRST_RULES, multiple=True, label="Rules").props(ENTRY).props("options-dense use-chips")
        self._about = muted("With their defaults, around both models; answers that a rule looks at come when they are whole.")
        self._about.classes("ts-small")
        self._show_rules()

    def _show_rules(self) -> None:
        self._rules.visible = self._about.visible = bool(self._guardrails.value)

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

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the guardrails that are on, in a fixed order."""
        return tuple(name for name in RULES if self._guardrails.value and name in (self._rules.value or []))
