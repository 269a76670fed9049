"""What is said of a group that fell apart: the first to fall, not those that the launcher then ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing import ProcessFailure

from tunesmith.distributed.launching import _explain
from tunesmith.errors import GroupError


def failure(rank: int, exit_code: int, *, second: int) -> ProcessFailure:
    found = ProcessFailure(local_rank=rank, pid=1000 + rank, exitcode=exit_code, error_file="none")
    found.timestamp = second
    return found


def leave_words(logs: Path, rank: int, words: str) -> None:
    folder = logs / "attempt_0" / str(rank)
    folder.mkdir(parents=True)
    (folder / "stderr.log").write_text(words, encoding="utf-8")


def test_a_rank_that_the_launcher_killed_is_not_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_words(tmp_path, 1, "torch.OutOfMemoryError: CUDA out of memory\n")
    failures = {0: failure(0, -9, second=130), 1: failure(1, 1, second=100)}
    assert _explain(failures, tmp_path) == 1
    assert "CUDA out of memory" in capsys.readouterr().err


def test_a_rank_that_was_killed_is_named_though_others_lost_touch_before(tmp_path: Path) -> None:
    failures = {0: failure(0, GroupError.exit_code, second=100), 1: failure(1, -9, second=101)}
    with pytest.raises(GroupError, match=r"rank 1 .*killed by signal 9"):
        _explain(failures, tmp_path)


def test_of_one_second_the_killed_rank_is_the_reason(tmp_path: Path) -> None:
    failures = {0: failure(0, 1, second=100), 1: failure(1, -9, second=100)}
    with pytest.raises(GroupError, match="rank 1"):
        _explain(failures, tmp_path)


def test_when_all_only_lost_touch_the_first_rank_has_said_so(tmp_path: Path) -> None:
    failures = {rank: failure(rank, GroupError.exit_code, second=100) for rank in (1, 0)}
    assert _explain(failures, tmp_path) == GroupError.exit_code


def test_a_mistake_that_all_ranks_meet_is_said_by_the_first_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_words(tmp_path, 1, "error: no-such-model\n")
    assert _explain({0: failure(0, 2, second=101), 1: failure(1, 2, second=100)}, tmp_path) == 2
    assert capsys.readouterr().err == ""
    assert _explain({0: failure(0, 1, second=101), 1: failure(1, 2, second=100)}, tmp_path) == 2
    assert "no-such-model" in capsys.readouterr().err
