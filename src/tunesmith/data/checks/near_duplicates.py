"""Examples that say nearly what an earlier one says (`data/comparing/neighbours.py` tells what counts)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, counted, excerpt, percent
from tunesmith.data.comparing.near import Positions
from tunesmith.data.comparing.neighbours import Neighbours, asked
from tunesmith.types import Example

NAME = "near-duplicates"
SERIOUS_SHARE = 0.05
"""From this share on they weigh on what is learned."""


def find(examples: Sequence[Example], context: CheckContext, near: Neighbours) -> list[Finding]:
    """One finding, or none; flagged are all but the first of each cluster."""
    copies = np.flatnonzero(near.examples != np.arange(len(near.examples)))
    if not len(copies):
        return []
    share = len(copies) / len(examples)
    largest = _largest(near.examples)
    sentence = (
        f"{counted(len(copies), 'example')} ({percent(share)}) nearly repeat{'s' if len(copies) == 1 else ''} an earlier one"
        f"; the largest cluster has {counted(largest, 'example')}"
    )
    specimens = [_specimen(examples, int(copy), int(near.examples[copy])) for copy in copies[:MOST_SPECIMENS]]
    return [
        Finding(
            check=NAME,
            sentence=sentence,
            severity="warning" if share >= SERIOUS_SHARE else "note",
            count=len(copies),
            share=share,
            specimens=tuple(specimens),
            flagged=tuple(copies.tolist()),
            action=context.action(NAME),
            option=f"--drop {NAME}",
            figures={
                "clusters": len(np.unique(near.examples[copies])),
                "largest_cluster": largest,
                "threshold": context.threshold,
                "prompts_near_an_earlier_one": int((near.prompts != np.arange(len(near.prompts))).sum()),
            },
        )
    ]


def _largest(clusters: Positions) -> int:
    return int(np.bincount(clusters).max())


def _specimen(examples: Sequence[Example], copy: int, first: int) -> Specimen:
    one, other = examples[first], examples[copy]
    shown = f"{excerpt(asked(one), length=70)} ≈ {excerpt(asked(other), length=70)}"
    return Specimen(source=f"{one.source} and {other.source}", excerpt=shown)
