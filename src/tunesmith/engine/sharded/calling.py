"""Running something with a whole network at hand, also where its weights are spread over several processes.

>>> within(network, lambda: head(decoder(...)))

FSDP gathers what belongs to no decoder layer (embedding, last norm, output head) as the network itself is called, and frees
it after the backward pass. So whatever reads those weights runs as the body of such a call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import nn

from tunesmith.engine.owner import Owner

Result = TypeVar("Result")
MARK = "is_sharded"


def is_sharded(network: nn.Module) -> bool:
    """Whether other processes hold the rest of its weights."""
    return MARK in vars(network)  # by the class, torch.distributed.fsdp would have to be imported: three seconds for everybody


def within(network: nn.Module, body: Callable[[], Result]) -> Result:
    """What the body gives. Of a sharded network every rank calls it, as often as the others."""
    if not is_sharded(network):
        return body()
    result: Result = network(_body=body)
    return result


def accept_bodies(network: nn.Module) -> None:
    """Let a network that is sharded run bodies."""
    vars(network)[MARK] = True
    vars(network)["forward"] = partial(_forward, Owner(network))


def _forward(owner: Owner, *args: Any, _body: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
    if _body is not None:
        return _body()
    network = owner()
    return type(network).forward(network, *args, **kwargs)
