"""Files -> a repository on the Hugging Face hub, where the user named one; private unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tunesmith.errors import AssetError, first_line

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd


def commit_to_hub(
    hub_id: str,
    operations: Sequence[CommitOperationAdd],
    *,
    repo_type: Literal["dataset", "model"],
    public: bool,
    message: str,
    how_to_repeat: str,
) -> str:
    """Create the repository where there is none, upload all in one commit, return its address.

    Args:
        hub_id: `owner/name`.
        operations: the files.
        repo_type: what the repository holds.
        public: everybody may read it; a repository that is there stays as it was.
        message: of the commit.
        how_to_repeat: how the remedy ends, as in "…, then repeat the command".

    Raises:
        AssetError: the hub cannot be reached or refuses; or the repository is public, and that was not asked for.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        repository = api.create_repo(hub_id, repo_type=repo_type, private=not public, exist_ok=True)
        is_exposed = not public and not api.repo_info(hub_id, repo_type=repo_type).private
        if not is_exposed:
            api.create_commit(hub_id, operations, commit_message=message, repo_type=repo_type)
    except Exception as error:  # it raises its own errors and those of whichever HTTP client it uses
        cause = first_line(error, otherwise="no reason given")
        raise AssetError(
            hub_id,
            f"the hub did not take it ({type(error).__name__}: {cause})",
            expected="a repository that this user may write to",
            remedy=f"check the name and the network, log in with `hf auth login`, then {how_to_repeat}",
        ) from error
    if is_exposed:
        remedy = "add --public if everybody may have it, or name another repository; nothing was uploaded"
        raise AssetError(hub_id, "this repository is there already and is public", expected="a private one", remedy=remedy)
    return str(repository)
