"""An analysis in words, for the terminal: the table of error groups, then what to do, the worst first."""

from __future__ import annotations

from tunesmith.analyze.actions import Action
from tunesmith.analyze.results import Analysis, GroupResult

MOST_ACTIONS = 12
"""Shown; `actions.json` has all."""


def lines_of(analysis: Analysis) -> list[str]:
    """The whole summary; holds square brackets where answers do, so print it without markup."""
    return [*table_lines(analysis), *_change_lines(analysis), *_note_lines(analysis), *action_lines(analysis)]


def table_lines(analysis: Analysis) -> list[str]:
    """A line a group: how bad, how many answers of each model, fixed and newly broken."""
    labels, several = analysis.labels, len(analysis.labels) > 1
    width = max([28, *(len(group.title) + 2 for group in analysis.groups)])
    heads = "".join(f"{label:>8}" for label in labels) + (f"{'fixed':>8}{'newly broken':>14}" if several else "")
    lines = [f"{'severity':14}{'error group':{width}}{heads}"]
    lines += [_group_line(group, labels, width, several=several) for group in analysis.groups]
    none = "".join(f"{analysis.num_without_failure[label]:8}" for label in labels)
    return [*lines, f"{'':14}{'none':{width}}{none}   of {analysis.num_examples:,} answers{' each' if several else ''}"]


def _group_line(group: GroupResult, labels: tuple[str, ...], width: int, *, several: bool) -> str:
    counts = "".join(f"{group.counts[label]:8}" for label in labels)
    flips = f"{len(group.fixed):8}{len(group.newly_broken):14}" if several else ""
    return f"{group.severity:14}{'  ' if group.is_found else ''}{group.title:{width - 2 * group.is_found}}{counts}{flips}"


def _change_lines(analysis: Analysis) -> list[str]:
    changed = analysis.changes_by_kind()
    if len(analysis.labels) < 2 or not any(changed.values()):
        return []
    lines = ["", f"{len(changed['newly_right']):,} answers became right, {len(changed['newly_wrong']):,} became wrong"]
    sources = {failure.id: failure.source for failure in analysis.failures}
    return lines + [f"  {sources[one['id']]}: {one['sentence']}" for one in changed["newly_wrong"][:3]]


def _note_lines(analysis: Analysis) -> list[str]:
    return ["", *(f"note: {note}" for note in analysis.notes)] if analysis.notes else []


def action_lines(analysis: Analysis) -> list[str]:
    """What to do, numbered; groups that want the same stand together."""
    together: dict[tuple[object, ...], list[Action]] = {}
    for action in analysis.actions:
        key = (action.command, action.cause) if action.command and action.cause != "lacking" else (action.group, action.cause)
        together.setdefault(key, []).append(action)
    if not together:
        return []
    lines = ["", "what to do, the worst first"]
    for number, actions in enumerate(list(together.values())[:MOST_ACTIONS], start=1):
        titles = ", ".join(f"{action.title} ({action.num_failures})" for action in actions)
        lines.append(f"{number:3} {titles}: {actions[0].why}{_rows(actions[0])}")
        if actions[0].command:
            lines.append(f"      {actions[0].command}")
        elif actions[0].rows:
            lines.append(f"      review.csv proposes to {actions[0].decision} them")
    more = len(together) - MOST_ACTIONS
    return [*lines, *([f"    and {more} more in actions.json"] if more > 0 else [])]


def _rows(action: Action) -> str:
    if not action.rows:
        return ""
    return f" ({', '.join(row.source for row in action.rows[:3])}{', …' if len(action.rows) > 3 else ''})"
