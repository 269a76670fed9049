"""A local Ray: the table of local processes, with a worker killed in the middle, and from machines without the directory."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

import psutil
import pytest

from tunesmith.config import EvaluateConfig, GenerateConfig, PrepareConfig, SweepConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import ConfigError
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.runs import open_run
from tunesmith.sweep.directory import SweepDirectory
from tunesmith.sweep.on_ray import RayCluster
from tunesmith.sweep.report import SweepReport
from tunesmith.sweep.sweep import run_sweep

pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'tunesmith[ray]'")
pytestmark = pytest.mark.slow

EVALUATION = EvaluateConfig(generation=GenerateConfig(max_new_tokens=4), limit=6)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> SweepConfig:
    directory = tmp_path_factory.mktemp("data")
    rows = [{"question": f"What is {n}?", "answer": f"{n} is {('red', 'green', 'blue')[n % 3]}."} for n in range(60)]
    (directory / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare([directory / "faq.jsonl"], directory / "prepared", PrepareConfig(near_threshold=1))
    fixed = {"max_steps": 3, "evaluate_every": 2, "estimate": False}
    data, models = directory / "prepared", (str(tiny_llama),)
    return SweepConfig(data=data, models=models, sizes=(10,), vary={"seed": (0, 1)}, fixed=fixed, evaluation=EVALUATION)


@pytest.fixture(scope="module")
def here(config: SweepConfig, tmp_path_factory: pytest.TempPathFactory) -> SweepReport:
    return run_sweep(SweepDirectory.create(tmp_path_factory.mktemp("here") / "sweep", config), processes=2, cores=1)


def assert_same(one: SweepReport, other: SweepReport) -> None:
    """In all but times, places and accidents."""
    for a, b in zip(one.results, other.results, strict=True):
        assert (a.name, a.status, a.validation_loss, a.base, a.tuned, a.verdict) == (
            b.name, b.status, b.validation_loss, b.base, b.tuned, b.verdict
        )  # fmt: skip
    assert (one.best, one.curves, one.notes) == (other.best, other.curves, other.notes)


def test_a_killed_worker_loses_nothing_but_its_attempt(config: SweepConfig, here: SweepReport, tmp_path: Path) -> None:
    sweep = SweepDirectory.create(tmp_path / "there", config)
    killed = threading.Event()

    def kill() -> None:
        while not killed.is_set():
            time.sleep(0.1)
            workers = [c for c in psutil.Process().children(recursive=True) if "ray::carry_out" in " ".join(c.cmdline())]
            if workers and any(worker.children() for worker in workers):
                next(worker for worker in workers if worker.children()).kill()
                killed.set()

    threading.Thread(target=kill, daemon=True).start()
    said: list[str] = []
    there = run_sweep(sweep, cluster=RayCluster(), say=said.append)
    assert killed.is_set()
    assert_same(here, there)
    (failures,) = [result.failures for result in there.results if result.failures]
    assert "its worker was lost" in failures[0]
    assert any("tried once more (1 of 2)" in line for line in said)


def test_runs_come_home_from_machines_without_the_directory(
    config: SweepConfig, here: SweepReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    sweep = SweepDirectory.create(tmp_path / "there", config)
    there = run_sweep(sweep, cluster=RayCluster(may_share=False))
    assert_same(here, there)
    run = open_run(sweep.runs_dir / there.results[0].name)
    assert Path(run.record()["data"]["directory"]) == sweep.data_of(sweep.trials()[0]).resolve()
    evaluate_run(run, EVALUATION)  # as any run of this machine
    assert not [path for path in (tmp_path / "cache" / "sweeps").iterdir() if path.is_dir()]


def test_a_cluster_that_is_not_there_is_said(config: SweepConfig, tmp_path: Path) -> None:
    sweep = SweepDirectory.create(tmp_path / "sweep", config)
    with pytest.raises(ConfigError, match="9 GPUs"):
        run_sweep(sweep, cluster=RayCluster(gpus=9))
    assert sweep.ends() == {}


def test_the_cluster_file_of_the_documentation_is_one_of_rays() -> None:
    import jsonschema
    import ray
    import yaml

    text = (Path(__file__).resolve().parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "cluster_name" in block]
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(block), schema)
