"""An exported folder -> a model repository on the Hugging Face hub."""

from __future__ import annotations

import shlex
from pathlib import Path

from tunesmith.data.publishing.hub import HubRepository, commit_to_hub


def push_folder(folder: Path, repository: HubRepository, *, message: str) -> str:
    """Upload all files in one commit, return the repository's address.

    Raises:
        AssetError: see `commit_to_hub`.
    """
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    files = {file.name: file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")}
    how_to_go_on = f"push what lies in {folder}, compared and whole, by `{_command(folder, repository)}`"
    return commit_to_hub(repository, files, message=message, how_to_go_on=how_to_go_on)


def _command(folder: Path, repository: HubRepository) -> str:
    """Of the hub's own program, for an export need not be made twice."""
    visibility = "--no-private" if repository.public else "--private"  # plays a part where a repository is made
    replaced = ["--delete", "*"] if repository.replaced else []
    return shlex.join(["hf", "upload", repository.hub_id, str(folder), ".", visibility, *replaced])
