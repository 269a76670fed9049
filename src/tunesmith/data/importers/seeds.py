"""Seed tasks as self-instruct has them (Wang et al. 2023) -> instruction, input and output, one row an instance.

    {"id": "seed_task_1", "name": "antonyms", "instruction": "What is the relation between the given pairs?",
     "instances": [{"input": "Night : Day :: Right : Left", "output": "They are opposites."}], "is_classification": false}

`seeds.jsonl:2` is a task with one instance, `seeds.jsonl:2#3` the third of several, which stay on one side of every split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.data.importers.record import Importer, Request, head_text
from tunesmith.data.parsing.formats import FORMATS, format_of
from tunesmith.types import Row

KINDS = frozenset({"JSON Lines", "JSON"})
TASK, INSTANCES = "instruction", "instances"


def recognises(path: Path, head: bytes) -> bool:
    """A JSON file whose first item has an instruction and a list of instances with outputs."""
    if path.is_dir() or (file_format := format_of(path)) is None or file_format.kind not in KINDS:
        return False
    text = head_text(head).lstrip("\ufeff \t\r\n[")
    if not text.startswith("{"):
        return False
    try:
        first, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):  # cut off, or for its reader to refuse
        return False
    instances = first.get(INSTANCES)
    return isinstance(first.get(TASK), str) and isinstance(instances, list) and any(map(_is_instance, instances))


def _is_instance(item: Any) -> bool:
    return isinstance(item, dict) and "output" in item


def rows(path: Path, request: Request) -> Iterator[Row]:
    """Each instance with its task's other columns; a task without instances comes as a row with a fault."""
    reader = format_of(path) or FORMATS[".jsonl"]
    for task in reader.rows(path, request.label, request.encoding):
        instances = task.values.get(INSTANCES)
        if not isinstance(instances, list) or not instances or not all(map(_is_instance, instances)):
            found = f"the column {INSTANCES!r} is no list of objects with an output"
            yield Row(values={}, source=task.source, fault=("seed task without instances", found, "a list of input and output"))
            continue
        others = {name: value for name, value in task.values.items() if name != INSTANCES}
        for number, instance in enumerate(instances, start=1):
            values = {**others, "input": instance.get("input") or "", "output": instance["output"]}
            source = task.source if len(instances) == 1 else f"{task.source}#{number}"
            yield Row(values=values, source=source, group=task.source)


IMPORTER = Importer(name="seed-tasks", description="self-instruct seed tasks", recognises=recognises, rows=rows)
