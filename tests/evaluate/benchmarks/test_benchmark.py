"""The way of the verb with a tiny model: the harness' own numbers, the same documents, going on after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tests.ranks import run_ranks
from tests.tiny_models import build_tiny_llama
from tunesmith.config import BenchmarkConfig
from tunesmith.evaluate.benchmarks import answers
from tunesmith.evaluate.benchmarks.benchmark import run_benchmarks
from tunesmith.evaluate.benchmarks.report import BenchmarkReport

CONFIG = BenchmarkConfig(tasks=("arc", "hellaswag", "truthfulqa"))


@pytest.fixture(scope="module")
def other_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llama(tmp_path_factory.mktemp("models") / "other-llama", seed=1)


def config(data: Path, **changes: Any) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate({"tasks": CONFIG.tasks, "data": str(data), "num_resamples": 100, **changes})


def run(models: list[Path], settings: BenchmarkConfig, out: Path, **options: Any) -> BenchmarkReport:
    return run_benchmarks([str(model) for model in models], settings, out, dtype="float32", device="cpu", **options)


def records(out: Path, task: str) -> list[dict[str, Any]]:
    [file] = out.glob(f"*/{task}/records.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


STOCK = {
    "arc_easy": "ai2_arc\n    training_split: null",
    "hellaswag": "hellaswag\n    training_split: null",
    "truthfulqa_mc2": "truthful_qa",
}


@pytest.mark.parametrize(("shots", "chat_template"), [(None, False), (2, False), (1, True)])
def test_scores_are_the_harness_own(eval_data: Path, tiny_llama: Path, tmp_path: Path, shots: int | None, chat_template: bool) -> None:
    settings = config(eval_data, tasks=tuple(STOCK), num_fewshot=shots, chat_template=chat_template, seed=3)
    report = run([tiny_llama], settings, tmp_path / "out")
    for name, folder in STOCK.items():
        text = f"group: local_{name}\ntask:\n  - task: {name}\n    dataset_path: {eval_data}/{folder}\n"
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        theirs = lm_eval.simple_evaluate(
            model=HFLM(pretrained=str(tiny_llama), dtype="float32", device="cpu", batch_size=4),
            tasks=[f"local_{name}"],
            task_manager=TaskManager(include_path=[str(tmp_path), *_stock_folders()], include_defaults=False),
            num_fewshot=shots,
            apply_chat_template=chat_template,
            fewshot_as_multiturn=chat_template,
            fewshot_random_seed=3,
            bootstrap_iters=0,
        )
        [ours] = [one for one in report.benchmarks if one.name == name]
        for score in ours.scores["tiny-llama"]:
            assert score.value == pytest.approx(theirs["results"][name][f"{score.metric},none"], abs=1e-3)
        for one, other in zip(records(tmp_path / "out", name), theirs["samples"][name], strict=True):
            assert (one["hash"], one["prompt_hash"]) == (other["doc_hash"], other["prompt_hash"])
            assert [nats for nats, _ in one["answers"]] == pytest.approx([nats for nats, _ in other["filtered_resps"]], abs=1e-3)


def _stock_folders() -> list[str]:
    root = Path(str(lm_eval.__file__)).parent / "tasks"
    return [str(root / name) for name in ("arc", "hellaswag", "truthfulqa")]


def _together(models: list[Path], settings: BenchmarkConfig, out: Path) -> dict[str, Any]:
    return dict(run(models, settings, out).to_json())


@pytest.mark.slow
def test_two_processes_score_as_one(eval_data: Path, tiny_llama: Path, tmp_path: Path) -> None:
    settings = config(eval_data)
    expected = _together([tiny_llama], settings, tmp_path / "alone")
    first, second = run_ranks(2, _together, [tiny_llama], settings, tmp_path / "together")
    assert first["benchmarks"] == second["benchmarks"] == expected["benchmarks"]
    for task in ("arc_easy", "hellaswag", "truthfulqa_mc2"):
        for one, other in zip(records(tmp_path / "together", task), records(tmp_path / "alone", task), strict=True):
            assert [nats for nats, _ in one["answers"]] == pytest.approx([nats for nats, _ in other["answers"]], abs=1e-4)


def test_the_sample_is_what_is_asked(eval_data: Path, tiny_llama: Path, tmp_path: Path) -> None:
    report = run([tiny_llama], config(eval_data, tasks=("arc_easy",), limit=5), tmp_path)
    asked = records(tmp_path, "arc_easy")
    assert report.benchmarks[0].num_documents == len(asked) == 5
    assert report.benchmarks[0].num_all == 12
    assert all(f"the number {one['document']} in" in one["question"] for one in asked)
    assert all(one["right"].endswith(f" {one['document']}") for one in asked)


class Killed(Exception):
    pass


def test_a_killed_benchmark_goes_on(eval_data: Path, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(answers.CHUNK, "loglikelihood", 8)
    expected = run([tiny_llama], config(eval_data), tmp_path / "whole")
    computed = asked(monkeypatch)
    whole = len(list((tmp_path / "whole").glob("*/*/answers.jsonl")))

    def kill(stage: str, done: int, total: int) -> None:
        if "ARC-Challenge" in stage and done >= total // 2:
            raise Killed

    with pytest.raises(Killed):
        run([tiny_llama], config(eval_data), tmp_path / "killed", on_progress=kill)
    before = sum(computed)
    [file] = (tmp_path / "killed").glob("*/arc_challenge/answers.jsonl")
    assert not (file.parent / "result.json").exists()
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:-9])  # and while a line was being written
    found = run([tiny_llama], config(eval_data), tmp_path / "killed")
    assert found.benchmarks == expected.benchmarks
    assert sum(computed) == 4 * (12 + 12 + 8 + 6 + 6) + 8, "the torn line alone is computed again"
    assert 0 < before < sum(computed)
    assert whole == len(list((tmp_path / "killed").glob("*/*/answers.jsonl")))
    for one in (tmp_path / "whole").glob("*/*/*.jsonl"):
        assert (tmp_path / "killed" / one.relative_to(tmp_path / "whole")).read_bytes() == one.read_bytes()


def test_the_same_command_again_computes_nothing(
    eval_data: Path, tiny_llama: Path, other_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(eval_data, tasks=("hellaswag",))
    first = run([tiny_llama], settings, tmp_path)
    computed = asked(monkeypatch)
    assert run([tiny_llama], settings, tmp_path).benchmarks == first.benchmarks
    assert computed == []
    run([other_llama], settings, tmp_path)
    assert sum(computed) == 32, "another model's answers are its own"
    run([tiny_llama], config(eval_data, tasks=("hellaswag",), chat_template=True), tmp_path)
    assert sum(computed) == 64, "another question is another one"


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of requests that reach the model from now on."""
    computed: list[int] = []
    real = answers.TunesmithLM.loglikelihood

    def counted(self: Any, requests: Any, disable_tqdm: bool = False) -> Any:
        computed.append(len(requests))
        return real(self, requests, disable_tqdm)

    monkeypatch.setattr(answers.TunesmithLM, "loglikelihood", counted)
    return computed


