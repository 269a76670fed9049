"""An exported folder -> a model repository on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from tunesmith.data.publishing.hub import commit_to_hub


def push_folder(folder: Path, hub_id: str, *, public: bool, message: str) -> str:
    """Upload all files in one commit, return the repository's address.

    Raises:
        AssetError: see `commit_to_hub`.
    """
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    operations = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file)) for file in files]
    how_to_repeat = f"push {folder} again or by `hf upload`"
    return commit_to_hub(hub_id, operations, repo_type="model", public=public, message=message, how_to_repeat=how_to_repeat)
