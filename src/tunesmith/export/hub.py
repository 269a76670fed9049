"""An exported folder -> a model repository on the Hugging Face hub, where the user named one; private unless told otherwise."""

from __future__ import annotations

from pathlib import Path

from tunesmith.errors import AssetError, first_line


def push_folder(folder: Path, hub_id: str, *, public: bool, message: str) -> str:
    """Create the repository where there is none, upload all files in one commit, return its address.

    Raises:
        AssetError: the hub cannot be reached or refuses; or the repository is public, and that was not asked for.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    operations = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file)) for file in files]
    api = HfApi()
    try:
        repository = api.create_repo(hub_id, repo_type="model", private=not public, exist_ok=True)
        is_exposed = not public and not api.model_info(hub_id).private  # a repository that was there stays as public as it was
        if not is_exposed:
            api.create_commit(hub_id, operations, commit_message=message, repo_type="model")
    except Exception as error:  # it raises its own errors and those of whichever HTTP client it uses
        cause = first_line(error, otherwise="no reason given")
        raise AssetError(
            hub_id,
            f"the hub did not take it ({type(error).__name__}: {cause})",
            expected="a repository that this user may write to",
            remedy=f"check the name and the network, log in with `hf auth login`, then push {folder} again or by `hf upload`",
        ) from error
    if is_exposed:
        raise _is_public(folder, hub_id)
    return str(repository)


def _is_public(folder: Path, hub_id: str) -> AssetError:
    remedy = f"add --public if everybody may have it, or name another repository; {folder} was not uploaded"
    return AssetError(hub_id, "this repository is there already and is public", expected="a private one", remedy=remedy)
