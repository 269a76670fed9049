"""Hosts with addresses of their own on this machine: network namespaces, joined by virtual Ethernet.

>>> network = Namespaces(3)
>>> network.make()[1].within            # what a command begins with to run on the second one
('ip', 'netns', 'exec', 'tunesmith-1f00ba-1')
>>> network.remove()
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine, as far as the network knows."""

    address: str
    interface: str
    within: tuple[str, ...] = ()
    """What a command begins with to run there."""


class Namespaces:
    """Of network, under names of their own; the first one's bridge joins them all."""

    def __init__(self, number: int) -> None:
        mark = uuid.uuid4().hex[:6]
        self.names = [f"tunesmith-{mark}-{n}" for n in range(number)]
        self.interfaces = [f"ts{mark}{n}" for n in range(number)]  # 15 characters at most

    def make(self) -> list[Host]:
        """Raises OSError where this may not be."""
        for name in self.names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        first, bridge = self.names[0], self.interfaces[0]
        _ip("-n", first, "link", "add", bridge, "type", "bridge")
        for name, interface in zip(self.names[1:], self.interfaces[1:], strict=True):
            port = f"{interface}p"
            _ip("-n", first, "link", "add", port, "type", "veth", "peer", "name", interface, "netns", name)
            _ip("-n", first, "link", "set", port, "master", bridge, "up")
        for number, (name, interface) in enumerate(zip(self.names, self.interfaces, strict=True), start=1):
            _ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", interface)
            _ip("-n", name, "link", "set", interface, "up")
        return [
            Host(address=f"10.77.0.{number}", interface=interface, within=("ip", "netns", "exec", name))
            for number, (name, interface) in enumerate(zip(self.names, self.interfaces, strict=True), start=1)
        ]

    def remove(self) -> None:
        """Whatever of it is there, with what still runs in it; the devices go with their namespaces."""
        if not shutil.which("ip"):
            return
        for name in self.names:
            kill_all_in(name)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def processes_in(name: str) -> list[psutil.Process]:
    """Of a namespace."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split()
    processes = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(int(pid)))
    return processes


def kill_all_in(name: str) -> None:
    """As the loss of its power would: every process of a namespace, until there is none."""
    while processes := processes_in(name):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=1)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr}")
