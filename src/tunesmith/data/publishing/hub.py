"""Files -> a repository on the Hugging Face hub, where the user named one; private unless told otherwise.

    repository = find_repository("acme/faq", repo_type="model", public=False, replace=False)   # before anything is made
    commit_to_hub(repository, {"README.md": card, "model.safetensors": file}, message="...", how_to_go_on="repeat the command")

What lies in a repository stays unless its owner says `replace`; then it goes in the commit that brings the new files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunesmith.errors import AssetError, first_line

RepoType = Literal["dataset", "model"]

OF_THE_HUB = ".gitattributes"
"""In every repository from its first commit on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HubRepository:
    """A repository that may be written to, as it was when it was looked at."""

    hub_id: str
    repo_type: RepoType
    public: bool
    """Everybody may read what is written; a repository that is there stays as open as it was."""
    is_there: bool
    newest_commit: str | None = None
    replaced: tuple[str, ...] = ()
    """Files in it, which the user gives up."""


def find_repository(hub_id: str, *, repo_type: RepoType, public: bool, replace: bool) -> HubRepository:
    """Sign in and look; nothing is changed.

    Args:
        hub_id: `owner/name`; there need not be such a repository yet.
        repo_type: what it holds.
        public: everybody may read it.
        replace: files that are in it may go.

    Raises:
        AssetError: the hub cannot be reached or does not know the user, whose token may only read; or the repository is public or
            holds files, and that was not asked for.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    with _refusals(hub_id, "repeat the command"):
        token = (api.whoami().get("auth") or {}).get("accessToken") or {}
        try:
            info = api.model_info(hub_id) if repo_type == "model" else api.dataset_info(hub_id)
        except RepositoryNotFoundError:
            info = None
    if token.get("role") == "read":
        remedy = "make one that may write at https://huggingface.co/settings/tokens and log in with `hf auth login`"
        raise AssetError(hub_id, "the token of this user may only read", expected="one that may write", remedy=remedy)
    if info is None:
        return HubRepository(hub_id=hub_id, repo_type=repo_type, public=public, is_there=False)
    files = tuple(sorted(file.rfilename for file in info.siblings or () if file.rfilename != OF_THE_HUB))
    if not public and not info.private:
        remedy = "add --public if everybody may have it, or name another repository; nothing was uploaded"
        raise AssetError(hub_id, "this repository is there already and is public", expected="a private one", remedy=remedy)
    if files and not replace:
        raise _not_empty(hub_id, files)
    return HubRepository(hub_id=hub_id, repo_type=repo_type, public=public, is_there=True, newest_commit=info.sha, replaced=files)


def commit_to_hub(repository: HubRepository, files: Mapping[str, Path | bytes], *, message: str, how_to_go_on: str) -> str:
    """Upload all files in one commit, which takes away what else is there, and return the repository's address.

    A repository that was not there is made; one that somebody wrote to since it was looked at is left as it is.

    Args:
        repository: from `find_repository`.
        files: by their names there.
        message: of the commit.
        how_to_go_on: how the remedy ends, as in "..., then repeat the command".

    Raises:
        AssetError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, hub_id, repo_type = HfApi(), repository.hub_id, repository.repo_type
    with _refusals(hub_id, how_to_go_on):
        if not repository.is_there:
            api.create_repo(hub_id, repo_type=repo_type, private=not repository.public)
        added = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=content if isinstance(content, bytes) else str(content))
            for name, content in files.items()
        ]
        gone = [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in repository.replaced if name not in files]
        done = api.create_commit(
            hub_id, [*gone, *added], commit_message=message, repo_type=repo_type, parent_commit=repository.newest_commit
        )
    return str(done.repo_url)


CHANGED_MEANWHILE = (409, 412)
"""How the hub answers who would make what is there, or commits to another state than there is."""


@contextmanager
def _refusals(hub_id: str, how_to_go_on: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # it raises its own errors and those of whichever HTTP client it uses
        if getattr(getattr(error, "response", None), "status_code", None) in CHANGED_MEANWHILE:
            found, remedy = "somebody made it or wrote to it meanwhile", "look at it, then repeat the command; nothing was uploaded"
            raise AssetError(hub_id, found, expected="the repository as it was when it was looked at", remedy=remedy) from error
        cause = first_line(error, otherwise="no reason given")
        raise AssetError(
            hub_id,
            f"the hub did not take it ({type(error).__name__}: {cause})",
            expected="a repository that this user may write to",
            remedy=f"check the name and the network, log in with `hf auth login`, then {how_to_go_on}",
        ) from error


def _not_empty(hub_id: str, files: tuple[str, ...]) -> AssetError:
    held = f"{files[0]}" if len(files) == 1 else f"{len(files):,} files, {files[0]} among them"
    return AssetError(
        hub_id,
        f"this repository is there already and holds {held}",
        expected="a new one, or an empty one",
        remedy="add --replace, which leaves nothing of them but the repository's history, or name another repository; nothing was uploaded",
    )
