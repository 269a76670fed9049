"""Verdicts: what fits, the fewest processes, and advice that holds."""

from __future__ import annotations

import pytest

from tests.train.capacities import architecture, setup
from tunesmith.config import Method
from tunesmith.train.capacity import Strategy
from tunesmith.train.fitting import Subject, fewest_processes, what_fits

ALL: tuple[Strategy, ...] = ("ddp", "fsdp", "fsdp-offload")


def subject(name: str, method: Method, **changes: object) -> Subject:
    architectures = {one: architecture(name, one) for one in {method, "lora", "qlora"}}
    return Subject(architectures=architectures, setup=setup(method, **changes))


@pytest.mark.parametrize("least", [1, 2, 3, 63, 64, 65, 1000])
def test_fewest(least: int) -> None:
    assert fewest_processes(lambda processes: processes >= least) == least
    assert fewest_processes(lambda processes: processes >= least, most=least - 1 or 1) == (1 if least == 1 else None)


def test_what_fits_and_with_what_room() -> None:
    asked = subject("llama-3.1-8b", "full")
    found = what_fits(asked, processes=8, room=80 * 10**9, strategies=ALL)
    needs = {one: asked.memory(one, 8).total / 1e9 for one in ALL}
    assert found.fitting == ["fsdp", "fsdp-offload"]
    text = "\n".join(found.sentences())
    assert f"fits in 80.0 GB a process: fsdp ({needs['fsdp']:.1f} GB, {80 - needs['fsdp']:.1f} GB to spare)" in text
    assert f"does not fit in 80.0 GB a process: ddp needs {needs['ddp']:.1f} GB" in text
    assert not found.changes


def test_the_fewest_processes_are_the_fewest() -> None:
    asked = subject("llama-3.1-8b", "full")
    found = what_fits(asked, processes=8, room=80 * 10**9, strategies=ALL)
    for strategy, count in found.fewest.items():
        assert count is not None
        assert asked.memory(strategy, count).total <= 80 * 10**9
        assert count == 2 or asked.memory(strategy, count - 1).total > 80 * 10**9


def test_advice_holds() -> None:
    """Every setting named is enough, by the same formulas."""
    asked = subject("llama-3.1-8b", "full", tokens=16_384)
    room = 48 * 10**9
    found = what_fits(asked, processes=2, room=room, strategies=ALL)
    assert found.fitting == []
    assert len(found.changes) > 1
    for one in found.changes:
        assert one.num_bytes <= room
    assert "what would fit: " in found.sentences()[-1]


def test_the_largest_micro_batch_that_is_enough_is_named() -> None:
    asked = subject("llama-3.1-8b", "lora", tokens=16_384)
    room = 40 * 10**9
    found = what_fits(asked, processes=1, room=room, strategies=("alone",))
    (fewer,) = [one for one in found.changes if "tokens" in one.setting]
    tokens = int(fewer.setting.split()[1])
    assert asked.changed(tokens=tokens).memory("alone", 1).total <= room < asked.changed(tokens=2 * tokens).memory("alone", 1).total


def test_where_no_number_is_enough() -> None:
    found = what_fits(subject("llama-3.1-70b", "full", tokens=65_536), processes=8, room=80 * 10**9, strategies=ALL)
    assert set(found.fewest.values()) == {None}
    assert any("no number of processes is enough for fsdp:" in sentence for sentence in found.sentences())


def test_where_nothing_is_enough() -> None:
    found = what_fits(subject("llama-3.1-70b", "qlora", tokens=512), processes=1, room=10**9, strategies=("alone",))
    assert found.sentences()[-1] == "what would fit: a smaller model, or more memory a process"
