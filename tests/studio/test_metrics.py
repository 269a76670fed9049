"""metrics.jsonl, followed while it grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.studio.made import metric_lines, step_line, write_lines
from tunesmith.studio.metrics import FollowedMetrics, Point, thin


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "metrics.jsonl", metric_lines(8))


def append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as handle:
        handle.write(text)


def test_each_look_reads_what_was_added(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = FollowedMetrics(file)
    assert followed.look().last_step == 8
    from tunesmith.studio import metrics

    read: list[int] = []
    original = metrics.read_content
    monkeypatch.setattr(metrics, "read_content", lambda *args, **kwargs: read.append(kwargs["start"]) or original(*args, **kwargs))
    size = file.stat().st_size
    append(file, json.dumps(step_line(9)) + "\n")
    assert followed.look().last_step == 9
    assert read == [size], "only the new line"
    followed.look()
    assert read == [size], "nothing where nothing was added"


def test_a_torn_line_waits_for_its_end(file: Path) -> None:
    followed = FollowedMetrics(file)
    line = json.dumps(step_line(9)) + "\n"
    append(file, line[:20])
    assert followed.look().last_step == 8
    append(file, line[20:])
    seen = followed.look()
    assert (seen.last_step, seen.num_bad_lines) == (9, 0)


def test_a_resumed_run_is_read_anew(file: Path) -> None:
    """Resuming drops lines and replaces the file."""
    followed = FollowedMetrics(file)
    followed.look()
    file.unlink()
    write_lines(file, metric_lines(3))
    assert followed.look().steps["step"] == [1.0, 2.0, 3.0]


def test_a_file_that_became_shorter_is_read_anew(file: Path) -> None:
    followed = FollowedMetrics(file)
    followed.look()
    file.write_text(json.dumps(step_line(1)) + "\n", encoding="utf-8")
    assert followed.look().steps["step"] == [1.0]


def test_an_absent_file_is_no_steps(tmp_path: Path) -> None:
    seen = FollowedMetrics(tmp_path / "none.jsonl").look()
    assert (seen.last_step, seen.best_loss, seen.num_bad_lines) == (0, None, 0)


def test_hostile_lines_are_counted_and_in_no_column(file: Path) -> None:
    append(file, 'no\n{"kind": 3}\n{"kind": "step", "step": []}\n[1]\n' + "[" * 200_000 + "\n" + "x" * 2_000_000 + "\n\n")
    seen = FollowedMetrics(file).look()
    assert (seen.last_step, seen.num_bad_lines) == (8, 7)
    assert len({len(column) for column in seen.steps.values()}) == 1


def test_a_line_without_end_is_given_up(file: Path) -> None:
    append(file, "x" * 2_000_000)
    followed = FollowedMetrics(file)
    assert followed.look().num_bad_lines == 1
    append(file, "\n" + json.dumps(step_line(9)) + "\n")
    assert followed.look().last_step == 9


def test_a_number_that_is_none_leaves_a_hole(file: Path) -> None:
    append(file, '{"kind": "step", "step": 9, "loss": NaN}\n')
    seen = FollowedMetrics(file).look()
    assert seen.steps["loss"][-1] is None
    assert len(thin(seen.steps["step"], seen.steps["loss"])) == 8


def test_what_was_given_does_not_change(file: Path) -> None:
    followed = FollowedMetrics(file)
    before = followed.look()
    append(file, json.dumps(step_line(9)) + "\n")
    followed.look()
    assert before.last_step == 8


def test_thinning_keeps_the_mean_and_the_end() -> None:
    points = thin([float(x) for x in range(1, 1001)], [float(x) for x in range(1, 1001)], most=100)
    assert len(points) == 100
    assert points[0] == Point(10.0, 5.5)
    assert points[-1] == Point(1000.0, 995.5)
    assert thin([], []) == []
