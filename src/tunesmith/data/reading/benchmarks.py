"""Questions of benchmarks in local files, to compare training data with: `--against ../shared/data/eval`.

    >>> suites = find_suites(["../shared/data/eval"])
    >>> list(suites), next(questions(suites["mmlu"]))
    (['ai2_arc', 'hellaswag', 'mmlu', 'truthful_qa'], ('abstract_algebra/dev.parquet#1', 'Find all c in Z_3 such that …'))

A suite is a file of rows, or a folder of them as on the hub. Files called train are left out: they are there to be trained on. Nothing
is ever fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.data.parsing.faults import require_whole
from tunesmith.data.parsing.remote import presentable
from tunesmith.data.reading.sources import open_sources
from tunesmith.errors import DataError

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
QUESTION_COLUMNS = ("question", "ctx", "prompt", "goal", "sentence", "query", "problem", "instruction", "input", "premise", "text")
"""Of a benchmark's row, the first of these that holds text is what is asked."""


def find_suites(paths: Sequence[str | Path]) -> dict[str, str]:
    """Name to path of every suite: a path itself, or the folders in a folder that holds no rows and no README.md.

    Raises:
        DataError: there is no such file or folder, it holds no rows, or two suites have one name.
    """
    suites: dict[str, str] = {}
    for path in map(Path, paths):
        if not path.exists():
            place, found = presentable(str(path)), "there is no such file or folder"
            raise DataError(place, found, expected="benchmarks in local files", remedy="correct the path")
        parts = sorted(part for part in path.iterdir() if part.is_dir() and _files(part)) if _is_collection(path) else [path]
        if not parts or not any(map(_files, parts)):
            expected = f"files ending in {', '.join(SUFFIXES)}, not all called train"
            raise DataError(str(path), "it holds no rows of a benchmark", expected=expected, remedy="correct the path")
        for part in parts:
            name = part.resolve().name
            if suites.get(name, str(part)) != str(part):
                raise DataError(str(part), f"another benchmark is called {name}, too", expected="one name for each", remedy="rename one")
            suites[name] = str(part)
    return suites


def _is_collection(path: Path) -> bool:
    return path.is_dir() and not any(one.is_file() and (one.name == "README.md" or one.suffix in SUFFIXES) for one in path.iterdir())


def _files(suite: Path) -> list[Path]:
    files = [suite] if suite.is_file() else sorted(suite.rglob("*"))
    return [file for file in files if file.is_file() and file.suffix in SUFFIXES and not file.stem.startswith("train")]


def questions(suite: str | Path) -> Iterator[tuple[str, str]]:
    """Place and text of every question, file by file."""
    suite = Path(suite)
    for file in _files(suite):
        label = file.name if suite.is_file() else file.relative_to(suite).as_posix()
        for source in open_sources([str(file)]):
            for number, row in enumerate(source.read(), 1):
                yield f"{label}#{number}", question_of(require_whole(row).values)


def question_of(values: Mapping[str, Any]) -> str:
    """What a row asks: a known column, or all its texts."""
    known = (values.get(name) for name in QUESTION_COLUMNS)
    first = next((value for value in known if isinstance(value, str) and value.strip()), None)
    return first if first is not None else " ".join(value for value in values.values() if isinstance(value, str))
