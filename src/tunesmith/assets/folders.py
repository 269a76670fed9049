"""Checking that a folder is a model that from_pretrained loads from safetensors."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tunesmith.errors import AssetError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")


def check_model_folder(directory: Path) -> None:
    """Raise an AssetError when from_pretrained cannot load the folder from safetensors."""
    if problem := folder_problem(directory):
        raise problem


def folder_problem(directory: Path) -> AssetError | None:
    """What config, weights or tokenizer the folder lacks and how to get it; None when it is whole."""
    if not (directory / "config.json").is_file():
        return _not_a_model(directory, "it holds no config.json", "name the folder that holds the model's config.json")
    weights = list(directory.glob("*.safetensors"))
    if not weights and any(directory.glob("*.bin")):
        remedy = "convert it with `AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)` if you trust its author"
        return _not_a_model(directory, "its weights are pickled (.bin), which can run code when loaded", remedy)
    if not weights:
        return _not_a_model(directory, "it holds no *.safetensors", "download the weights too")
    missing = [name for name in _indexed_shards(directory) if not (directory / name).is_file()]
    if missing:
        return _not_a_model(directory, f"model.safetensors.index.json names {missing[0]}, which is missing", "download the model again")
    if not any((directory / name).is_file() for name in _TOKENIZER_FILES):
        return _not_a_model(directory, "it holds no tokenizer", "save the tokenizer into the same folder")
    return None


def _not_a_model(directory: Path, found: str, remedy: str) -> AssetError:
    return AssetError(str(directory), found, expected="config.json, *.safetensors and a tokenizer", remedy=remedy)


def _indexed_shards(directory: Path) -> list[str]:
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return []
    weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    return sorted(set(weight_map.values()))


def folder_licence(directory: Path) -> str:
    """The `license:` of the model card's front matter; `unknown` without one."""
    card = directory / "README.md"
    if not card.is_file():
        return "unknown"
    front_matter = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    found = re.search(r"^license:\s*(\S+)", front_matter.group(1), re.MULTILINE) if front_matter else None
    return found.group(1) if found else "unknown"
