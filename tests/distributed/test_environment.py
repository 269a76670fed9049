"""Which group a process belongs to, by what torchrun and srun put into the environment."""

from __future__ import annotations

import pytest

from tunesmith.distributed.environment import first_host, launch_id, outside_groups, place_of_this_process
from tunesmith.distributed.launching import needs_launch
from tunesmith.errors import ConfigError, GroupError

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29400",
    "TORCHELASTIC_RUN_ID": "faq-1",
}
SRUN = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


def test_alone() -> None:
    assert place_of_this_process({}) is None
    assert place_of_this_process({**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}) is None
    assert launch_id({}) is None


def test_torchrun() -> None:
    place = place_of_this_process(TORCHRUN)
    assert place is not None
    assert (place.rank, place.size, place.local_rank, place.address, place.port) == (3, 4, 1, "10.0.0.1", 29400)
    assert not place.is_unaided
    assert launch_id(TORCHRUN) == "torchrun faq-1"


def test_a_launch_without_a_name_of_its_own_has_none() -> None:
    assert launch_id({**TORCHRUN, "TORCHELASTIC_RUN_ID": "none"}) is None


def test_srun() -> None:
    place = place_of_this_process(SRUN)
    assert place is not None
    assert (place.rank, place.size, place.local_rank, place.address) == (5, 8, 1, "gpu07")
    assert place.is_unaided
    assert place.port == 21_234 + 14
    assert launch_id(SRUN) == "slurm 1234.2"


def test_a_batch_script_outside_srun_is_one_process() -> None:
    assert place_of_this_process({"SLURM_JOB_ID": "1234", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) is None


@pytest.mark.parametrize("wrong", [{"RANK": "4"}, {"WORLD_SIZE": "four"}, {"MASTER_PORT": "-1"}])
def test_contradictions_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(GroupError, match="whole numbers, RANK below WORLD_SIZE"):
        place_of_this_process({**TORCHRUN, **wrong})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("login1", "login1"),
        ("a1,b2", "a1"),
        ("gpu[007-012]", "gpu007"),
        ("node[03,05-09],login1", "node03"),
        ("rack[1-2]n[3-4]", "rack1n3"),
    ],
)
def test_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_processes_in_a_group_of_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs_launch(2)
    assert not needs_launch(1)
    assert not needs_launch(None)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert not needs_launch(4)
    with pytest.raises(ConfigError, match="2 in a group of 4 processes"):
        needs_launch(2)


def test_who_is_started_outside_of_groups_is_in_none() -> None:
    for membership in (TORCHRUN, SRUN):
        assert place_of_this_process(membership) is not None
        assert place_of_this_process(outside_groups(membership)) is None
    assert outside_groups({"PATH": "/bin"}) == {"PATH": "/bin"}
