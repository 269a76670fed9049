"""Does the measure of leakage find what leaks from training into the test, and nothing else?

    python bench/leaks.py [FILE]          # default: the built-in data set

Half of the examples train and half test. Into the training half go, at prompts that the seed chooses, test prompts as they are, in other
letters and spacing, with one slip of the pen or one word more, and test texts quoted whole inside longer ones. An example that
leaks before anything is planted is left out of both halves. Recall: planted test examples that are counted as leaked. Precision: planted
ones of all that are. Prints a line for each kind, over five seeds.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from data_checks import load
from planting import nearly
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.checks.leakage import measure_leakage
from tunesmith.data.converting.examples import build_example
from tunesmith.types import Example, Message

SEEDS = range(5)
PER_KIND = 20

OTHER_ANSWER = "That is for someone else to say, and they will: write to the office and wait for what comes back."


def example(source: str, prompt: str, answer: str) -> Example:
    made = build_example(source, messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))
    return replace(made, source=source)


def same(chance: random.Random, one: Example) -> tuple[str, str]:
    return one.prompt, OTHER_ANSWER


def looks(chance: random.Random, one: Example) -> tuple[str, str]:
    return "  ".join(one.prompt.upper().split()).rstrip("?."), OTHER_ANSWER


def edited(chance: random.Random, one: Example) -> tuple[str, str]:
    return nearly(chance, one.prompt, one.prompt)[0], OTHER_ANSWER


def quoted(chance: random.Random, one: Example) -> tuple[str, str]:
    return "What did our colleague write about it last week?", f"Here it is, word for word: {one.prompt}\n{one.reference}\nThat was all."


KINDS: Mapping[str, Callable[[random.Random, Example], tuple[str, str]]] = {
    "same": same,
    "looks": looks,
    "edited": edited,
    "quoted": quoted,
}


def main() -> None:
    chats = [
        one for one in load(sys.argv[1] if len(sys.argv) > 1 else builtin_data_file()) if len(one.messages) == 2 and one.prompt.strip()
    ]
    for kind, make in KINDS.items():
        planted = found = wrong = 0
        for seed in SEEDS:
            chance = random.Random(seed)
            mixed = chance.sample(chats, len(chats))
            train, test = mixed[::2], mixed[1::2]
            leaking = set(measure_leakage(train, test).held)
            test = [one for place, one in enumerate(test) if place not in leaking]
            chosen = set(chance.sample(range(len(test)), PER_KIND))
            train += [example(f"planted:{place}", *make(chance, test[place])) for place in sorted(chosen)]
            held = set(measure_leakage(train, test).held)
            planted, found, wrong = planted + len(chosen), found + len(held & chosen), wrong + len(held - chosen)
        print(f"{kind}: planted {planted}, recall {found / planted:.3f}, precision {found / max(1, found + wrong):.3f}", flush=True)


if __name__ == "__main__":
    main()
