"""What to do about an error group: an exact command, rows to edit or drop, or a setting to change.

    {"group": "too_short", "kind": "synthesize", "cause": "lacking", "why": "9 of 12 failures have no training prompt near them (…)",
     "command": "tunesmith synthesize errors runs/faq --groups too_short --count 90 …", "rows": []}

In this order: rows that teach the fault, rows that contradict the references, examples that are missing, and where none of these is it,
the setting that is.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunesmith.analyze.evidence import Evidence, TrainingRow
from tunesmith.analyze.groups import ErrorGroup, Severity

Kind = Literal["rows", "synthesize", "setting"]
Cause = Literal["faulty", "contradicting", "lacking", "limit", "training"]

TEACHER = "--teacher URL --teacher-model MODEL"
"""Left for the user to fill in."""
LACKING_SHARE = 0.25
"""Of the failures, from which examples are said to be missing."""
FAULTY_SHARE = 0.01
"""Of the training answers, from which faulty ones explain a group; fewer are still to be looked at."""
RECALLING_SHARE = 0.05
"""Of all answers, from which recalled training answers mean that the run went over the data too often."""
PER_FAILURE = 10
"""New examples for each failure that has none near it."""
FEWEST_NEW, MOST_NEW = 20, 1000
TOKENS_STEP = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What was analysed, as commands name it."""

    analysed: Path | None = None
    """A run, or the directory of an analysis before training; None where neither is on the disk."""
    data: Path | None = None
    """A prepared directory."""
    model: str = "MODEL"
    trained_epochs: float | None = None
    """None before any training."""
    has_turned: bool = False
    """The validation loss was lowest before the end of the training."""
    options: str = ""
    """Of the command that made the answers, beside `--max-new-tokens`: `--limit 60`."""
    max_new_tokens: int | None = None
    longest_reference: int = 0
    """Tokens, of all examples answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """A proposal, with what it rests on."""

    group: str
    title: str
    severity: Severity
    num_failures: int
    kind: Kind
    cause: Cause
    why: str
    command: str | None = None
    """As it is typed; capitals are to be filled in. For rows: `review.csv` decides, and the command that applies it."""
    decision: Literal["drop", "edit"] | None = None
    """What `review.csv` proposes for the rows."""
    rows: tuple[TrainingRow, ...] = ()


def propose(
    group: ErrorGroup | None, name: str, title: str, severity: Severity, evidence: Evidence, origin: Origin, *, recites: bool
) -> list[Action]:
    """At least one action for a group with failures.

    Args:
        group: of the catalogue; None for one that was found.
        name: the group's.
        title: for people.
        severity: as the user set it.
        evidence: from the training data.
        origin: what was analysed.
        recites: `RECALLING_SHARE` of the answers are recalled; decided once, for no run can be trained both longer and shorter.
    """
    count = len(evidence.neighbourhoods)
    made: list[tuple[Kind, Cause, str, str | None, Literal["drop", "edit"] | None, tuple[TrainingRow, ...]]] = []
    if evidence.faulty:
        show = "shows" if len(evidence.faulty) == 1 else "show"
        why = f"{len(evidence.faulty)} of {evidence.num_examined:,} training answers ({_share(evidence):.1%}) {show} the same fault"
        made.append(("rows", "faulty", why, None, "drop" if group and group.spoils_row else "edit", evidence.faulty))
    if evidence.contradicting:
        why = f"{len(evidence.contradicting)} training answers contradict the references of failed examples"
        made.append(("rows", "contradicting", why, None, "edit", evidence.contradicting))
    if name == "cut" and (action := _limit_of(origin)):
        made.append(("setting", "limit", *action, None, ()))
    elif evidence.num_lacking and evidence.num_lacking >= LACKING_SHARE * count:
        usual = "" if evidence.usual_similarity is None else f"; usual here {evidence.usual_similarity:.2f}"
        nearest = f"no training prompt near them (nearest training example {evidence.median_similarity:.2f}{usual})"
        why = f"the data lack such examples: {evidence.num_lacking} of {count} failures have {nearest}"
        made.append(("synthesize", "lacking", why, _synthesis(name, evidence.num_lacking, origin), None, ()))
    is_explained = any(kind != "rows" for kind, *_ in made) or evidence.contradicting or _share(evidence) >= FAULTY_SHARE
    if name == "no_end" or (name == "memorised" and recites) or not is_explained:
        why_more = None if recites or origin.trained_epochs is None else _why_more(name, origin)
        if why_more:
            made.append(("synthesize", "lacking", why_more, _synthesis(name, count, origin), None, ()))
        else:
            made.append(("setting", "training", *_training(name, origin, recites=recites), None, ()))
    return [
        Action(
            group=name,
            title=title,
            severity=severity,
            num_failures=count,
            kind=kind,
            cause=cause,
            why=why,
            command=command,
            decision=decision,
            rows=rows,
        )
        for kind, cause, why, command, decision, rows in made
    ]


def _limit_of(origin: Origin) -> tuple[str, str | None] | None:
    """More room, where the references need it."""
    limit = origin.max_new_tokens
    if limit is None or origin.longest_reference < limit:
        return None
    room = math.ceil(1.25 * origin.longest_reference / TOKENS_STEP) * TOKENS_STEP
    why = f"the longest reference has {origin.longest_reference:,} tokens, answers get {limit:,}"
    return why, _again(origin, f"--max-new-tokens {room}")


def _again(origin: Origin, options: str) -> str:
    options = f"{origin.options} {options}".strip()
    if origin.trained_epochs is None:
        return f"tunesmith analyze {_quoted(origin.data or 'DATA')} --model {shlex.quote(origin.model)} {options}"
    return f"tunesmith evaluate {_quoted(origin.analysed or 'RUN')} {options}"


def _synthesis(name: str, num_lacking: int, origin: Origin) -> str:
    count = min(MOST_NEW, max(FEWEST_NEW, PER_FAILURE * num_lacking))
    out = f"synth/{name.replace(':', '-')}"
    where = _quoted(origin.analysed or "RUN")
    return f"tunesmith synthesize errors {where} --groups {shlex.quote(name)} --count {count} {TEACHER} --out {shlex.quote(out)}"


def _share(evidence: Evidence) -> float:
    """Of the training answers, those that show the fault."""
    return len(evidence.faulty) / max(evidence.num_examined, 1)


def _why_more(name: str, origin: Origin) -> str | None:
    """Why training longer would not help, though near examples were trained on; None where it may."""
    if name == "memorised":
        return "few answers are recalled: examples that tell these questions from the others"
    return (
        "near examples were trained on, and longer training made the validation loss rise: more such examples"
        if origin.has_turned
        else None
    )


def _training(name: str, origin: Origin, *, recites: bool) -> tuple[str, str | None]:
    data, model = _quoted(origin.data or "DATA"), shlex.quote(origin.model)
    train, epochs = f"tunesmith train {data} --model {model}", origin.trained_epochs
    if epochs is None:
        return "the data have examples near these failures: training may be all it takes", train
    if recites and epochs > 1:
        why = f"the run went {epochs:g} times over the data, and recalls training answers: train less"
        return why, f"{train} --epochs {max(1.0, epochs / 2):g}"
    if recites:
        return "the run recalls training answers after one epoch: a lower rate", f"{train} --learning-rate 1e-4"
    near = "ending the turn is learnt late" if name == "no_end" else "near examples were trained on, and do not contradict"
    return f"{near}: train longer", f"{train} --epochs {epochs + max(1.0, epochs / 2):g}"


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))


def rows_to_review(actions: Sequence[Action]) -> dict[str, tuple[TrainingRow, str, str]]:
    """Row id to the row, the groups that name it, and the decision proposed: to drop wins over to edit."""
    rows: dict[str, tuple[TrainingRow, str, str]] = {}
    for action in actions:
        for row in action.rows:
            assert action.decision is not None
            known = rows.get(row.id)
            groups = dict.fromkeys([*(known[1].split(",") if known else ()), action.group])
            decision = "drop" if "drop" in (action.decision, known[2] if known else "") else "edit"
            rows[row.id] = (row, ",".join(groups), decision)
    return rows
