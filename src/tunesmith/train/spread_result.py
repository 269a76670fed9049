"""The result of a run whose weights are spread over ranks: one rank puts it together from what is on disk, some rows at a time.

The same files as of a run in one process: an adapter in PEFT's format, or a folder that `from_pretrained` loads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.adapters import save_adapter
from tunesmith.engine.float_file import write_floats
from tunesmith.engine.sharded.reading import INDEX, WeightFolder
from tunesmith.files import write_json
from tunesmith.runs import RunDirectory
from tunesmith.train.checkpoint import Progress, best_path
from tunesmith.train.saved_tensors import WEIGHTS, SavedTensors
from tunesmith.train.start import Start, Trainee

LARGEST_FILE = "50GB"
"""As `save_pretrained` splits a model."""
PIECE_BYTES = 2**25
"""Of a whole model that are in memory at a time."""


def kept_weights(run: RunDirectory, progress: Progress) -> SavedTensors:
    """Those of the best validation, else of the last step, which has a checkpoint when training is over."""
    is_last = progress.best_step in (None, progress.step)
    return SavedTensors(run.checkpoint_path(progress.step) if is_last else best_path(run, progress.best_step or 0))


def write_spread(trainee: Trainee, saved: SavedTensors, start: Start, directory: Path) -> None:
    """Write what was trained; call on one rank."""
    if trainee.peft_network is None:
        _write_whole(trainee.network, saved, WeightFolder(start.directory), directory)
        return
    names = [name.removeprefix(WEIGHTS) for name in saved if name.startswith(WEIGHTS)]
    save_adapter(trainee.peft_network, {name: saved.whole(WEIGHTS + name) for name in names}, directory)


def _write_whole(network: PreTrainedModel, saved: SavedTensors, base: WeightFolder, directory: Path) -> None:
    """In float32: trained weights as they were saved, the others as the base model has them."""
    sources = _sources(network, saved, base)
    shapes = {name: saved.shape(WEIGHTS + name) if name not in sources else base.shape(sources[name]) for name in _names(network)}
    hollow = {name: torch.empty(shape, device="meta", dtype=torch.float32) for name, shape in shapes.items()}
    plan = split_torch_state_dict_into_shards(hollow, filename_pattern="model{suffix}.safetensors", max_shard_size=LARGEST_FILE)
    for file, names in plan.filename_to_tensors.items():
        write_floats(directory / file, {name: shapes[name] for name in names}, _numbers(names, sources, saved, base))
    if plan.is_sharded:
        write_json(directory / INDEX, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})
    network.config.dtype = "float32"
    network.config.architectures = [type(network).__name__.removeprefix("FSDP")]
    network.config.save_pretrained(directory)
    if network.can_generate():
        network.generation_config.save_pretrained(directory)


def _names(network: PreTrainedModel) -> list[str]:
    """What `save_pretrained` writes: everything stored, tied weights once."""
    left_out = set(network.all_tied_weights_keys) | set(network._keys_to_ignore_on_save or ())
    return [name for name in network.state_dict(keep_vars=True) if name not in left_out]


def _sources(network: PreTrainedModel, saved: SavedTensors, base: WeightFolder) -> dict[str, str]:
    """Of each weight that did not train, its name in the base model's folder; tied ones may be there under another."""
    tied: dict[str, list[str]] = {}
    for target, source in network.all_tied_weights_keys.items():
        tied.setdefault(source, []).append(target)
    frozen = [name for name in _names(network) if WEIGHTS + name not in saved]
    return {name: next(one for one in (name, *tied.get(name, ())) if one in base) for name in frozen}


def _numbers(names: Iterable[str], sources: Mapping[str, str], saved: SavedTensors, base: WeightFolder) -> Iterator[Tensor]:
    """Of one tensor after the other, some rows at a time."""
    for name in names:
        yield from _in_pieces(base, sources[name]) if name in sources else _in_pieces(saved, WEIGHTS + name)


def _in_pieces(folder: WeightFolder | SavedTensors, name: str) -> Iterator[Tensor]:
    shape = folder.shape(name)
    if not shape:
        yield folder.whole(name).float()
        return
    at_a_time = max(1, PIECE_BYTES // (4 * max(1, math.prod(shape[1:]))))
    for start in range(0, shape[0], at_a_time):
        yield folder.rows(name, start, min(start + at_a_time, shape[0])).float()
