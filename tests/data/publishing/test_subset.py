"""Smaller training splits: nested, everything else untouched, readable like any prepared set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.publishing.subset import write_subset
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    directory = tmp_path_factory.mktemp("subset")
    rows = [{"question": f"What is {number} and {number * 7 % 13}?", "answer": f"It is {number}."} for number in range(80)]
    (directory / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return prepare([directory / "faq.jsonl"], directory / "prepared", PrepareConfig(near_threshold=1))


def test_subsets_are_nested_and_keep_the_order(data: PreparedData, tmp_path: Path) -> None:
    whole = [example.id for example in data.train]
    ids = {size: [example.id for example in write_subset(data, size, seed=3, out=tmp_path / str(size)).train] for size in (5, 20, 40)}
    assert [len(one) for one in ids.values()] == [5, 20, 40]
    assert set(ids[5]) < set(ids[20]) < set(ids[40])
    assert all(one == [name for name in whole if name in one] for one in ids.values())


def test_other_seeds_draw_others_and_the_whole_is_the_whole(data: PreparedData, tmp_path: Path) -> None:
    first, second = (write_subset(data, 20, seed=seed, out=tmp_path / f"seed-{seed}") for seed in (0, 1))
    assert {example.id for example in first.train} != {example.id for example in second.train}
    whole = write_subset(data, len(data.train), seed=0, out=tmp_path / "whole")
    assert whole.fingerprint == data.fingerprint
    assert first.fingerprint != data.fingerprint
    assert first.manifest["subset"] == {
        "of": data.fingerprint,
        "directory": str(data.directory.resolve()),
        "num_examples": 20,
        "seed": 0,
    }


def test_held_out_examples_stay(data: PreparedData, tmp_path: Path) -> None:
    subset = write_subset(data, 7, seed=0, out=tmp_path / "seven")
    assert (subset.validation, subset.test) == (data.validation, data.test)


def test_too_many_and_taken_are_refused(data: PreparedData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 to"):
        write_subset(data, len(data.train) + 1, seed=0, out=tmp_path / "more")
    write_subset(data, 5, seed=0, out=tmp_path / "five")
    with pytest.raises(DataError, match="never overwritten"):
        write_subset(data, 5, seed=0, out=tmp_path / "five")
