"""Spreading a hollow network's weights over a group: each rank reads its rows from the model folder, tensor by tensor.

Every decoder layer is gathered for its turn, in the forward and in the backward pass; what belongs to no layer as the network
is called (calling.py). Trained weights are float32, so they are their own masters; what is gathered is rounded to the compute
type, and gradients are summed over the ranks in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard
from transformers import PreTrainedModel

from tunesmith.engine.adapters import decoder_layers
from tunesmith.engine.loading import unusable
from tunesmith.engine.sharded.calling import accept_bodies
from tunesmith.engine.sharded.four_bits import FourBitLinear
from tunesmith.engine.sharded.reading import WeightFolder
from tunesmith.errors import AssetError


class Rows(NamedTuple):
    """Which rows of a tensor's first dimension are a rank's."""

    start: int
    stop: int


def own_rows(num_rows: int, rank: int, size: int) -> Rows:
    """As FSDP cuts them: pieces of one length, the last ones shorter or empty.

    >>> [own_rows(5, rank, 4) for rank in range(4)]
    [Rows(start=0, stop=2), Rows(start=2, stop=4), Rows(start=4, stop=5), Rows(start=5, stop=5)]
    """
    length = -(-num_rows // size)
    return Rows(min(rank * length, num_rows), min((rank + 1) * length, num_rows))


@torch.no_grad()
def spread(network: PreTrainedModel, folder: WeightFolder, mesh: DeviceMesh, compute_dtype: torch.dtype, *, offload: bool = False) -> None:
    """Shard a hollow network and read its weights; those that are there already, adapters and new tokens, are cut on every rank.

    Args:
        offload: keep what is not at work in the CPU's memory; for meshes of GPUs.

    Raises:
        AssetError: the folder lacks a weight, or has it under another name or in another shape than the network.
    """
    sources = sources_of(network, folder)
    there = {name: p.detach().clone() for name, p in network.named_parameters() if not p.is_meta}
    _to_meta(network)
    _shard(network, mesh, compute_dtype, offload=offload)
    parts = _parts(network, folder, sources, there, mesh, offload=offload)
    network.load_state_dict(dict(parts), assign=True)
    device = torch.device(mesh.device_type)
    for module in network.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(device)


def _shard(network: PreTrainedModel, mesh: DeviceMesh, compute_dtype: torch.dtype, *, offload: bool) -> None:
    settings: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32, cast_forward_inputs=False),
        "offload_policy": CPUOffloadPolicy() if offload else OffloadPolicy(),
    }
    for layer in decoder_layers(network):
        fully_shard(layer, **settings)
    accept_bodies(network)
    fully_shard(network, **settings)
    if offload:  # transformers takes a network to be where its parameters are
        setattr(type(network), "device", property(_device_of_work))  # noqa: B010 - FSDP has made the class for this network's kind
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the loss is a mean over the whole step already
            module.set_force_sum_reduction_for_comms(True)


def _to_meta(network: nn.Module) -> None:
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and not parameter.is_meta:
                module._parameters[name] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)


def sources_of(network: PreTrainedModel, folder: WeightFolder) -> Mapping[str, str]:
    """Of each weight or stored buffer of the network that is in the folder, its name there; tied ones are there once at least.

    Raises:
        AssetError: one is not there.
    """
    stored = _stored(network)
    same: dict[int, list[str]] = {}
    for name, tensor in stored.items():
        same.setdefault(id(tensor), []).append(name)
    sources: dict[str, str] = {}
    for tied in same.values():
        plain = [plain_name(name) for name in tied]
        found = [name for name in plain if name in folder]
        if found:
            sources |= dict.fromkeys(tied, found[0])
        elif stored[tied[0]].is_meta:
            raise _misnamed(folder, f"it has no {plain[0]}")
        if not all(folder.are_equal(found[0], other) for other in found[1:]):
            raise _misnamed(folder, f"{' and '.join(found)} differ, which the configuration ties")
    for name, source in sources.items():
        expected = _full_shape(network, name, stored[name])
        if folder.shape(source) != expected:
            raise _misnamed(folder, f"{source} is {list(folder.shape(source))}, not {list(expected)}")
    return sources


def plain_name(name: str) -> str:
    """Of a weight: without peft's layers around it."""
    return name.replace(".token_adapter.", ".").replace(".base_layer.", ".")


def _stored(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers under every name they have."""
    found: dict[str, Tensor] = dict(network.state_dict(keep_vars=True))
    return found


def _full_shape(network: nn.Module, name: str, tensor: Tensor) -> torch.Size:
    layer = network.get_submodule(name.rpartition(".")[0])
    if isinstance(layer, FourBitLinear) and name.endswith(".weight"):
        return torch.Size((layer.out_features, layer.in_features))
    return tensor.shape


def _misnamed(folder: WeightFolder, found: str) -> AssetError:
    error = unusable(folder.directory, found)
    return AssetError(
        error.place,
        f"its weights cannot be read in parts ({found})",
        expected="weights under the names and in the shapes that the network has them, as most models have",
        remedy="use --strategy ddp, or save the model anew with transformers",
    )


def _parts(
    network: PreTrainedModel,
    folder: WeightFolder,
    sources: Mapping[str, str],
    there: Mapping[str, Tensor],
    mesh: DeviceMesh,
    *,
    offload: bool,
) -> Iterator[tuple[str, Tensor]]:
    """This rank's part of everything stored, one after the other; what is tied to what came before is the same part."""
    known: dict[int, Tensor] = {}
    device = torch.device(mesh.device_type)
    for name, tensor in _stored(network).items():
        if id(tensor) not in known:
            if not isinstance(tensor, DTensor):
                known[id(tensor)] = folder.whole(sources[name]).to(tensor.dtype) if name in sources else tensor
            else:
                rows = own_rows(tensor.shape[0], mesh.get_local_rank(), mesh.size())
                local = _rows(network, folder, name, sources, there, rows).to(device, tensor.dtype)
                part = DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=tensor.shape, stride=tensor.stride())
                known[id(tensor)] = nn.Parameter(part.cpu() if offload else part, requires_grad=tensor.requires_grad)
        yield name, known[id(tensor)]


def _rows(
    network: PreTrainedModel, folder: WeightFolder, name: str, sources: Mapping[str, str], there: Mapping[str, Tensor], rows: Rows
) -> Tensor:
    if name in there:
        return there[name][rows.start : rows.stop].clone()
    layer = network.get_submodule(name.rpartition(".")[0])
    if isinstance(layer, FourBitLinear) and name.endswith(".weight"):
        return layer.pack(folder.whole(sources[name]), _device_of_work(network))[rows.start : rows.stop].clone()
    return folder.rows(sources[name], rows.start, rows.stop)


def _device_of_work(network: PreTrainedModel) -> torch.device:
    """Where layers are gathered."""
    parameter = next(network.parameters())
    if not isinstance(parameter, DTensor):
        return torch.device(parameter.device)
    kind = parameter.device_mesh.device_type
    return torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)
