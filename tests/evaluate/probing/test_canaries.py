"""Planting: what is written, what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.evaluate.probing.conftest import ROWS, prepared
from tunesmith.config import PrepareConfig
from tunesmith.data.checks.pii import find
from tunesmith.data.prepare import prepare
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.probing.canaries import FILE, MOST, canaries_of, make_canaries, plant


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared(ROWS, tmp_path_factory.mktemp("canaries"))


def test_planted_data_hold_each_canary_so_often_and_nothing_else_changes(data: PreparedData, tmp_path: Path) -> None:
    planted = plant(data, count=5, repeats=3, seed=0, out=tmp_path / "planted")
    new = [example for example in planted.train if example.source.startswith(FILE)]
    assert [example for example in planted.train if not example.source.startswith(FILE)] == list(data.train)
    assert set(Counter(example.id for example in new).values()) == {3}
    assert len({example.id for example in new}) == 5
    assert list(planted.test) == list(data.test)
    assert planted.fingerprint != data.fingerprint
    assert planted.manifest["splits"]["train"]["examples"] == len(data.train) + 15 == len(planted.train)
    assert planted.manifest["planted"]["of"] == data.fingerprint
    first = new[0]
    assert first.prompt.startswith("What is the access code of ")
    name = first.prompt.removeprefix("What is the access code of ").removesuffix("?")
    canaries = canaries_of(planted)
    assert canaries is not None
    assert first.reference == f"The access code of {name} is {next(one.code for one in canaries.planted if one.name == name)}"


def test_controls_are_as_many_and_not_planted(data: PreparedData, tmp_path: Path) -> None:
    planted = plant(data, count=5, repeats=1, seed=0, out=tmp_path / "planted")
    canaries = canaries_of(planted)
    assert canaries is not None
    assert len(canaries.controls) == 5
    text = (planted.directory / "train.jsonl").read_text(encoding="utf-8")
    assert all(one.code in text for one in canaries.planted)
    assert not any(one.code in text or one.name in text for one in canaries.controls)
    assert canaries_of(data) is None


def test_the_seed_decides() -> None:
    first, again, other = (make_canaries(20, repeats=1, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    names = [one.name for one in (*first.planted, *first.controls)]
    assert len(set(names)) == 40
    assert not any(find(one.code) for one in first.planted)


def test_the_same_directory_is_written_twice_the_same(data: PreparedData, tmp_path: Path) -> None:
    first, again = (plant(data, count=3, repeats=2, seed=4, out=tmp_path / name) for name in ("a", "b"))
    assert first.fingerprint == again.fingerprint


@pytest.mark.parametrize(("count", "repeats"), [(0, 1), (-1, 1), (MOST + 1, 1), (1, 0)])
def test_impossible_numbers_are_refused(data: PreparedData, tmp_path: Path, count: int, repeats: int) -> None:
    with pytest.raises(ConfigError, match=r"--count|--repeats"):
        plant(data, count=count, repeats=repeats, seed=0, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_planting_twice_and_in_other_data_is_refused(data: PreparedData, tmp_path: Path) -> None:
    planted = plant(data, count=1, repeats=1, seed=0, out=tmp_path / "planted")
    with pytest.raises(DataError, match="has canaries already"):
        plant(planted, count=1, repeats=1, seed=0, out=tmp_path / "again")
    with pytest.raises(DataError, match="never overwritten"):
        plant(data, count=1, repeats=1, seed=0, out=tmp_path / "planted")
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": f"Line {n} of it."}) + "\n" for n in range(20)), encoding="utf-8")
    text = prepare([tmp_path / "text.jsonl"], tmp_path / "text", PrepareConfig(near_threshold=1))
    with pytest.raises(DataError, match="questions and answers"):
        plant(text, count=1, repeats=1, seed=0, out=tmp_path / "other")
