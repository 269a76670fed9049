"""Which of several adapters acts in a network, changed as often as tokens are decoded.

>>> switch = AdapterSwitch(network)
>>> with switch.to("adapter-2"):
...     network(token_ids)

peft's own switch walks over all modules and over their weights, to say which of them train. Here nothing trains: the layers are
found once, and what is changed is the two attributes that their forward reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from transformers import PreTrainedModel

from tunesmith.errors import ConfigError

AS_IT_IS = "as.it.is"
"""In the place of an adapter's name, which never has a dot: whatever acts in the network by itself."""


class AdapterSwitch:
    """For the adapters that are in the network when this is made."""

    def __init__(self, network: PreTrainedModel) -> None:
        modules = [module for module in network.modules() if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)]
        self._layers: list[Any] = modules
        inside = set(map(id, network.get_decoder().modules()))
        self.names = frozenset(name for layer in modules if isinstance(layer, LoraLayer) for name in layer.lora_A)
        self._is_movable = all(_is_movable(layer) and id(layer) in inside for layer in modules)
        self._standing = _standing(self._layers)

    def require(self, adapter: str | None) -> None:
        """Refuse what cannot be switched to.

        Raises:
            ConfigError: there is no such adapter, or this one cannot be told apart from the weights that all share: it has rows of
                new tokens, or is merged.
        """
        if adapter == AS_IT_IS or (adapter in (None, *self.names) and (self._is_movable or self._standing == [adapter])):
            return
        found = "the base without its adapter" if adapter is None else f"the adapter {adapter!r}"
        if adapter in (None, *self.names):
            found += ", whose network also has trained rows of tokens, or is merged"
        names = ", ".join(map(repr, sorted(self.names))) or "no adapter's name: none is loaded"
        raise ConfigError("a request", found, expected=names, remedy="load the adapter on a network of its own, or name another")

    @contextmanager
    def to(self, adapter: str | None) -> Iterator[None]:
        """Within the block this adapter acts (None: none does), afterwards what did before."""
        if adapter == AS_IT_IS or not self._is_movable:
            yield
            return
        before = [(layer._active_adapter, layer._disable_adapters) for layer in self._layers]
        state = {"_active_adapter": [] if adapter is None else [adapter], "_disable_adapters": adapter is None}
        for layer in self._layers:
            layer.__dict__.update(state)  # not `setattr`, which asks torch about each
        try:
            yield
        finally:
            for layer, (active, disabled) in zip(self._layers, before, strict=True):
                layer.__dict__.update(_active_adapter=active, _disable_adapters=disabled)


def _is_movable(layer: Any) -> bool:
    """It changes what a linear layer computes, and nothing that is shared whichever adapter acts: embedding, head, merged weights."""
    return isinstance(layer, LoraLayer) and not layer.lora_embedding_A and not layer.merged


def _standing(layers: list[Any]) -> list[str | None]:
    """What acts by itself; None for nothing."""
    if not layers or all(layer.disable_adapters for layer in layers):
        return [None]
    return list(dict.fromkeys(name for layer in layers if not layer.disable_adapters for name in layer.active_adapters))
