"""Trained weights that are spread over a group: float32 parameters of which every rank has some rows, their own masters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard

from tunesmith.distributed.group import Group
from tunesmith.engine.masters import TrainedWeights
from tunesmith.engine.sharded.spreading import own_rows


class ShardedWeights(TrainedWeights):
    """As `TrainedWeights` of a network in float32, but for what takes more than one rank."""

    def __init__(self, network: nn.Module, sharded: nn.Module) -> None:
        """Of a network whose weights are spread; nothing is moved.

        Args:
            network: gives the parameters their names.
            sharded: itself, without adapters around it.
        """
        self.parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        assert all(p.dtype == torch.float32 and isinstance(p, DTensor) for p in self.parameters.values())
        self.masters = dict(self.parameters)
        self.in_halves = False
        self.low = {}
        self.gradient_scale = 1.0
        self._gradients = {}
        assert isinstance(sharded, FSDPModule)
        self._network = sharded

    def add_up_gradients(self, group: Group) -> None:
        """FSDP has done so in the backward pass."""

    @torch.no_grad()
    def clip_gradients(self, max_norm: float) -> float:
        """Scale all gradients so that their norm over all ranks is at most `max_norm`, if that is not 0. Returns the norm before."""
        gradients = [local(p.grad) for p in self.masters.values() if p.grad is not None]
        found = _norm(gradients, next(iter(self.masters.values())))
        factor = min(1.0, (max_norm or math.inf) / (found + 1e-6))  # as torch does
        if factor < 1.0:
            torch._foreach_mul_(gradients, factor)
        return found

    @property
    def share(self) -> float:
        """One of as many parts as there are ranks."""
        return 1 / _mesh(next(iter(self.parameters.values()))).size()

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take masters back: of each the rows of this rank."""
        assert state.keys() == self.parameters.keys(), "saved weights belong to other parameters"
        for name, value in state.items():
            local(self.masters[name]).copy_(value)
        self._network.reshard()  # what is gathered now has the former numbers

    def own_rows(self, name: str) -> tuple[int, int]:
        """Of this rank."""
        mesh = _mesh(self.parameters[name])
        return own_rows(self.parameters[name].shape[0], mesh.get_local_rank(), mesh.size())

    def as_part(self, name: str, rows: Tensor) -> Tensor:
        """Spread as the parameter is."""
        like = self.parameters[name]
        rows = rows.to(local(like).device)
        return DTensor.from_local(rows, _mesh(like), [Shard(0)], run_check=False, shape=like.shape, stride=like.stride())

    def save_to(self, file: object) -> NoReturn:
        raise AssertionError("see train/sharded_checkpoint.py")


def _mesh(tensor: Tensor) -> DeviceMesh:
    assert isinstance(tensor, DTensor)
    return tensor.device_mesh


def local(tensor: Tensor | None) -> Tensor:
    """The rows of this rank: no copy."""
    assert isinstance(tensor, DTensor)
    found: Tensor = tensor._local_tensor  # `to_local` would be a node of the autograd graph
    return found


def _norm(gradients: Iterable[Tensor], like: Tensor) -> float:
    """Of all ranks' parts together."""
    norms = torch._foreach_norm([gradient for gradient in gradients if gradient.numel()])
    total = torch.stack([norm.double().square() for norm in norms]).sum() if norms else torch.zeros((), dtype=torch.float64)
    total = total.to(local(like).device)
    dist.all_reduce(total, group=_mesh(like).get_group())
    return math.sqrt(float(total))
