"""One training run on two machines, started by torchrun on each, one of them losing its process in the middle.

The machines are network namespaces with an address of their own, joined by virtual Ethernet; where the test may not make any, two
loopback addresses.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from tests.namespaces import Host, Namespaces
from tests.ranks import free_port
from tunesmith.config import TrainConfig
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.train import train

STEPS, KILLED_AFTER = 100, 25
EQUAL = {"rtol": 2e-5, "atol": 2e-6}
"""Of float32 numbers that were added up in another order, over all steps."""
SECONDS = 120


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    if sys.platform != "linux":
        pytest.skip("other addresses of this machine need Linux")
    namespaces = Namespaces(2)
    try:
        try:
            yield namespaces.make()
        except OSError:  # not root, no `ip`, or a container that may not
            yield [Host(address=address, interface="lo") for address in ("127.0.0.2", "127.0.0.3")]
    finally:
        namespaces.remove()


@pytest.mark.slow
def test_a_process_lost_on_one_host_is_started_again_and_nothing_is_lost(
    hosts: list[Host], tiny_llama: Path, faq: Path, tmp_path: Path
) -> None:
    settings = {"dtype": "float32", "max_steps": STEPS, "epochs": 1000, "evaluate_every": 10, "patience": 0}
    config = TrainConfig(model=str(tiny_llama), data=faq, device="cpu", estimate=False, **settings)
    launches = [_start(host, hosts[0], words=_words(config, tmp_path), said=tmp_path / f"{n}.log") for n, host in enumerate(hosts)]
    run = RunDirectory(tmp_path / "two")
    try:
        _kill_the_rank_of(launches[1], run)
        codes = [launch.wait(SECONDS) for launch in launches]
    finally:
        for launch in launches:
            _end(launch)
    said = [(tmp_path / f"{n}.log").read_text(encoding="utf-8") for n in range(len(hosts))]
    assert codes == [0, 0], "\n".join(said)
    assert any(f"resuming {run.path} after step" in text for text in said)
    assert any("lost touch with the others" in text for text in said)
    assert open_run(run.path).record()["processes"] == len(hosts)
    alone = train(config, runs_dir=tmp_path, name="one")
    losses = [[line["loss"] for line in one.metrics() if line["kind"] == "step"] for one in (run, alone)]
    assert len(losses[0]) == STEPS
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), **EQUAL)


def _words(config: TrainConfig, runs_dir: Path) -> list[str]:
    """The settings as a user types them; the same on both machines."""
    words = [str(config.data), "--model", config.model, "--name", "two", "--runs-dir", str(runs_dir), "--no-estimate", "--device", "cpu"]
    for name in ("dtype", "max_steps", "epochs", "evaluate_every", "patience"):
        words += [f"--{name.replace('_', '-')}", str(getattr(config, name))]
    return words


_port = free_port()
_launch = uuid.uuid4().hex


def _start(host: Host, first: Host, *, words: list[str], said: Path) -> subprocess.Popen[bytes]:
    """Torchrun on one machine, one process there."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first.address}:{_port}", "--rdzv-id", _launch]
    torchrun += ["--rdzv-conf", f"is_host={int(host is first)}", "--local-addr", host.address]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": host.interface}
    command = [*host.within, *torchrun, "-m", "tunesmith", "train", *words]
    with said.open("wb") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment, start_new_session=True)


def _kill_the_rank_of(launch: subprocess.Popen[bytes], run: RunDirectory) -> None:
    """With SIGKILL, once the run is past a checkpoint."""
    deadline = time.monotonic() + SECONDS
    while max((line["step"] for line in run.metrics()), default=0) < KILLED_AFTER:
        assert launch.poll() is None, "it ended before"
        assert time.monotonic() < deadline, "it does not train"
        time.sleep(0.02)
    ranks = [child for child in psutil.Process(launch.pid).children(recursive=True) if "RANK" in child.environ()]
    assert len(ranks) == 1
    ranks[0].kill()


def _end(launch: subprocess.Popen[bytes]) -> None:
    """Torchrun and what it started, if it still runs."""
    if launch.poll() is None:
        os.killpg(launch.pid, signal.SIGKILL)
        launch.wait()
