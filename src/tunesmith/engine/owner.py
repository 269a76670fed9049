"""How something kept in a module refers back to it."""

from __future__ import annotations

import copy
import weakref
from typing import Any

from torch import nn


class Owner:
    """The module that this is kept in.

    Held weakly, so that a network's memory is free as soon as nobody holds it, not when the garbage collector comes round;
    copied together with the module, to the copy.
    """

    def __init__(self, module: nn.Module) -> None:
        self._reference = weakref.ref(module)

    def __call__(self) -> Any:
        module = self._reference()
        assert module is not None, "asked by the module itself"
        return module

    def __deepcopy__(self, memo: dict[int, Any]) -> Owner:
        return Owner(copy.deepcopy(self(), memo))
