"""What of a sweep is sent to machines that do not have its directory: the record, the data set, and models that are folders here.

It goes in parts, each asked for by the machines that lack it, and each part in pieces, so that nothing is in memory whole:

    sweep      the record (sweep.json) and the data set (source/…); subsets are made where they arrive
    models/0   the first of the sweep's models that lie here, as from_pretrained wants it
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.assets import NAMED_MODELS
from tunesmith.runs import is_run
from tunesmith.sweep.directory import RECORD, SweepDirectory

SWEEP = "sweep"
"""The part that every machine needs."""
PIECE_BYTES = 2**25
OTHER_WEIGHTS = {".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".ot", ".gguf"}
"""Ends of files in a model's folder that are not read: safetensors are."""
SAMPLE_EVERY, SAMPLE_BYTES = 2**22, 2**14


class TransferError(Exception):
    """What came from another machine is not what was to come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalModel:
    """A model of the sweep that is a folder, a `.gguf` file or a run of the machine that the sweep was started on."""

    reference: str
    """As the sweep names it."""
    path: str
    """Absolute."""
    part: str
    digest: str
    """Of the files, as `digest_of` has it."""
    is_run: bool
    """It stands on files elsewhere, and is not sent."""


def local_models(sweep: SweepDirectory) -> tuple[LocalModel, ...]:
    """Those that are not known by name."""
    return tuple(
        LocalModel(
            reference=reference,
            path=os.path.abspath(path),  # noqa: PTH100 - links stay: the same path may be looked for elsewhere
            part=f"models/{number}",
            digest=digest_of(path),
            is_run=is_run(path),
        )
        for number, reference in enumerate(sweep.config.models)
        if reference not in NAMED_MODELS and (path := Path(reference).expanduser()).exists()
    )


def is_here(model: LocalModel) -> bool:
    """Whether this machine has it at the same path."""
    path = Path(model.path)
    return path.exists() and digest_of(path) == model.digest


def digest_of(path: Path) -> str:
    """Of names, sizes and a sample of the bytes (0.4 %) of what is sent, cards left out; of a run, known by its path, of nothing."""
    digest = hashlib.sha256()
    for name, file in [] if is_run(path) else files_of_model(path):
        if file.suffix == ".md":
            continue
        size = file.stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        with file.open("rb") as stream:
            for place in range(0, size, SAMPLE_EVERY):
                stream.seek(place)
                digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()[:20]


def files_of_model(path: Path) -> list[tuple[str, Path]]:
    """What is read of a model, with names that begin with the model's."""
    if path.is_file():
        return [(path.name, path)]
    name = path.absolute().name
    files = [*path.glob("*"), *path.glob("additional_chat_templates/*")]
    wanted = [file for file in files if file.is_file() and not file.name.startswith(".") and file.suffix not in OTHER_WEIGHTS]
    return sorted((f"{name}/{file.relative_to(path).as_posix()}", file) for file in wanted)


def identity_of(sweep: SweepDirectory, models: Sequence[LocalModel] = ()) -> str:
    """The same whenever the sweep is gone on with, another for every other sweep or other weights."""
    digests = "".join(model.digest for model in models)
    return hashlib.sha256((sweep.path / RECORD).read_bytes() + str(sweep.path.resolve()).encode() + digests.encode()).hexdigest()[:20]


def pieces_of(sweep: SweepDirectory, part: str, models: Sequence[LocalModel] = ()) -> Iterator[tuple[str, bytes]]:
    """Of a part: names of files and what is to be added to each; an empty file has one piece."""
    if part == SWEEP:
        yield RECORD, _record(sweep, models)
        data = sweep.config.data
        files = [(f"source/{data.name}/{file.relative_to(data).as_posix()}", file) for file in sorted(data.rglob("*")) if file.is_file()]
    else:
        model = next(model for model in models if model.part == part)
        files = files_of_model(Path(model.path))
    for name, file in files:
        with file.open("rb") as stream:
            yield name, stream.read(PIECE_BYTES)
            while content := stream.read(PIECE_BYTES):
                yield name, content


def _record(sweep: SweepDirectory, models: Sequence[LocalModel]) -> bytes:
    """With the data set as a path inside of what is sent, and models by their whole paths."""
    record = json.loads((sweep.path / RECORD).read_text(encoding="utf-8"))
    paths = {model.reference: model.path for model in models}
    record["config"]["data"] = f"source/{sweep.config.data.name}"
    record["config"]["models"] = [paths.get(model, model) for model in sweep.config.models]
    return json.dumps(record).encode()


def write_pieces(directory: Path, pieces: Iterable[tuple[str, bytes]]) -> None:
    """Into files below it, in the order they come.

    Raises:
        TransferError: a name leads out of the directory.
    """
    for name, content in pieces:
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise TransferError(f"{name} lies outside of {directory.name}")
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as stream:
            stream.write(content)
