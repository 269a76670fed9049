"""The same question to the tuned model and to the one it was made of."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from tunesmith.engine.adapters import as_base
from tunesmith.engine.loading import dtype_name
from tunesmith.runs import RunDirectory
from tunesmith.tuned import OpenedModel, open_base, open_tuned

Answer = TypeVar("Answer")


class Both(NamedTuple, Generic[Answer]):
    """What each said."""

    base: Answer
    tuned: Answer


def ask_both(run: RunDirectory, ask: Callable[[OpenedModel, str], Answer], *, dtype: str, device: str) -> Both[Answer]:
    """Ask the tuned model, then the base: an adapter is switched off, another network is loaded after the first is gone.

    Args:
        run: finished.
        ask: given the model and its label, `tuned` or `base`; keeps no hold of the model.
        dtype: compute type, as on the command line.
        device: as on the command line.

    Raises:
        RunError: the run has not finished.
    """
    opened = open_tuned(run, dtype=dtype, device=device)
    tuned = ask(opened, "tuned")
    if opened.network is not opened.loaded.network:
        with as_base(opened.network):
            return Both(ask(opened, "base"), tuned)
    where, kind = opened.loaded.device.type, dtype_name(opened.loaded.dtype)
    del opened
    gc.collect()
    return Both(ask(open_base(run, dtype=kind, device=where), "base"), tuned)
