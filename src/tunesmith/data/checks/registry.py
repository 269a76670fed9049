"""Every check by its name. Modules are imported when a check is wanted, so that asking for one loads no other's libraries.

Most look at one example after another (`Check`); some need all of them at once, a few also which are nearly the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

from tunesmith.data.checks.finding import Check, CheckContext, Finding
from tunesmith.errors import ConfigError
from tunesmith.types import Example

if TYPE_CHECKING:
    from tunesmith.data.comparing.neighbours import Neighbours


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Where a check is made, and what it looks for."""

    maker: str
    """`module:function` in this package. By `scope`, it is called as `make(context)` and gives a new check, as
    `find(examples, context)`, or as `find(examples, context, near)`, and gives findings."""
    about: str
    """For lists of the checks, in a line."""
    by_default: bool = True
    """Does `tunesmith check` run it unasked?"""
    in_prepare: bool = True
    """Does `prepare`, too? It runs what is cheap, and what it may act on."""
    scope: Literal["each", "all", "near", "with"] = "each"
    """What it looks at: each example by itself, all of them, all and which are nearly the same; or it comes with another check."""


CHECKS: dict[str, Entry] = {
    "empty-answer": Entry(maker="answers:empty", about="answers that say nothing"),
    "placeholder-answer": Entry(maker="answers:placeholder", about="TODO, N/A, lorem ipsum, [insert …] where an answer should be"),
    "repeated-prompt": Entry(maker="answers:repeated_prompt", about="answers that repeat the prompt"),
    "mojibake": Entry(maker="mojibake:mojibake", about="text that was decoded wrongly, such as donâ€™t"),
    "control-characters": Entry(maker="control_characters:control_characters", about="control and invisible characters"),
    "template-residue": Entry(
        maker="residue:template_residue", about="a prompt template, chat markers or unfilled places left in the text"
    ),
    "pii": Entry(maker="pii:pii", about="e-mail addresses, phone and card numbers, IBANs, IP addresses, keys and tokens"),
    "pii-names": Entry(maker="names:names", about="names of people (needs the extra pii)", by_default=False),
    "profanity": Entry(maker="profanity:profanity", about="vulgar words"),
    "truncated-answer": Entry(maker="truncated:truncated", about="answers cut off in mid-sentence"),
    "machine-phrasing": Entry(maker="phrasing:machine_phrasing", about="phrases of chat assistants, such as `as an AI language model`"),
    "same-opening": Entry(maker="openings:same_opening", about="many answers that open with the same words"),
    "repeated-phrases": Entry(maker="phrases:repeated_phrases", about="word sequences that come again and again"),
    "refusals": Entry(maker="refusals:refusals", about="answers that decline, and stock answers to many prompts"),
    "class-balance": Entry(maker="balance:class_balance", about="how often each class stands as an answer"),
    "over-length": Entry(maker="lengths:over_length", about="examples longer than the model's context"),
    "length-outliers": Entry(maker="lengths:length_outliers", about="answers much shorter or longer than the others"),
    "lengths": Entry(maker="lengths:lengths", about="how long prompts and answers are"),
    "near-duplicates": Entry(maker="near_duplicates:find", about="examples that say nearly what an earlier one says", scope="near"),
    "contradictions": Entry(maker="contradictions:find", about="the same prompt with answers that do not go together", scope="near"),
    "different-answers": Entry(
        maker="contradictions:find",
        about="the same prompt with answers in other words (found by contradictions)",
        by_default=False,
        scope="with",
    ),
    "leakage": Entry(maker="leakage:find", about="held-out examples that stand in the training examples", scope="all"),
    "benchmark-overlap": Entry(maker="overlap:find", about="questions of benchmarks among the examples", scope="all"),
    "languages": Entry(maker="languages:languages", about="which languages the answers are in"),
    "diversity": Entry(maker="diversity:diversity", about="how varied prompts and answers are"),
    "topics": Entry(maker="topics:find", about="what the set is about", scope="all", in_prepare=False),
}
"""In the order in which they are listed for people."""


def default_checks() -> tuple[str, ...]:
    """The names of those that run without being asked for."""
    return tuple(name for name, entry in CHECKS.items() if entry.by_default)


def prepare_checks() -> tuple[str, ...]:
    """The names of those that `prepare` runs unasked."""
    return tuple(name for name, entry in CHECKS.items() if entry.by_default and entry.in_prepare)


def require_checks(names: Collection[str]) -> None:
    """Refuse what is not in the catalogue.

    Raises:
        ConfigError: naming what is.
    """
    unknown = sorted(set(names) - CHECKS.keys())
    if unknown:
        raise ConfigError("checks", f"there is no check {unknown[0]!r}", expected=f"some of {', '.join(CHECKS)}", remedy="correct the name")


def make_checks(names: Collection[str], context: CheckContext) -> list[Check]:
    """New checks of those that look at one example after another, in the order of the catalogue."""
    chosen = [entry for name, entry in CHECKS.items() if name in names and entry.scope == "each"]
    return [cast(Check, _function(entry)(context)) for entry in chosen]


def needs_neighbours(names: Collection[str]) -> bool:
    """Whether one of them asks which examples are nearly the same."""
    return any(CHECKS[name].scope == "near" for name in names)


def find_in_all(names: Collection[str], examples: Sequence[Example], context: CheckContext, near: Neighbours | None) -> list[Finding]:
    """What those say that need all examples at once; those that need `near` are left out where it is None."""
    found: list[Finding] = []
    for name, entry in CHECKS.items():
        if name in names and entry.scope == "all":
            found += _function(entry)(examples, context)
        elif name in names and entry.scope == "near" and near is not None:
            found += _function(entry)(examples, context, near)
    return found


def _function(entry: Entry) -> Any:
    module, _, function = entry.maker.partition(":")
    return getattr(import_module(f"tunesmith.data.checks.{module}"), function)
