"""What ranks do before they train together: find the run, and make sure that all mean the same."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from tunesmith.config import TrainConfig
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.distributed.agreement import require_same
from tunesmith.distributed.environment import launch_id
from tunesmith.distributed.group import Group
from tunesmith.engine.loading import weights_fingerprint
from tunesmith.errors import GroupError, RunError
from tunesmith.runs import FollowedRun, RunDirectory, list_runs, open_run
from tunesmith.train.loop import Task
from tunesmith.train.start import Start


def find_begun(runs_dir: Path, name: str | None, config: TrainConfig) -> Path | None:
    """The unfinished run that this very command and launch began with these settings, before all were started again."""
    launch = launch_id()
    if launch is None:
        return None
    for run in reversed(list_runs(runs_dir)):
        if name in (None, run.name) and not run.is_complete and _was_begun_by(run, launch, config):
            return run.path
    return None


def _was_begun_by(run: RunDirectory, launch: str, config: TrainConfig) -> bool:
    try:
        record = run.record()
    except RunError:  # of a newer version
        return False
    is_same = record["command"][1:] == sys.argv[1:] and record.get("given") == config.model_dump(mode="json")
    return is_same and record.get("launch") == launch


def last_checkpoint(run: RunDirectory, group: Group) -> Path | None:
    """The one that the first rank sees, on all ranks.

    Raises:
        GroupError: this rank's machine does not see it.
    """
    name = group.from_first(lambda: next((path.name for path in reversed(run.checkpoints())), None))
    path = run.checkpoints_dir / name if name else None
    if path and not path.is_dir():
        raise _not_shared(path, group)
    return path


def open_in_group(path: Path, group: Group) -> RunDirectory:
    """The first rank writes the run, the others follow it.

    Raises:
        GroupError: this rank's machine does not see it.
    """
    if group.is_first:
        return open_run(path)
    run = FollowedRun(path.resolve())
    if not (run.path / "run.json").is_file():
        raise _not_shared(run.path, group)
    return run


def _not_shared(path: Path, group: Group) -> GroupError:
    return GroupError(
        f"rank {group.rank} of {group.size}",
        f"{path} is not there, which the first rank has written",
        expected="runs, data and model on storage that all machines share, under the same paths",
        remedy="mount it there, or name a shared folder with --runs-dir",
    )


def require_agreement(task: Task, data: PreparedData, start: Start) -> None:
    """Refuse ranks that would train other things than the first.

    Raises:
        GroupError: naming what differs, and where.
    """
    if task.group.is_alone:
        return
    own = {
        "the model's weights": start.weights,
        "the adapter's weights": weights_fingerprint(start.adapter_dir) if start.adapter_dir else None,
        "the steps": _digest(repr(task.steps)),
    }
    require_same({**_given(data, task.config), **own}, task.group)


def require_same_given(data: PreparedData, config: TrainConfig, group: Group) -> None:
    """The same before anything is done with the data: what ranks do together depends on how many examples there are.

    Raises:
        GroupError: naming what differs, and where.
    """
    if not group.is_alone:
        require_same(_given(data, config), group)


def _given(data: PreparedData, config: TrainConfig) -> dict[str, str]:
    settings = config.model_dump(mode="json", exclude={"data", "model", "device"})
    return {"the prepared data": data.fingerprint, "the settings": _digest(json.dumps(settings, sort_keys=True))}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
