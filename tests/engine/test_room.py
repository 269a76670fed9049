"""How much memory there is, and the most in use while something runs."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil
import pytest
import torch

from tunesmith.engine import room as room_module
from tunesmith.engine.memory import memory_in_use
from tunesmith.engine.room import group_limits, room, watch_peak

CPU = torch.device("cpu")


def group(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text + "\n", encoding="utf-8")


def membership(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cgroup-of-process"
    file.write_text(text, encoding="utf-8")
    return file


def test_groups_of_the_second_version(tmp_path: Path) -> None:
    group(tmp_path / "a" / "b", {"memory.max": "max", "memory.current": "500"})
    group(tmp_path / "a", {"memory.max": "4000", "memory.current": "3000", "memory.stat": "anon 5\ninactive_file 1200"})
    group(tmp_path, {"memory.max": "9000", "memory.current": "3500"})
    assert group_limits(tmp_path, membership(tmp_path, "0::/a/b\n")) == [(4000, 1800), (9000, 3500)]


def test_groups_of_the_first_version_seen_from_inside_a_container(tmp_path: Path) -> None:
    group(tmp_path / "memory", {"memory.limit_in_bytes": "8000", "memory.usage_in_bytes": "100"})
    assert group_limits(tmp_path, membership(tmp_path, "5:cpu:/x\n4:memory:/docker/1f\n0::/\n")) == [(8000, 100)]


def test_no_limit(tmp_path: Path) -> None:
    group(tmp_path / "memory", {"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "100"})
    assert group_limits(tmp_path, membership(tmp_path, "4:memory:/\n0::/\n")) == []
    assert group_limits(tmp_path, tmp_path / "not-linux") == []


def test_the_tightest_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    used = memory_in_use(CPU)
    monkeypatch.setattr(room_module, "group_limits", lambda: [(3000, 1000), (10**15, 0)])
    assert used <= room(CPU) < used + 10**9
    assert abs(room(CPU) - memory_in_use(CPU) - 2000) < 10**7
    monkeypatch.setattr(room_module, "group_limits", lambda: [(3000, 5000)])
    assert abs(room(CPU) - memory_in_use(CPU)) < 10**7, "a group over its limit has nothing left"


@pytest.mark.skipif(sys.platform != "linux", reason="limits on a process' own memory are read on Linux alone")
@pytest.mark.parametrize("which", ["RLIMIT_DATA", "RLIMIT_AS"])
def test_the_limits_of_a_process_count(which: str) -> None:
    limit = getattr(resource, which)
    info = psutil.Process().memory_info()
    before = resource.getrlimit(limit)
    resource.setrlimit(limit, ((info.data if which == "RLIMIT_DATA" else info.vms) + 10**9, before[1]))
    try:
        assert abs(room(CPU) - memory_in_use(CPU) - 10**9) < 10**8
    finally:
        resource.setrlimit(limit, before)


def test_the_peak_is_seen_though_it_has_passed() -> None:
    size = 200 * 2**20
    with watch_peak(CPU) as peak:
        before = memory_in_use(CPU)
        block = torch.ones(size // 4)
        for _ in range(20):  # long enough for several looks
            block.add_(1)
        del block
    assert peak.bytes >= before + 0.9 * size
    assert memory_in_use(CPU) < peak.bytes


def test_processes_share_the_machine_but_not_the_limits_that_each_has(monkeypatch: pytest.MonkeyPatch) -> None:
    used = memory_in_use(CPU)
    monkeypatch.setattr(room_module, "group_limits", lambda: [(9 * used, 0)])
    monkeypatch.setattr(room_module, "own_limits", list)
    assert abs(room(CPU, sharing=2) - 5 * used) < 10**8
    monkeypatch.setattr(room_module, "own_limits", lambda: [(4 * used, 2 * used)])
    assert abs(room(CPU, sharing=2) - 3 * used) < 10**8
