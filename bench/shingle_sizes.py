"""What should texts be cut into to be compared? Edits that mean nothing and exchanged words, at a similarity of 0.8.

    python bench/shingle_sizes.py FILE COLUMN

For runs of 3 to 6 characters and of 1 and 2 words: the share of texts that stay near after a slip of the pen, another ending, a word
put in, two words swapped (wanted), and after one longer word became another (not wanted). Prints a table in Markdown for each length.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from typing import Any

from tunesmith.data.comparing.shingles import normalise
from tunesmith.data.reading.readers import read_rows

THRESHOLD = 0.8
NUM_TEXTS = 700
LENGTHS = ((3, 8), (8, 15), (15, 200))
"""In words."""

Edit = Callable[[list[str], int, random.Random], list[str]]


def characters(size: int) -> Callable[[str], set[Any]]:
    return lambda text: {f" {text} "[start : start + size] for start in range(max(1, len(text) + 3 - size))}


def words(size: int) -> Callable[[str], set[Any]]:
    def runs(text: str) -> set[Any]:
        padded = [""] * (size - 1) + text.split() + [""] * (size - 1)
        return {tuple(padded[start : start + size]) for start in range(len(padded) - size + 1)}

    return runs


def slip(parts: list[str], place: int, chance: random.Random) -> list[str]:
    word = parts[place]
    at = chance.randrange(len(word) - 1)
    changed = chance.choice([word[:at] + word[at + 1 :], word[:at] + word[at + 1] + word[at] + word[at + 2 :]])
    return [*parts[:place], changed, *parts[place + 1 :]]


def ending(parts: list[str], place: int, chance: random.Random) -> list[str]:
    word = parts[place]
    return [*parts[:place], word[:-1] if word.endswith("s") else word + "s", *parts[place + 1 :]]


def put_in(parts: list[str], place: int, chance: random.Random) -> list[str]:
    return [*parts[:place], chance.choice(["really", "just", "actually"]), *parts[place:]]


def swapped(parts: list[str], place: int, chance: random.Random) -> list[str]:
    at = min(place, len(parts) - 2)
    return [*parts[:at], parts[at + 1], parts[at], *parts[at + 2 :]]


def exchanged(vocabulary: list[str]) -> Edit:
    return lambda parts, place, chance: [*parts[:place], chance.choice(vocabulary), *parts[place + 1 :]]


def main() -> None:
    file, column = sys.argv[1:]
    chance = random.Random(1)
    texts = sorted({normalise(str(row.values[column])) for row in read_rows(file)})
    vocabulary = sorted({word for text in texts for word in re.findall(r"[a-z]{5,}", text)})
    edits: dict[str, Edit] = {
        "slip": slip,
        "ending": ending,
        "word put in": put_in,
        "two swapped": swapped,
        "exchanged": exchanged(vocabulary),
    }
    measures = {f"{size} characters": characters(size) for size in (3, 4, 5, 6)} | {f"{size} words": words(size) for size in (1, 2)}
    sample = chance.sample(texts, min(NUM_TEXTS, len(texts)))
    for low, high in LENGTHS:
        pairs: dict[str, list[tuple[str, str]]] = {name: [] for name in edits}
        for text in sample:
            parts = text.split()
            places = [place for place, word in enumerate(parts) if re.fullmatch(r"[a-z]{5,}", word)]
            if low <= len(parts) < high and places:
                for name, edit in edits.items():
                    pairs[name].append((text, " ".join(edit(parts, chance.choice(places), chance))))
        print(f"\n{low} to {high - 1} words, {len(pairs['slip'])} texts\n\n| runs of | {' | '.join(edits)} |\n|---|{'---:|' * len(edits)}")
        for name, cut in measures.items():
            near = [
                sum(len(cut(a) & cut(b)) / len(cut(a) | cut(b)) >= THRESHOLD for a, b in pairs[edit]) / len(pairs[edit]) for edit in edits
            ]
            print(f"| {name} | {' | '.join(f'{one:.2f}' for one in near)} |")


if __name__ == "__main__":
    main()
