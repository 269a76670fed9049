"""How well each error group finds what was planted: precision and recall, on the built-in data set and on a file of one's own.

    python bench/error_groups.py [FILE.jsonl] [--seeds 3] [--per-kind 12] [--embeddings words] [--show GROUP]

Prints a Markdown table; `--show GROUP` prints what was missed and what was a false alarm.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from planted_failures import FAILURES, IMPLIED, LABEL, Planted, Score, plant, scores_of
from tunesmith.analyze.analysis import analyze_records
from tunesmith.analyze.nearest import Space
from tunesmith.config import AnalyzeConfig, PrepareConfig
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import to_examples
from tunesmith.data.reading.sources import open_sources
from tunesmith.types import Example


def read(path: Path) -> list[Example]:
    config = PrepareConfig(on_invalid="drop")
    rows = [row for source in open_sources([str(path)]) for row in source.read()]
    return list({one.id: one for one in to_examples(rows, recognise(rows, config), config).examples}.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path, default=builtin_data_file())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--per-kind", type=int, default=12)
    parser.add_argument("--embeddings", default="all-minilm-l6-v2")
    parser.add_argument("--show")
    arguments = parser.parse_args()
    examples, space = read(arguments.file), Space.open(arguments.embeddings)
    totals = {group: Score(planted=0, hits=0, false_alarms=0) for group in FAILURES}
    for seed in range(arguments.seeds):
        planted = plant(examples, seed=seed, per_kind=arguments.per_kind)
        analysis = analyze_records(planted.records, planted.train, AnalyzeConfig(embeddings=arguments.embeddings), space=space)
        found = [failure.answers[LABEL] for failure in analysis.failures]
        totals = {group: totals[group] + score for group, score in scores_of(planted, found).items()}
        if arguments.show:
            show(planted, found, arguments.show)
    print(f"{arguments.file.name}: {len(examples):,} examples, {arguments.seeds} seeds\n\n| group | planted | recall | precision |")
    print("|---|---|---|---|")
    for group, score in totals.items():
        print(f"| {group} | {score.planted} | {score.recall:.2f} | {score.precision:.2f} |")


def show(planted: Planted, found: list[dict[str, str]], group: str) -> None:
    for record, kind, groups in zip(planted.records, planted.kinds, found, strict=True):
        if (kind == group) == (group in groups) or group in IMPLIED.get(kind, ()):
            continue
        what = "missed" if kind == group else f"false alarm at {kind}"
        print(f"--- {what}: {groups}\n  reference: {record.reference[:300]!r}\n  answer: {record.answer(LABEL).completion[:300]!r}")


if __name__ == "__main__":
    main()
