"""The Ray cluster that a sweep's trials run on: reaching it, and how much of it a trial takes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import ConfigError, first_line
from tunesmith.workers import available_cores

OWN_OBJECT_STORE = 2**28
"""Bytes, of a Ray that runs on this machine alone: what goes through it there is small."""
LOCAL, AUTO, CLIENT = "local", "auto", "ray://"
SECONDS_TO_ANSWER = 10
EXPECTED = "the address of a running cluster with this Ray and this Python"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RayCluster:
    """Where, and what a trial takes of it."""

    address: str | None = None
    """`auto`, `HOST:PORT` or `ray://HOST:PORT`; None: `$RAY_ADDRESS`, and without it a Ray of our own on this machine."""
    cores: int = 1
    """Of a trial."""
    gpus: float = 0.0
    """Of a trial; a part of one is possible."""
    may_share: bool = True
    """Machines that have the sweep's directory work in it; else all work in folders of their own."""

    @property
    def resolved_address(self) -> str:
        """With the environment looked at; `local`: a Ray of our own."""
        return self.address or os.environ.get("RAY_ADDRESS") or LOCAL


def connected(cluster: RayCluster) -> Any:
    """Ray, which is to be shut down.

    Raises:
        ConfigError: it is not installed, or the cluster cannot be reached or wants a token.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anybody
    address = cluster.resolved_address
    own: dict[str, Any] = {}
    if address == LOCAL:
        own = {"include_dashboard": False, "num_cpus": available_cores(), "object_store_memory": OWN_OBJECT_STORE}
    try:
        import ray
    except ImportError:
        raise _not_installed() from None
    _require_answer(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except ImportError:
        raise _not_installed() from None
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
        raise _unusable(address, _gist(error), _remedy(address)) from None
    return ray


def _not_installed() -> ConfigError:
    found, remedy = "Ray is not installed, or its client is not", "install it with `pip install 'tunesmith[ray]'`"
    return ConfigError("sweep --on ray", found, expected="the extra `ray`", remedy=remedy)


def _unusable(address: str, why: str, remedy: str) -> ConfigError:
    return ConfigError("sweep --on ray", f"the Ray cluster at {address} cannot be used ({why})", expected=EXPECTED, remedy=remedy)


def _gist(error: Exception) -> str:
    """Without the advice that Ray goes on to give."""
    return first_line(error).partition(". ")[0].rstrip(".")


def _remedy(address: str) -> str:
    """What it may be; a client that has not the token is told nothing but that time is up."""
    way = "correct --ray-address, whose port is 10001 as a rule"
    if not address.startswith(CLIENT):
        way = "run `ray start --address=HOST:PORT` on this machine first, or stay outside of the cluster with ray://HOST:10001"
    return f"{way}; use the cluster's Ray and Python; where it asks for a token, have that in ~/.ray/auth_token and set RAY_AUTH_MODE=token"


def _require_answer(address: str) -> None:
    """Ray itself tries for minutes and speaks of other things.

    Raises:
        ConfigError: nobody listens there.
    """
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host or not port.isdigit():  # `auto`, `local`, or something that Ray has to say something about
        return
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        remedy = "correct --ray-address, or start the cluster there with `ray start --head`; a firewall may stand between"
        raise _unusable(address, f"nobody answers: {error}", remedy) from None


def describe(ray: Any, cluster: RayCluster, say: Say) -> None:
    """How many trials at a time, and what stands in their way.

    Raises:
        ConfigError: a trial wants more than this machine has, and there is no other.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = sum(_places(machine, cluster) for machine in machines)
    wanted = _count(cluster.cores, "core") + (f" and {cluster.gpus:g} GPUs" if cluster.gpus else "")
    if places:
        say(f"Ray has {_count(len(machines), 'machine')} with room for {_count(places, 'trial')} at a time, of {wanted} each")
    elif cluster.resolved_address != LOCAL:
        say(f"no machine of the cluster has {wanted} now; waiting for one")  # which a cluster that grows may add
    else:
        found = f"a trial of {wanted}, on a machine with {machines[0].get('CPU', 0):g} cores and {machines[0].get('GPU', 0):g} GPUs"
        raise ConfigError("sweep --on ray", found, expected="at most what there is", remedy="lower --cores or --gpus")
    if not cluster.gpus and any(machine.get("GPU") for machine in machines):
        say("the trials run without a GPU, though the cluster has some: --gpus 1 gives each one")


def _places(machine: dict[str, float], cluster: RayCluster) -> int:
    by_cores = machine.get("CPU", 0) // cluster.cores
    return int(min(by_cores, machine.get("GPU", 0) // cluster.gpus) if cluster.gpus else by_cores)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
