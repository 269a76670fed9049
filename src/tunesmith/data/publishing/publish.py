"""A prepared data set -> a data set repository on the Hugging Face hub, with a card made from its report.

    publish_to_hub(load_prepared("prepared/faq"), find_repository("acme/faq", ...), licence="cc-by-4.0")
    -> https://huggingface.co/datasets/acme/faq, which `datasets.load_dataset("acme/faq")` and `tunesmith prepare acme/faq` read

Only the three split files and the card leave the machine, and only where the user named the repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tunesmith.data.publishing.hub import HubRepository, commit_to_hub
from tunesmith.data.storing.prepared import SPLIT_NAMES, PreparedData

SIZE_CATEGORIES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
"""The hub's own (hub-docs/datasetcard.md): number of examples below which each holds."""

KINDS: Mapping[str, str] = {
    "conversation": "Conversations (`messages`, OpenAI's form), each ending with the answer to imitate.",
    "pair": "Preference pairs: `messages` ends with the better answer, `rejected` is the worse one.",
    "judged": "Answers judged by themselves: `label` says whether the answer is desirable.",
    "text": "Raw text (`text`).",
}


def data_card(prepared: PreparedData, *, licence: str | None) -> str:
    """README.md: the hub's metadata, what is in it, how it was made, what the checks found."""
    counts = prepared.manifest["counts"]
    sizes = {name: len(getattr(prepared, name)) for name in SPLIT_NAMES}
    files = [{"split": name, "path": f"{name}.jsonl"} for name, size in sizes.items() if size]
    metadata: dict[str, Any] = {
        "configs": [{"config_name": "default", "data_files": files}],
        "size_categories": [_size(sum(sizes.values()))],
    }
    metadata |= {"license": licence} if licence else {}
    lines = [
        "---",
        yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).strip(),
        "---",
        "",
        "# Data set",
        "",
        KINDS[prepared.kind],
        "",
        "| split | examples |",
        "|---|---|",
        *(f"| {name} | {size:,} |" for name, size in sizes.items()),
        "",
        "## How it was made",
        "",
        *(f"- {_plain(line)}" for line in prepared.manifest["summary"]),
        f"- {counts['rows_read']:,} rows read; prepared with tunesmith {prepared.manifest['tunesmith']}, seed "
        f"{prepared.manifest['settings']['seed']}; fingerprint `{prepared.fingerprint[:16]}`",
        "",
        *_found(prepared.findings()),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _found(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the checks say; no specimens, for those are the user's text."""
    if not findings:
        return []
    return ["## What the checks found", "", *(f"- {_plain(one['sentence'])} ({one['action']})" for one in findings)]


def _plain(text: str) -> str:
    """On one line, no markup."""
    one_line = " ".join(text.split())
    return "".join(f"\\{character}" if character in r"\`*_<>[]|#" else character for character in one_line)


def _size(num_examples: int) -> str:
    return next((name for limit, name in SIZE_CATEGORIES if num_examples < limit), "n>10M")


def publish_to_hub(prepared: PreparedData, repository: HubRepository, *, licence: str | None) -> str:
    """Upload splits and card in one commit, return the repository's address.

    Raises:
        AssetError: see `commit_to_hub`.
    """
    names = [f"{name}.jsonl" for name in SPLIT_NAMES if len(getattr(prepared, name))]
    card = data_card(prepared, licence=licence).encode("utf-8")
    files: dict[str, Path | bytes] = {**{name: prepared.directory / name for name in names}, "README.md": card}
    message = f"Publish {len(prepared.train):,} training examples ({prepared.fingerprint[:16]})"
    return commit_to_hub(repository, files, message=message, how_to_go_on="repeat the command")
