"""`evaluate --engine vllm`: the answers of another engine, everything else as ever. The program is a stand-in, but for the last test."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fake_group import in_ranks
from tests.samples import fixed_answer_pairs, prepare_qa
from tests.tiny_models import build_tiny_llama
from tests.vllm.on_path import put_on_path
from tunesmith.config import EvaluateConfig, GenerateConfig, LoraConfig, TrainConfig, build
from tunesmith.errors import AssetError, ConfigError
from tunesmith.evaluate.evaluate import evaluate_run, rescore_run
from tunesmith.evaluate.report import read_report
from tunesmith.evaluate.through_vllm import require_vllm
from tunesmith.runs import RunDirectory
from tunesmith.train.train import train

pytestmark = pytest.mark.skipif(os.name != "posix", reason="vLLM runs on POSIX alone")

OURS = EvaluateConfig(generation=GenerateConfig(max_new_tokens=12, batch_size=4), num_resamples=200)
THEIRS = OURS.model_copy(update={"engine": "vllm"})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_qa(tmp_path_factory.mktemp("data") / "faq", fixed_answer_pairs(60), test_fraction=0.2).directory


def trained(data: Path, model: Path, directory: Path, name: str, **settings: Any) -> RunDirectory:
    config = TrainConfig(model=str(model), data=data, dtype="float32", device="cpu", max_steps=15, estimate=False, **settings)
    return train(config, runs_dir=directory, name=name)


@pytest.fixture(scope="module")
def with_adapter(data: Path, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(data, tiny_llama, tmp_path_factory.mktemp("runs"), "lora")


def evaluated(run: RunDirectory, config: EvaluateConfig) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    report = evaluate_run(run, config, dtype="float32", device="cpu").to_json()
    return report, [json.loads(line) for line in run.evaluation_records_file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_answers_and_scores_are_the_same(
    method: str, with_adapter: RunDirectory, data: Path, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)
    if method == "lora":
        run = RunDirectory(Path(shutil.copytree(with_adapter.path, tmp_path / "lora")))
    else:
        run = trained(data, tiny_llama, tmp_path, "full", method="full")
    expected, records = evaluated(run, OURS)
    found, others = evaluated(run, THEIRS)
    assert others == records
    assert len({record["answers"]["tuned"]["completion"] for record in records}) > 1
    assert found["answered_by"] == "vLLM 0.0.stand-in"
    assert {**found, "answered_by": "", "settings": {}} == {**expected, "settings": {}}
    assert found["settings"] == {**expected["settings"], "engine": "vllm"}
    assert "answers by vLLM 0.0.stand-in, losses by tunesmith's own engine" in read_report(run).summary_lines()
    for file in (run.html_report_file, run.markdown_report_file):
        assert "nswers by vLLM 0.0.stand-in" in file.read_text(encoding="utf-8")
    assert rescore_run(run, EvaluateConfig(scorers=("chrf",))).answered_by == "vLLM 0.0.stand-in"
    with pytest.raises(ConfigError, match='engine is given as "tunesmith"'):
        rescore_run(run, EvaluateConfig(engine="tunesmith"))
    assert "(stand-in) starting" in (run.evaluation_dir / "vllm.log").read_text(encoding="utf-8")


def test_one_that_ends_in_the_middle_leaves_the_earlier_evaluation(
    with_adapter: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)
    run = RunDirectory(Path(shutil.copytree(with_adapter.path, tmp_path / "lora")))
    before = evaluated(run, OURS)[1]
    with pytest.raises(AssetError, match=r"exit code 3 while it was answering.*evaluation/vllm\.log"):
        evaluate_run(run, THEIRS.model_copy(update={"vllm_options": "--misbehave die"}), dtype="float32", device="cpu")
    assert [json.loads(line) for line in run.evaluation_records_file.read_text(encoding="utf-8").splitlines()] == before
    assert read_report(run).answered_by == ""


def test_what_is_refused_before_anything_starts(
    with_adapter: RunDirectory, data: Path, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_dora = trained(data, tiny_llama, tmp_path, "dora", lora=LoraConfig(dora=True))
    with_words = trained(data, tiny_llama, tmp_path, "words", new_tokens=("<shop>",))
    monkeypatch.setattr("tunesmith.evaluate.evaluate.open_tuned", lambda *_, **__: pytest.fail("a model is opened"))
    monkeypatch.setattr("tunesmith.evaluate.through_vllm.running", lambda *_: pytest.fail("vLLM is started"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="vLLM is not installed"):
        evaluate_run(with_adapter, THEIRS)
    put_on_path(tmp_path / "bin", monkeypatch)
    with pytest.raises(ConfigError, match="trained with DoRA"):
        evaluate_run(with_dora, THEIRS)
    with pytest.raises(ConfigError, match="new tokens"):
        evaluate_run(with_words, THEIRS)
    with pytest.raises(ConfigError, match="log-probabilities"):
        build(EvaluateConfig, {"engine": "vllm", "generation": {"logprobs": 1}})
    for refusal in in_ranks(2, require_vllm):
        assert "2 processes; expected one" in str(refusal)


def test_with_vllm_itself(data: Path, tmp_path: Path) -> None:
    if shutil.which("vllm") is None:
        pytest.skip("vLLM is not installed: there is no program `vllm` on PATH")
    model = build_tiny_llama(tmp_path / "model", width=128)  # heads of 32: vLLM has no attention for the smaller ones
    run = trained(data, model, tmp_path, "lora")
    _, records = evaluated(run, OURS)
    report, others = evaluated(run, THEIRS.model_copy(update={"vllm_options": "--enforce-eager"}))
    assert report["answered_by"].startswith("vLLM ")
    same = [
        one["answers"][label]["completion"] == other["answers"][label]["completion"]
        for one, other in zip(records, others, strict=True)
        for label in ("base", "tuned")
    ]
    assert sum(same) >= 0.9 * len(same)
