"""The table of local processes, from a local Ray with a worker killed in the middle, and from machines without the directory.

The machines are network namespaces with an address, processes and a disk of their own; where there may not be any, those tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.namespaces import Host, Namespaces, kill_all_in, processes_in
from tunesmith.config import EvaluateConfig, GenerateConfig, PrepareConfig, SweepConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import ConfigError
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.runs import open_run
from tunesmith.sweep.cluster import RayCluster
from tunesmith.sweep.directory import SweepDirectory
from tunesmith.sweep.report import SweepReport, build_report
from tunesmith.sweep.sweep import run_sweep

pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'tunesmith[ray]'")
pytestmark = pytest.mark.slow

EVALUATION = EvaluateConfig(generation=GenerateConfig(max_new_tokens=4), limit=6)


@pytest.fixture(scope="module", autouse=True)
def kernels() -> Iterator[None]:
    """None are compiled for the caches of machines that are new in every test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_KERNELS", "off")
        yield


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


MACHINE = (
    'hostname "$1"; mount -t tmpfs none /tmp/ray; mount -t tmpfs none "$2"; mkdir "$2/home"; '
    'export HOME="$2/home" TUNESMITH_CACHE="$2/home/cache"; shift 2; exec "$@"'
)
"""Of a shell: a name, a directory that is not here, a command."""
SECONDS = 150


@pytest.fixture
def network() -> Iterator[tuple[list[Host], Namespaces]]:
    namespaces = Namespaces(3)
    try:
        try:
            hosts = namespaces.make()
            subprocess.run([*hosts[0].within, *OWN, "true"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces can be made here: {error}")
        yield hosts, namespaces
    finally:
        namespaces.remove()


OWN = ("unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc")


def start_ray(host: Host, name: str, absent: Path, said: Path, *words: str) -> subprocess.Popen[bytes]:
    """A machine of a cluster with one core, where `absent` is empty."""
    Path("/tmp/ray").mkdir(exist_ok=True)
    ray = [str(Path(sys.executable).with_name("ray")), "start", *words, "--node-ip-address", host.address, "--num-cpus", "1", "--block"]
    ray += ["--object-store-memory", str(10**8), "--disable-usage-stats"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    command = [*host.within, *OWN, "bash", "-c", MACHINE, "machine", name, str(absent), *ray]
    with said.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment, start_new_session=True)
    deadline = time.monotonic() + SECONDS
    while "Ray runtime started" not in said.read_text(encoding="utf-8"):
        assert process.poll() is None, said.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, said.read_text(encoding="utf-8")
        time.sleep(0.1)
    return process


def trial_in(namespace: str) -> str | None:
    """The trial that a machine is at."""
    for process in processes_in(namespace):
        with suppress(psutil.NoSuchProcess):
            if "tunesmith.sweep.trial" in (line := process.cmdline()):
                return line[-1]
    return None


def test_a_machine_lost_in_the_middle_costs_nothing_but_its_attempt(
    config: SweepConfig,
    here: SweepReport,
    network: tuple[list[Host], Namespaces],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    (head, other, outside), namespaces = network
    sweep, absent = SweepDirectory.create(tmp_path / "there", config), tmp_path_factory.getbasetemp()
    start_ray(head, "machine-1", absent, tmp_path / "1.log", "--head", "--port", "6379", "--include-dashboard=false")
    start_ray(other, "machine-2", absent, tmp_path / "2.log", "--address", f"{head.address}:6379")
    address = ["--on", "ray", "--ray-address", f"ray://{head.address}:10001"]
    command = [*outside.within, sys.executable, "-m", "tunesmith", "sweep", "--resume", str(sweep.path), *address]
    with (tmp_path / "said").open("wb") as said:
        driver = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, "RAY_AUTH_MODE": "disabled"})
    try:
        while not (lost := trial_in(namespaces.names[1])):
            assert driver.poll() is None, (tmp_path / "said").read_text(encoding="utf-8")
            time.sleep(0.1)
        kill_all_in(namespaces.names[1])
        assert driver.wait(SECONDS) == 0, (tmp_path / "said").read_text(encoding="utf-8")
    finally:
        driver.kill()
    there = build_report(sweep)
    assert_same(here, there)
    assert {name: end.host for name, end in sweep.ends().items()} == {result.name: "machine-1" for result in here.results}
    assert {result.name for result in there.results if result.failures} == {lost}
    assert f"sending {config.models[0]} to" in (tmp_path / "said").read_text(encoding="utf-8")
    assert open_run(sweep.runs_dir / lost).record()["model"]["directory"] == config.models[0]


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
