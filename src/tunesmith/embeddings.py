"""Texts -> vectors that lie near each other where the texts mean alike.

    vectors = embed(["How do I pay?", "Which means of payment are there?"])       # (2, 384), rows of length one
    vectors @ vectors.T                                                           # cosine similarities

A sentence model is an encoder whose last hidden states are averaged over a text's tokens and scaled to length one (Reimers and Gurevych,
Sentence-BERT, EMNLP 2019). What a text says beyond the first 256 tokens is not looked at: the default model has seen no longer ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.assets import DEFAULT_SENTENCE_MODEL, resolve_sentence_model
from tunesmith.errors import AssetError, first_line

MAX_TOKENS = 256
TOKENS_AT_ONCE = 1 << 13
"""Of one batch, padding included."""

Vectors = NDArray[np.float32]


class Embedder:
    """A loaded sentence model."""

    def __init__(self, directory: Path) -> None:
        """Load from a folder in transformers' layout.

        Raises:
            AssetError: it holds no encoder and tokenizer.
        """
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # for a hundred small tensors
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(str(directory))
            self.model: Any = AutoModel.from_pretrained(str(directory), dtype=torch.float32).to(self.device).eval()
        except (OSError, ValueError) as error:
            found = f"it cannot be loaded as a sentence model ({first_line(error)})"
            expected = "an encoder such as BERT and its tokenizer"
            raise AssetError(str(directory), found, expected=expected, remedy=f"use `{DEFAULT_SENTENCE_MODEL}`") from None

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """(texts,) -> (texts, dimensions), each row of length one."""
        encoded = self.tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"] if texts else []
        order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
        result = np.zeros((len(encoded), self.model.config.hidden_size), np.float32)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * len(encoded[order[end]]) <= TOKENS_AT_ONCE:
                end += 1
            places = order[start:end]
            result[places] = self._embed([encoded[place] for place in places])
            start = end
        return result

    def _embed(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        import torch

        batch = self.tokenizer.pad({"input_ids": [list(ids) for ids in token_ids]}, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            states = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state  # (B, T, D)
            there = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * there).sum(1) / there.sum(1).clamp(min=1)
            return np.asarray(torch.nn.functional.normalize(mean, dim=1).cpu().numpy(), np.float32)


@lru_cache(maxsize=2)
def _loaded(directory: Path) -> Embedder:
    return Embedder(directory)


def embedder(model: str | Path = DEFAULT_SENTENCE_MODEL, *, on_progress: Callable[[str], None] | None = None) -> Embedder:
    """The model by name, folder or hub id, fetched where needed and loaded once.

    Raises:
        AssetError: it cannot be had, or is no sentence model.
    """
    return _loaded(resolve_sentence_model(str(model), on_progress=on_progress).directory)


def embed(texts: Sequence[str], model: str | Path = DEFAULT_SENTENCE_MODEL) -> Vectors:
    """(texts,) -> (texts, dimensions), float32, each row of length one.

    Raises:
        AssetError: the model cannot be had, or is no sentence model.
    """
    return embedder(model)(texts)
