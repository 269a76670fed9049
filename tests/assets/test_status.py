"""`list_models` is quick, light, and right about what is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.assets import NAMED_MODELS, Sources, cache_dir, list_models, resolve_model
from tunesmith.assets.resolve import wheel_key


def test_nothing_cached(cache: Path) -> None:
    smollm2, gemma3 = list_models()
    assert (smollm2.name, smollm2.hub_id, smollm2.kind) == ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct", "chat")
    assert (gemma3.name, gemma3.hub_id, gemma3.kind) == ("gemma3-270m", "google/gemma-3-270m", "base")
    assert (smollm2.licence, smollm2.num_parameters, smollm2.download_bytes) == ("Apache-2.0", 134_515_008, 92_871_040)
    assert (gemma3.licence, gemma3.num_parameters, gemma3.download_bytes) == ("Gemma Terms of Use", 268_098_176, 238_203_400)
    assert (smollm2.disk_bytes, smollm2.origin, smollm2.problem) == (None, None, None)
    assert not cache.exists()


def test_a_cached_model_shows_its_size_and_a_damaged_one_its_problem(cache: Path, sources: Sources) -> None:
    tiny = resolve_model("tiny", sources=sources).directory
    target = shutil.copytree(tiny, tiny.parent / wheel_key(NAMED_MODELS["smollm2-135m-instruct"]))
    status = list_models()[0]
    assert status.disk_bytes == sum(file.stat().st_size for file in tiny.iterdir() if file.name != "asset.json")
    assert (status.origin, status.problem) == ("PyPI wheel tiny-model 1.0, Q4_1 dequantised to float32", None)
    (target / "config.json").unlink()
    status = list_models()[0]
    assert status.disk_bytes is None
    assert status.problem is not None
    assert "config.json is missing" in status.problem


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("TUNESMITH_CACHE")
    assert cache_dir() == tmp_path / "xdg" / "tunesmith"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "tunesmith"


def test_listing_imports_nothing_heavy() -> None:
    script = (
        "import sys, socket; socket.socket = None\n"
        "from tunesmith.assets import list_models; list_models()\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'pydantic', 'numpy', 'gguf', 'tokenizers', 'filelock', 'urllib.request'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
