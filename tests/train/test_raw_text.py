"""Raw text longer than a training sequence: trained in windows, and evaluated in the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine import reference
from tunesmith.config import EvaluateConfig, PrepareConfig, TrainConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.evaluate.records import read_records
from tunesmith.render.chunks import render_all
from tunesmith.train.observer import Recording
from tunesmith.train.train import train
from tunesmith.tuned import open_base, open_tuned
from tunesmith.types import Row

MAX_LENGTH = 24


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve documents, the shortest under 24 tokens of the tiny models, the longest over 70."""
    directory = tmp_path_factory.mktemp("data") / "book"
    rows = [
        Row(values={"text": f"The quick brown fox {i} jumps over the lazy dog. " * (1 + i % 4)}, source=f"book.txt:{i}") for i in range(12)
    ]
    prepare(None, directory, PrepareConfig(test_fraction=0.4, validation_fraction=0.1), rows=rows)
    return directory


def test_long_held_out_texts_are_evaluated_whole(settings: Callable[..., TrainConfig], book: Path, tmp_path: Path) -> None:
    run = train(settings(data=book, max_length=MAX_LENGTH, max_steps=2), runs_dir=tmp_path)
    said: list[str] = []
    report = evaluate_run(run, EvaluateConfig(), dtype="float32", say=said.append)
    held_out = load_prepared(book).test
    records = read_records(run.evaluation_records_file)
    assert [record.id for record in records] == [example.id for example in held_out]
    assert (report.num_left_out, said) == (0, [])
    tuned, base = open_tuned(run, dtype="float32"), open_base(run, dtype="float32")
    several = 0
    for record, example in zip(records, held_out, strict=True):
        windows = render_all(example, tuned.renderer, MAX_LENGTH)
        several += len(windows) > 1
        assert record.tuned.num_supervised == len(tuned.renderer.render(example).token_ids) - 1  # all but the first, which nothing predicts
        for answer, opened in ((record.tuned, tuned), (record.base, base)):
            alone = sum(float(reference.total_nats(opened.hugging_face_network, window)) for window in windows)
            assert answer.loss_total == pytest.approx(alone, rel=1e-5)
    assert 0 < several < len(held_out)


def test_steps_and_defaults_count_windows(settings: Callable[..., TrainConfig], book: Path, tmp_path: Path) -> None:
    observer = Recording()
    run = train(settings(data=book, max_length=MAX_LENGTH, estimate=False), runs_dir=tmp_path, observer=observer)
    windows = json.loads((run.path / "preflight.json").read_text(encoding="utf-8"))["train"]["num_windows"]
    assert windows > len(load_prepared(book).train)
    epochs = run.record()["config"]["epochs"]
    assert epochs == 100 // windows
    assert any(f"{windows} windows x {epochs:g} epochs = " in sentence for sentence in observer.sentences)
    assert any("a step: 8 windows, on average" in sentence for sentence in observer.sentences)
