"""New tasks from seed tasks (self-instruct, Wang et al. 2023, arXiv:2212.10560; in one request a batch, as Alpaca did).

A request shows three seeds (or two and one new task) and asks for more of other kinds. A new instruction is kept if its ROUGE-L with every
instruction so far, seeds included, is below the limit (0.7 in section 2.2 of the paper).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from tunesmith.chat.calls import Call
from tunesmith.chat.replies import read_records
from tunesmith.config import SynthesizeConfig
from tunesmith.synthesize.candidates import Candidate
from tunesmith.synthesize.recipes.recipe import dice, request
from tunesmith.types import Example

SHOWN = 3
CALLS = 8
"""A round; few, so that new tasks come into the requests soon."""
LENGTHS_TOLERANCE = 1.5
"""ROUGE counts words a little differently from `split`."""
NOT_FOR_TEXT = re.compile(
    r"\b(?:images?|pictures?|photos?|videos?|draw|plot|charts?|audio|music file|spreadsheet|browse|website link)\b", re.IGNORECASE
)
"""What a language model cannot see or make (the paper's section 2.2 filters such words as well)."""
INSTRUCTIONS = """\
Below are tasks that a text assistant has been given, as a JSON list. Write {count} new ones.

- Each is of another kind or about another subject than those below and than each other; vary verbs, form and length.
- Each can be done by writing text alone, without pictures, sound, files or the internet.
- "input" is the text the task works on, where it needs one; else an empty string.
- "output" is a correct and complete answer.

Reply with nothing but a JSON list: [{{"instruction": "…", "input": "…", "output": "…"}}]"""


class Instructions:
    """As many rounds as it takes."""

    name = "instructions"

    def __init__(self, seeds: Sequence[Example], config: SynthesizeConfig) -> None:
        self._seeds = [_task_of(seed) for seed in seeds]
        self._config = config
        self._known = [seed["instruction"] for seed in self._seeds]

    def rounds(self, kept: Sequence[Candidate]) -> Iterator[list[Call]]:
        number = 0
        while True:
            yield [self._call(number, place, kept) for place in range(CALLS)]
            number += 1

    def _call(self, number: int, place: int, kept: Sequence[Candidate]) -> Call:
        chance = dice(self._config.seed, "instructions", number, place)
        shown = chance.sample(self._seeds, min(SHOWN, len(self._seeds)))
        if kept and len(shown) == SHOWN:
            new = chance.choice(kept)
            shown[-1] = {**{"instruction": new.prompt, "input": ""}, **new.fields, "output": new.completion}
        instructions = INSTRUCTIONS.format(count=self._config.per_item)
        return Call(key=f"instructions {number}.{place}", messages=request(instructions, _json(shown)))

    def candidates(self, call: Call, reply: str) -> list[Candidate]:
        del call
        made = []
        for record in read_records(reply, "instruction", "output"):
            fields = {"instruction": record["instruction"], "input": record.get("input", "")}
            prompt = "\n\n".join(value for value in fields.values() if value)
            made.append(Candidate(prompt=prompt, completion=record["output"], fields=fields))
        return made

    def fault(self, candidate: Candidate) -> str | None:
        """Asked in order, and for kept ones remembered: the caller keeps what has no fault here, unless it is a duplicate."""
        instruction = candidate.fields["instruction"]
        if NOT_FOR_TEXT.search(instruction):
            return "a language model cannot see or make what it asks for"
        highest = max((self._similarity(instruction, known) for known in self._known), default=0.0)
        if highest >= self._config.max_similarity:
            return f"its instruction is like an earlier one (ROUGE-L {highest:.2f})"
        self._known.append(instruction)
        return None

    @cached_property
    def _scorer(self) -> Any:
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer(["rougeL"], use_stemmer=False)

    def _similarity(self, one: str, other: str) -> float:
        """ROUGE-L's F measure; what lengths alone rule out is not computed, for this is asked of every pair."""
        lengths = sorted((len(one.split()), len(other.split())))
        if 2 * lengths[0] < self._config.max_similarity * sum(lengths) / LENGTHS_TOLERANCE:
            return 0.0
        return float(self._scorer.score(one, other)["rougeL"].fmeasure)


def _task_of(seed: Example) -> dict[str, str]:
    fields = {"instruction": seed.fields.get("instruction", seed.prompt), "input": seed.fields.get("input", "")}
    return {**fields, "output": seed.reference}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
