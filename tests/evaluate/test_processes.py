"""Several processes that evaluate together give the answers and scores that one gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.ranks import run_ranks
from tests.samples import fixed_answer_pairs, prepare_qa
from tunesmith.config import EvaluateConfig, GenerateConfig, TrainConfig
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.train import train

CONFIG = EvaluateConfig(generation=GenerateConfig(max_new_tokens=12), num_resamples=200)


def _evaluate(path: Path) -> dict[str, Any]:
    return dict(evaluate_run(open_run(path), CONFIG, dtype="float32", device="cpu").to_json())


def _records(run: Path) -> list[dict[str, Any]]:
    lines = RunDirectory(run).evaluation_records_file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_two_processes_answer_as_one(tiny_llama: Path, tmp_path: Path) -> None:
    prepare_qa(tmp_path / "faq", fixed_answer_pairs(60), test_fraction=0.3)
    settings = {"model": str(tiny_llama), "data": tmp_path / "faq", "dtype": "float32", "device": "cpu", "max_steps": 20, "estimate": False}
    alone = train(TrainConfig(**settings), runs_dir=tmp_path, name="alone").path
    together = tmp_path / "together"
    shutil.copytree(alone, together)
    expected, found = _evaluate(alone), run_ranks(2, _evaluate, together)
    assert len(_records(together)) == expected["num_examples"] > 10
    for one, other in zip(_records(together), _records(alone), strict=True):
        for label in ("base", "tuned"):
            assert one["answers"][label]["completion"] == other["answers"][label]["completion"]
            assert one["answers"][label]["loss_total"] == pytest.approx(other["answers"][label]["loss_total"], rel=1e-5)
    assert found[0] == found[1]
    changed = {"run_name", "date"}
    assert _rounded({k: v for k, v in found[0].items() if k not in changed}) == _rounded(
        {k: v for k, v in expected.items() if k not in changed}
    )


def _rounded(value: Any) -> Any:
    """Numbers to four places: losses were added up in another order."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value
