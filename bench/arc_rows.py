"""LLM-Adapters' ARC-Easy training set as questions with the text of the right answer, the form in which benchmarks ask them.

    python bench/arc_rows.py llmadapters_arc_easy_train.json arc.jsonl

An instruction of the file holds the question, `Answer1: … Answer2: …`, and the format of the answer; its output names the right one.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

ASKED = re.compile(
    r"^Please choose the correct answer to the question: (?P<question>.*?)\n\n(?P<answers>Answer1:.*?)\n\nAnswer format:", re.DOTALL
)
OPTION = re.compile(r"Answer(\d): ")


def row_of(record: dict[str, str]) -> dict[str, str]:
    """`{"question": …, "answer": the right answer's text}`; a record of another form is a mistake."""
    found = ASKED.match(record["instruction"])
    if found is None:
        raise ValueError(f"not asked as expected: {record['instruction'][:80]!r}")
    _, *parts = OPTION.split(found["answers"])
    options = dict(zip(parts[::2], parts[1::2], strict=True))
    return {"question": found["question"].strip(), "answer": options[record["answer"].removeprefix("answer")].strip()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    rows = [row_of(record) for record in json.loads(arguments.source.read_text(encoding="utf-8"))]
    arguments.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows):,} rows")


if __name__ == "__main__":
    main()
