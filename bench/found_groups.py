"""How much of the groups found among failures stays when one failure in twenty goes: members and names.

    python bench/found_groups.py [FILE.jsonl] [--failures 150] [--times 10] [--embeddings all-minilm-l6-v2]

Examples of the file stand for failures: prompt and reference are what is clustered. Prints the mean adjusted Rand index, the mean Jaccard
similarity of a group with the one nearest to it, and the share of groups whose name is there again, without and with the analysis before.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from sklearn.metrics import adjusted_rand_score

from error_groups import read
from tunesmith.analyze.found import FoundGroup, find_groups
from tunesmith.analyze.nearest import Space
from tunesmith.data.builtin import builtin_data_file

LEFT_OUT = 0.05


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path, default=builtin_data_file())
    parser.add_argument("--failures", type=int, default=150)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--embeddings", default="all-minilm-l6-v2")
    arguments = parser.parse_args()
    examples, space = read(arguments.file), Space.open(arguments.embeddings)
    chosen = random.Random(0).sample(examples, min(arguments.failures, len(examples)))
    texts = {one.id: f"{one.prompt}\n{one.reference}" for one in chosen}
    whole = find_groups(texts, space.embed)
    figures = []
    for seed in range(arguments.times):
        left = without_some(texts, seed)
        again, named = find_groups(left, space.embed), find_groups(left, space.embed, earlier=whole)
        figures.append((rand_index(whole, again, left), likeness(whole, again, left), kept(whole, again), kept(whole, named)))
    rand, jaccard, names, with_earlier = (fmean(column) for column in zip(*figures, strict=True))
    print(f"{arguments.file.name}: {len(texts)} failures in {len(whole)} groups, by {'words' if space.embed is None else 'embeddings'}")
    print(f"adjusted Rand index {rand:.2f}, Jaccard {jaccard:.2f}, names {names:.2f}, with the analysis before {with_earlier:.2f}")


def without_some(texts: Mapping[str, str], seed: int) -> dict[str, str]:
    gone = set(random.Random(seed).sample(sorted(texts), max(1, round(LEFT_OUT * len(texts)))))
    return {one: text for one, text in texts.items() if one not in gone}


def rand_index(whole: Sequence[FoundGroup], again: Sequence[FoundGroup], ids: Mapping[str, str]) -> float:
    """Examples in no group count as a group."""
    sides = [[next((place for place, group in enumerate(groups) if one in group.members), -1) for one in ids] for groups in (whole, again)]
    return float(adjusted_rand_score(*sides))


def likeness(whole: Sequence[FoundGroup], again: Sequence[FoundGroup], ids: Mapping[str, str]) -> float:
    """The mean over the groups, of the members that are left."""
    left = [group.members & ids.keys() for group in whole]
    return fmean(max((len(own & one.members) / len(own | one.members) for one in again), default=0.0) for own in left)


def kept(whole: Sequence[FoundGroup], again: Sequence[FoundGroup]) -> float:
    return len({one.name for one in whole} & {one.name for one in again}) / len(whole)


if __name__ == "__main__":
    main()
