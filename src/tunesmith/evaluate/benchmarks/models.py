"""The models that a benchmark compares: for each run the base it started from and what it made of it, and any other models.

A base that several runs share is asked once. A run's base is its own engine with the adapter switched off, so what a comparison shows
is the training.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tunesmith import assets
from tunesmith.config import ADAPTER_METHODS
from tunesmith.engine.adapters import as_base
from tunesmith.engine.loading import dtype_name, weights_fingerprint
from tunesmith.errors import ConfigError
from tunesmith.evaluate.benchmarks.harness import TunesmithLM
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.tuned import OpenedModel, base_directory, open_base, open_model, open_tuned

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """One model, not yet loaded."""

    label: str
    """What it is called in the report: a run's name, a model's name."""
    reference: str
    """What opens it: the run it comes from, or the model as it was named."""
    fingerprint: str
    """Of its weights."""
    run: RunDirectory | None = None
    is_base: bool = False
    """Of `run`: the model it started from."""
    against: str | None = None
    """Label of the model it is compared with; None for the first."""

    def folder(self, opened: Opened) -> str:
        """Where its answers are kept: they hold for these weights in this type on this kind of device alone."""
        return f"{self.label}-{self.fingerprint[:8]}-{opened.dtype}-{opened.device}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A model that answers."""

    model: TunesmithLM
    dtype: str
    device: str
    """What computes: `cpu`, `cuda`, or another engine with its version and further options: `vllm-0.32.0-cuda-1f0a7c33`."""


def find_contestants(references: Sequence[str], say: Say) -> tuple[Contestant, ...]:
    """Who is compared with whom: a run with its base, any other model with the first.

    Raises:
        AssetError: there is no such model.
        RunError: a run has not finished, or its base has changed.
        ConfigError: two different models have one name.
    """
    found: dict[str, Contestant] = {}
    for reference in dict.fromkeys(references):
        added = _of_run(open_run(Path(reference))) if is_run(reference) else [_of_model(reference, next(iter(found), None), say)]
        for one in added:
            known = found.setdefault(one.label, one)
            if known.fingerprint != one.fingerprint:
                expected = "names of their own"
                raise ConfigError(
                    reference, f"two different models are called {one.label}", expected=expected, remedy="rename one's folder"
                )
    return tuple(found.values())


def _of_run(run: RunDirectory) -> list[Contestant]:
    run.manifest()  # refuses one that has not finished
    record = run.record()
    config = record["config"]
    marks = (["nf4"] if config["method"] == "qlora" else []) + list(config.get("new_tokens", ()))
    base = weights_fingerprint(base_directory(record))
    name = " + ".join([record["model"]["name"], *(["four bits"] if config["method"] == "qlora" else [])])
    name += f" + {len(config['new_tokens'])} tokens" if config.get("new_tokens") else ""
    first = Contestant(label=name, reference=str(run.path), fingerprint=_digest(base, *marks), run=run, is_base=True)
    own = _digest(base, *marks, weights_fingerprint(run.model_dir))
    return [first, Contestant(label=run.name, reference=str(run.path), fingerprint=own, run=run, against=name)]


def _of_model(reference: str, first: str | None, say: Say) -> Contestant:
    resolved = assets.resolve_model(reference, on_progress=say)
    fingerprint = _digest(weights_fingerprint(resolved.directory))
    label = Path(resolved.name).name
    return Contestant(label=label, reference=reference, fingerprint=fingerprint, against=None if first == label else first)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Opener:
    """Opens contestants one after another, keeping a run's network for its base where an adapter can be switched off."""

    def __init__(self, *, dtype: str, device: str, say: Say) -> None:
        self._dtype, self._device, self._say = dtype, device, say
        self._held: tuple[str, OpenedModel] | None = None

    @contextmanager
    def opened(self, contestant: Contestant) -> Iterator[Opened]:
        """The model, as the harness sees it, within the block."""
        opened = self._open(contestant)
        switched_off = contestant.is_base and opened.network is not opened.loaded.network
        with as_base(opened.network) if switched_off else nullcontext():
            loaded = opened.loaded
            yield Opened(model=TunesmithLM.of(opened), dtype=dtype_name(loaded.dtype), device=loaded.device.type)

    def close(self) -> None:
        """Let go of what is held."""
        self._held = None

    def _open(self, contestant: Contestant) -> OpenedModel:
        if self._held and self._held[0] == contestant.reference:
            return self._held[1]
        self._held = None
        gc.collect()  # two networks would need twice the memory
        if contestant.run is None:
            opened = open_model(contestant.reference, dtype=self._dtype, device=self._device, say=self._say)
        elif contestant.is_base and not _has_adapter(contestant.run):
            return open_base(contestant.run, dtype=self._dtype, device=self._device)
        else:
            opened = open_tuned(contestant.run, dtype=self._dtype, device=self._device)
        self._held = (contestant.reference, opened)
        return opened


def _has_adapter(run: RunDirectory) -> bool:
    return run.manifest()["method"] in ADAPTER_METHODS
