"""Models that are folders where a sweep was started: sent to machines that lack them, named there and at home by paths that exist."""

from __future__ import annotations

import json
import socket
from importlib import metadata
from pathlib import Path

import pytest

from tests.sweep.made import make_sweep
from tunesmith.errors import ConfigError
from tunesmith.sweep.cluster import RayCluster, connected
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.gathering import bring_home
from tunesmith.sweep.on_machine import Order, Outcome, carry_out, files_of, folder_of, lay_out, read_piece
from tunesmith.sweep.sending import SWEEP, LocalModel, identity_of, is_here, local_models, pieces_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models of mine" / "tiny-é"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    for name in ("config.json", "pytorch_model.bin", ".gitattributes"):
        (folder / name).write_text("{}", encoding="utf-8")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "large").touch()
    (folder / "empty.txt").touch()
    return folder


@pytest.fixture
def home(tmp_path: Path, model: Path) -> SweepDirectory:
    return make_sweep(tmp_path, model=str(model))


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of another machine."""
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "there"))
    return tmp_path / "there"


def order_of(home: SweepDirectory, models: tuple[LocalModel, ...], *, marker: Path | None = None) -> Order:
    trial = home.trials()[0]
    return Order(
        sweep=str(home.path),
        marker=str(marker) if marker else None,
        identity=identity_of(home, models),
        trial=trial.name,
        model=trial.model,
        models=models,
        cores=1,
        gpus=0.0,
        directory=str(home.path),
        version=metadata.version("tunesmith"),
    )


def test_a_model_comes_with_the_sweep_where_it_is_lacking(home: SweepDirectory, model: Path, there: Path) -> None:
    models = local_models(home)
    order = order_of(home, models)
    assert carry_out(order) == Outcome(end=None, lacks=[SWEEP])  # this machine has the model at the same path
    model.rename(model.with_name("away"))
    assert carry_out(order) == Outcome(end=None, lacks=[SWEEP, "models/0"])
    model.with_name("away").rename(model)
    parts = {part: list(pieces_of(home, part, models)) for part in (SWEEP, "models/0")}
    model.rename(model.with_name("away"))
    away = lay_out(folder_of(order.identity), models, lambda part: iter(parts[part]))
    assert [trial.name for trial in away.trials()] == [trial.name for trial in home.trials()]
    sent = Path(away.trials()[0].model)
    assert sent.is_relative_to(there)
    assert sorted(file.name for file in sent.iterdir()) == ["config.json", "empty.txt", "model.safetensors"]
    assert (sent / "model.safetensors").read_bytes() == (model.with_name("away") / "model.safetensors").read_bytes()


def test_other_weights_at_the_same_path_are_not_taken_for_the_model(home: SweepDirectory, model: Path, there: Path) -> None:
    models = local_models(home)
    assert is_here(models[0])
    for name in ("pytorch_model.bin", "README.md"):
        (model / name).write_text("not read", encoding="utf-8")
    assert is_here(models[0])
    (model / "model.safetensors").write_bytes(bytes(reversed(range(256))) * 100)
    assert carry_out(order_of(home, models)).lacks == [SWEEP, "models/0"]
    assert identity_of(home, local_models(home)) != identity_of(home, models)


def test_what_cannot_be_sent_is_said_with_the_machine(home: SweepDirectory, model: Path, there: Path) -> None:
    models, marker = local_models(home), home.path / ".driver"
    marker.touch()
    model.rename(model.with_name("away"))
    end = carry_out(order_of(home, models, marker=marker)).end
    assert end is not None
    assert f"{socket.gethostname()} does not have the model {model}" in str(end.error)
    assert not end.is_lost
    (run,) = (LocalModel(reference=one.reference, path=one.path, part=one.part, digest=one.digest, is_run=True) for one in models)
    end = carry_out(order_of(home, (run,))).end
    assert end is not None
    assert f"does not have the run {model}" in str(end.error)


def test_a_run_at_home_names_the_model_at_home(home: SweepDirectory, model: Path, tmp_path: Path) -> None:
    models, trial = local_models(home), home.trials()[0]
    sweep = tuple(pieces_of(home, SWEEP, models)), tuple(pieces_of(home, "models/0", models))
    model.rename(model.with_name("away"))
    away = lay_out(tmp_path / "cache" / "x", models, lambda part: iter(sweep[part != SWEEP]))
    model.with_name("away").rename(model)
    there, run = away.trials()[0].model, away.runs_dir / trial.name
    (run / "model").mkdir(parents=True)
    names = {"model": there, "data": str(away.data_of(trial))}
    where = {"reference": there, "directory": there, "origin": f"local folder {there}"}
    record = {"config": names, "given": names, "model": where, "data": {"directory": names["data"]}}
    (run / "run.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    (run / "model" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": there}), encoding="utf-8")
    (run / "model" / "README.md").write_text(f"base_model: {there}\n", encoding="utf-8")
    end = TrialEnd(name=trial.name, status="done", error=None, seconds=1.0)
    outcome = Outcome(end=end, machine="m", away=str(away.path), files=files_of(away, trial, is_done=True))
    bring_home(home, trial, outcome, lambda name, offset, size: read_piece(str(away.path), name, offset, size), lambda piece: piece)
    own = home.runs_dir / trial.name
    assert "cache" not in "".join(file.read_text(encoding="utf-8") for file in own.rglob("*") if file.is_file())
    come = json.loads((own / "run.json").read_text(encoding="utf-8"))
    assert come["config"] == come["given"] == {"model": str(model), "data": str(home.data_of(trial).resolve())}
    assert come["model"] == {"reference": str(model), "directory": str(model), "origin": f"local folder {model}"}
    assert json.loads((own / "model" / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"] == str(model)


def test_an_address_where_nobody_listens_is_said_at_once() -> None:
    pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'tunesmith[ray]'")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            with pytest.raises(ConfigError, match="nobody answers"):
                connected(RayCluster(address=address))