def test_two_models_are_compared_on_the_same_documents(eval_data: Path, tiny_llama: Path, other_llama: Path, tmp_path: Path) -> None:
    report = run([tiny_llama, other_llama], config(eval_data, limit=6), tmp_path)
    assert report.models == ("tiny-llama", "other-llama")
    assert [(one.benchmark, one.model, one.against) for one in report.comparisons] == [
        (name, "other-llama", "tiny-llama") for name in ("arc_easy", "arc_challenge", "hellaswag", "truthfulqa_mc1", "truthfulqa_mc2")
    ]
    assert [one.test for one in report.comparisons] == ["exact McNemar"] * 4 + ["sign flips"]
    for one, benchmark in zip(report.comparisons, report.benchmarks, strict=True):
        assert one.num_documents == benchmark.num_documents == 6
        assert one.difference == pytest.approx(one.value - one.other)
        assert one.value == benchmark.scores["other-llama"][0].value
    assert report.averages == {}, "MMLU is missing"
    assert BenchmarkReport.from_json(json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))) == report
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "TruthfulQA mc2" in page
    assert "<script" not in page
    lines = report.summary_lines()
    assert lines[0] == report.comparisons[0].sentence
    assert (
        "a sample of 6 documents of each benchmark, seed 0, each task's own number of worked examples, without chat template" in lines[-1]
    )
