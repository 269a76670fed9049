"""`benchmark --engine vllm`: tasks whose answers are written out, by a stand-in for vLLM, give what our own engine gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.evaluate.benchmarks.local_data import write_data_set
from tests.samples import fixed_answer_pairs, prepare_qa
from tests.tiny_models import build_tiny_llama
from tests.vllm.on_path import put_on_path
from tunesmith.config import BenchmarkConfig, TrainConfig
from tunesmith.errors import ConfigError
from tunesmith.evaluate.benchmarks.benchmark import run_benchmarks
from tunesmith.evaluate.benchmarks.report import BenchmarkReport
from tunesmith.train.train import train

pytestmark = pytest.mark.skipif(os.name != "posix", reason="vLLM runs on POSIX alone")


def run(models: list[Path], data: Path, out: Path, **settings: Any) -> BenchmarkReport:
    config = BenchmarkConfig(data=str(data), num_resamples=100, num_fewshot=1, **settings)
    return run_benchmarks([str(model) for model in models], config, out, dtype="float32", device="cpu")


def _records(out: Path) -> dict[str, str]:
    """By model, what was asked and answered."""
    return {file.parents[1].name.split("-")[0]: file.read_text(encoding="utf-8") for file in out.glob("*/gsm8k/records.jsonl")}


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GSM8K's layout."""
    root = tmp_path_factory.mktemp("sums")
    rows = [{"question": f"What is {i} + 1?", "answer": f"One more.\n#### {i + 1}"} for i in range(8)]
    write_data_set(root / "gsm8k", {"main": {"train": rows[:4], "test": rows[4:]}})
    return root


def test_the_same_answers_to_the_same_documents(sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_llama = build_tiny_llama(tmp_path / "long-llama", context=400)
    prepare_qa(tmp_path / "faq", fixed_answer_pairs(8))
    config = TrainConfig(model=str(long_llama), data=tmp_path / "faq", max_steps=4, dtype="float32", learning_rate=1e-2, estimate=False)
    tuned = train(config, runs_dir=tmp_path, name="tuned").path
    put_on_path(tmp_path / "bin", monkeypatch)
    ours = run([tuned], sums, tmp_path / "ours", tasks=("gsm8k",))
    theirs = run([tuned], sums, tmp_path / "theirs", tasks=("gsm8k",), engine="vllm")
    answers = {out: _records(tmp_path / out) for out in ("ours", "theirs")}
    assert answers["ours"] == answers["theirs"]
    assert len(answers["ours"]) == 2
    assert (theirs.device, "float32 on vllm-0.0.stand-in" in theirs.how) == ("vllm-0.0.stand-in-cpu", True)
    assert theirs.benchmarks == ours.benchmarks
    assert (tmp_path / "theirs" / "vllm.log").read_text(encoding="utf-8").count("(stand-in) starting") == 1


def test_what_compares_likelihoods_is_refused(eval_data: Path, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)
    with pytest.raises(ConfigError, match="arc_easy compares log-likelihoods"):
        run([tiny_llama], eval_data, tmp_path / "out", tasks=("arc_easy",), engine="vllm")
    assert not (tmp_path / "out").exists()
