"""Tokenizers of the tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.tiny_models import build_metaspace_tokenizer
from tunesmith.render.renderer import Renderer


@pytest.fixture(scope="session")
def llama_tokenizer(tiny_llama: Path) -> Any:
    """ChatML, no BOS."""
    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture(scope="session")
def gemma_tokenizer(tiny_gemma: Path) -> Any:
    """BOS, no chat template."""
    return AutoTokenizer.from_pretrained(tiny_gemma)


@pytest.fixture(scope="session")
def metaspace_tokenizer() -> Any:
    """Puts a space before whatever it is given, BOS, no chat template."""
    return build_metaspace_tokenizer()


@pytest.fixture
def chat(llama_tokenizer: Any) -> Renderer:
    return Renderer.for_model(llama_tokenizer, "chat")


@pytest.fixture
def base(gemma_tokenizer: Any) -> Renderer:
    return Renderer.for_model(gemma_tokenizer, "qa")
