"""The trained weights of a network and their float32 masters (mixed precision with master weights, Micikevicius et al.
2018, arXiv:1710.03740, section 3.1).

The network computes in the device's fast type throughout. Gradients are added up and the optimiser works in float32, and
the network gets the rounded masters after each update. Where a master is depends on what trains:

- in float32 the network's weight is its own master;
- else it is a copy, which suits few weights, and any optimiser;
- or the network's bfloat16 weight is its upper half, and 16 more bits lie beside it (`engine/kernels/adamw.py`): half the
  memory of a copy, and nothing to be handed to the network after an update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.distributed.group import Group
from tunesmith.engine.float_file import write_floats
from tunesmith.engine.kernels.adamw import CHUNK, Halves, join, norm, split
from tunesmith.engine.owner import Owner
from tunesmith.engine.quantize import cast


class TrainedWeights:
    """The trained parameters of a network and their float32 masters, under the network's own names."""

    def __init__(self, network: nn.Module, compute_dtype: torch.dtype, *, in_halves: bool = False) -> None:
        """Take the masters from the network as it is (float32), then turn its weights into `compute_dtype`.

        Args:
            in_halves: keep masters as the network's weights and 16 more bits; for bfloat16 alone.
        """
        assert not in_halves or compute_dtype == torch.bfloat16, "halves are made for bfloat16"
        self.parameters: dict[str, nn.Parameter] = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.in_halves = in_halves
        self.low: dict[str, Tensor] = {}
        """int16, of masters in halves."""
        self.masters: dict[str, nn.Parameter] = {}
        """float32, of the others."""
        self.gradient_scale = 1.0
        """What the gradients of masters in halves have to be multiplied by."""
        self._gradients: dict[str, Tensor] = {}
        if in_halves:
            self._split()
            self._thin_embeddings(network)
        wide = {name: p.detach().float() for name, p in self.parameters.items() if not in_halves}
        cast(network, compute_dtype)
        for name, master in wide.items():
            own = self.parameters[name]
            self.masters[name] = own if own.dtype == torch.float32 else nn.Parameter(master)
        for name, parameter in self.parameters.items():
            if parameter is not self.masters.get(name):
                parameter.register_post_accumulate_grad_hook(lambda p, name=name: self._take(name, p))

    @torch.no_grad()
    def _split(self) -> None:
        """Tensor by tensor: the float32 weights go as the halves come."""
        for name, parameter in self.parameters.items():
            parameter.data, self.low[name] = split(parameter.detach().float())

    def _take(self, name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None
        self.add_gradient(name, parameter.grad)
        parameter.grad = None  # freed as soon as it is added: never two sets of gradients

    def add_gradient(self, name: str, gradient: Tensor) -> None:
        """Add up in float32; where masters are in halves, the gradient of a single micro-batch stays as it came."""
        if self.in_halves:
            so_far = self._gradients.get(name)
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            self._gradients[name] = gradient if so_far is None else so_far.float().add_(gradient)
            return
        master = self.masters[name]
        if master.grad is None:
            master.grad = gradient.float()
        else:
            master.grad += gradient

    def _thin_embeddings(self, network: nn.Module) -> None:
        """Let embeddings that train hand on gradients of the rows that were used: most weights of a small model are there."""
        users = [module for module in network.modules() if getattr(module, "weight", None) is not None]
        for name, parameter in self.parameters.items():
            layers = [module for module in users if module.weight is parameter]
            for layer in layers:
                if isinstance(layer, nn.Embedding):
                    layer.sparse = True
                    if len(layers) > 1:
                        # A function, which is not copied when the network is.
                        vars(layer)["forward"] = partial(_embed_apart, Owner(layer), self._rows_taker(name))

    def _rows_taker(self, name: str) -> Callable[[Tensor], None]:
        return lambda apart: self._add_rows(name, apart)

    def _add_rows(self, name: str, apart: Tensor) -> None:
        """Of an embedding, to what its other user, the output head, has given before: autograd would add them up in new memory."""
        rows, apart.grad = apart.grad, None
        assert rows is not None
        so_far = self._gradients.get(name)
        if so_far is None:
            self._gradients[name] = rows.to_dense()
        else:
            so_far.add_(rows.to(so_far.dtype))

    @torch.no_grad()
    def add_up_gradients(self, group: Group) -> None:
        """Sum the gradients of all ranks, in float32. A weight that got one on no rank still has none."""
        if group.is_alone:
            return
        got = torch.tensor([self._gradient(name) is not None for name in self.parameters], dtype=torch.float32)
        counts = group.add_up({"got": got})["got"].tolist()
        own = {name: self._for_sending(name) for name, count in zip(self.parameters, counts, strict=True) if count}
        for name, total in group.add_up(own).items():
            if self.in_halves:
                self._gradients[name] = total
            else:
                self.masters[name].grad = total

    def _gradient(self, name: str) -> Tensor | None:
        """Of a master, as far as it has been added up."""
        return self._gradients.get(name) if self.in_halves else self.masters[name].grad

    def _for_sending(self, name: str) -> Tensor:
        """A master's gradient, handed over; of one that got none here, zeros that take no memory."""
        gradient = self._gradient(name)
        if gradient is None:
            parameter = self.parameters[name]
            return torch.zeros((), device=parameter.device).expand(parameter.shape)
        if self.in_halves:
            del self._gradients[name]
        else:
            self.masters[name].grad = None
        return gradient

    def take_gradients(self) -> Iterator[tuple[str, Tensor]]:
        """Gradients of masters in halves, each handed over: its memory is free once the caller lets go of it."""
        for name in self.parameters:
            if name in self._gradients:
                yield name, self._gradients.pop(name)

    def clear_gradients(self) -> None:
        self._gradients.clear()
        self.gradient_scale = 1.0
        for parameter in (*self.masters.values(), *self.parameters.values()):
            parameter.grad = None

    def clip_gradients(self, max_norm: float) -> float:
        """Scale all gradients so that their common norm is at most `max_norm`, if that is not 0. Returns the norm before."""
        limit = max_norm or math.inf
        if not self.in_halves:
            return float(nn.utils.clip_grad_norm_(self.masters.values(), limit))
        found = norm(self._gradients.values())
        self.gradient_scale = min(1.0, limit / (found + 1e-6))  # as torch does; applied when they are read
        return found

    def halves(self, name: str) -> Halves:
        """The very memory of a master in halves."""
        return Halves(self.parameters[name].detach(), self.low[name])

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters.values())

    @property
    def masters_bytes(self) -> int:
        """What masters take beside the network's own weights."""
        copies = (m for name, m in self.masters.items() if m is not self.parameters[name])
        return sum(t.numel() * t.element_size() for t in (*copies, *self.low.values()))

    @property
    def share(self) -> float:
        """Of the network's weights and all that belongs to them, what this process keeps."""
        return 1.0

    def own_rows(self, name: str) -> tuple[int, int]:
        """First and last row, that one excluded, of a master that are kept here: all."""
        return 0, self.parameters[name].shape[0]

    def as_part(self, name: str, rows: Tensor) -> Tensor:
        """Those rows of something in the shape of a master, as the optimiser keeps it."""
        del name
        return rows

    @torch.no_grad()
    def publish(self) -> None:
        """Give the network the masters' values."""
        for name, master in self.masters.items():
            if self.parameters[name] is not master:
                self.parameters[name].copy_(master)

    def state(self) -> Mapping[str, Tensor]:
        """Masters by name, in float32, for saving. Those in halves are put together when they are looked at, one by one."""
        return _State(self)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take masters back and give them to the network."""
        assert state.keys() == self.parameters.keys(), "saved weights belong to other parameters"
        for name, value in state.items():
            if self.in_halves:
                for part, new in zip(self.halves(name), split(value), strict=True):
                    part.copy_(new)
            else:
                self.masters[name].copy_(value)
        self.publish()

    def save_to(self, file: Path) -> None:
        """Write the masters as safetensors in float32, those in halves piece by piece: not even one exists whole in float32."""
        write_floats(file, {name: p.shape for name, p in self.parameters.items()}, self._pieces())

    def _pieces(self) -> Iterator[Tensor]:
        """All masters in float32, in their order."""
        if not self.in_halves:
            yield from self.state().values()
            return
        for name in self.parameters:
            high, low = (half.reshape(-1).split(CHUNK) for half in self.halves(name))
            yield from (join(Halves(*piece)) for piece in zip(high, low, strict=True))


def _embed_apart(owner: Owner, take_rows: Callable[[Tensor], None], *args: Any, **kwargs: Any) -> Tensor:
    """The embedding's own forward, on a tensor that is its weight but gets a gradient of its own."""
    layer: Any = owner()
    shared = layer._parameters["weight"]
    if not (torch.is_grad_enabled() and shared.requires_grad):
        return type(layer).forward(layer, *args, **kwargs)  # type: ignore[no-any-return]
    apart = shared.detach().requires_grad_()
    apart.register_post_accumulate_grad_hook(take_rows)
    layer._parameters["weight"] = apart
    try:
        return type(layer).forward(layer, *args, **kwargs)  # type: ignore[no-any-return]
    finally:
        layer._parameters["weight"] = shared


class _State(Mapping[str, Tensor]):
    def __init__(self, weights: TrainedWeights) -> None:
        self.weights = weights

    def __getitem__(self, name: str) -> Tensor:
        return join(self.weights.halves(name)) if self.weights.in_halves else self.weights.masters[name].detach()

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights.parameters)

    def __len__(self) -> int:
        return len(self.weights.parameters)
