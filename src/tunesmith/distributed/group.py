"""The processes that work on one task together; in most runs there is one, and nothing here does anything.

    with joined() as group:                 # by what torchrun or SLURM say in the environment
        parts = group.gather(own_part)      # every rank gets all
        if group.is_first: ...              # writes and speaks for all

Ranks call the same functions in the same order. gloo carries everything on CPUs, and what is no tensor on GPUs; nccl the rest.
"""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith.distributed.environment import Place, place_of_this_process
from tunesmith.distributed.meeting import agreed_name
from tunesmith.errors import GroupError, TunesmithError, first_line

if TYPE_CHECKING:
    from torch import Tensor

Key = TypeVar("Key")
Value = TypeVar("Value")

PATIENCE = timedelta(minutes=60)
"""How long ranks wait for one that is silent but alive: it may write a large model. Over gloo, which carries what ranks tell each other
around every step, one that has died is noticed at once; within a step over nccl when who started them ends the others."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process among its like."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among the processes of this machine: which of its GPUs is this one's."""
    objects: Any = None
    """The process group (gloo) that carries what is no tensor of a GPU; None when there is one process."""

    @property
    def is_first(self) -> bool:
        """The rank that writes and speaks for all."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        return self.size == 1

    def gather(self, value: Value) -> list[Value]:
        """Every rank's value, in the order of ranks, on every rank. Anything that can be pickled."""
        if self.is_alone:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.objects)
        return found

    def gather_parts(self, own: Mapping[Key, Value]) -> dict[Key, Value]:
        """What all ranks have under their keys together, on every rank."""
        return {key: value for part in self.gather(own) for key, value in part.items()}

    def num_on_this_machine(self) -> int:
        """Ranks that share this one's cores and memory. Asks all of them."""
        return self.gather(platform.node()).count(platform.node())

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What `make` gives on the first rank, on every rank; its error, too.

        Raises:
            Exception: whatever `make` raised on the first rank.
        """
        if self.is_alone:
            return make()
        import torch.distributed as dist

        value, error = _attempt(make) if self.is_first else (None, None)
        box: list[Any] = [(value, error and shippable(error))]
        dist.broadcast_object_list(box, src=0, group=self.objects)
        if not self.is_first:
            value, error = box[0]
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    def on_all(self, work: Callable[[], Value]) -> Value:
        """What `work` gives here, once it is done everywhere.

        Raises:
            Exception: on every rank, what the first of those raised whose work failed.
        """
        if self.is_alone:
            return work()
        value, error = _attempt(work)
        for one in self.gather(error and shippable(error)):
            if one is not None:
                raise one
        return value  # type: ignore[no-any-return]

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank."""
        return any(self.gather(flag))

    def add_up(self, own: MutableMapping[Key, Tensor]) -> dict[Key, Tensor]:
        """The sum over all ranks of each tensor, in float32; all ranks have the same keys in the same order, shapes and devices.

        Tensors are taken out of `own` as they are sent, for their memory to be free as the sums come. These lie side by side, where
        they have been added up: one is put there while those before it are on the way.
        """
        if self.is_alone:
            return {key: own.pop(key).float() for key in list(own)}
        import torch
        import torch.distributed as dist

        sums: dict[Key, Tensor] = {}
        on_the_way = []
        for keys in _buckets(own):
            shapes = [own[key].shape for key in keys]
            bucket = _put_together(own, keys)
            on_the_way.append(dist.all_reduce(bucket, async_op=True))
            parts = torch.split(bucket, [shape.numel() for shape in shapes])
            sums |= {key: part.view(shape) for key, part, shape in zip(keys, parts, shapes, strict=True)}
        for work in on_the_way:
            work.wait()
        return sums

    def barrier(self) -> None:
        """Wait for all."""
        if not self.is_alone:
            import torch.distributed as dist

            dist.barrier(group=self.objects)


BUCKET_BYTES = 32 * 2**20
"""Sent at a time: enough that the way there and back does not count, little enough that others are put together meanwhile."""


def _buckets(tensors: Mapping[Key, Tensor]) -> list[list[Key]]:
    """Neighbours that are sent together, by their size in float32."""
    buckets: list[list[Key]] = []
    room = 0
    for key, tensor in tensors.items():
        num_bytes = 4 * tensor.numel()
        if not buckets or num_bytes > room:
            buckets.append([])
            room = BUCKET_BYTES
        buckets[-1].append(key)
        room -= num_bytes
    return buckets


def _put_together(own: MutableMapping[Key, Tensor], keys: Sequence[Key]) -> Tensor:
    """What is taken out of `own` in one float32 vector; itself, where it is one already."""
    import torch

    first = own[keys[0]]
    if len(keys) == 1 and first.dtype == torch.float32 and first.is_contiguous():
        return own.pop(keys[0]).view(-1)
    together = torch.empty(sum(own[key].numel() for key in keys), dtype=torch.float32, device=first.device)
    for key, part in zip(keys, torch.split(together, [own[key].numel() for key in keys]), strict=True):
        part.view_as(own[key]).copy_(own.pop(key))
    return together


def _attempt(make: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return make(), None
    except Exception as error:  # noqa: BLE001 - raised again on every rank, this one included
        return None, error


def shippable(error: Exception) -> Exception:
    """What other ranks can be sent of an error: itself if it survives that, else its words."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, made a moment ago
    except Exception:  # noqa: BLE001 - whatever somebody's class does when it is taken apart
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


AGAIN = "see what that one said, and give the same command again"
ALONE = Group()
_joined: list[Group] = []


def current_group() -> Group:
    """The group this process has joined; one of itself when it has joined none."""
    return _joined[-1] if _joined else ALONE


@contextmanager
def joined(device: str = "auto", *, remedy: str = AGAIN) -> Iterator[Group]:
    """Within the block this process belongs to the group that its environment names, if any.

    Args:
        device: `auto`, `cpu` or `cuda`, as in the settings: nccl needs GPUs.
        remedy: what to do when a rank was lost.

    Raises:
        GroupError: the others cannot be reached, or one of them went away.
    """
    place = place_of_this_process()
    if place is None or _joined:
        yield current_group()
        return
    import torch.distributed as dist

    is_ours = not dist.is_initialized()  # else the user's script has the processes in a group already
    _joined.append(_join(place, device))
    try:
        yield _joined[-1]
    except RuntimeError as error:
        if isinstance(error, TunesmithError) or not _is_of_the_group(error):
            raise
        raise _lost(place, error, remedy) from error
    finally:
        _joined.pop()
        if is_ours and dist.is_initialized():
            dist.destroy_process_group()


def _is_of_the_group(error: RuntimeError) -> bool:
    """torch has a class for errors of nccl alone; gloo's say where they come from in their text."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "Gloo", "Connection closed by peer"))


def _lost(place: Place, error: RuntimeError, remedy: str) -> GroupError:
    how = "one of them is silent" if "imed out" in str(error) else "one of them has ended"
    found = f"lost touch with the others: {how} ({first_line(error)})"
    return GroupError(f"rank {place.rank} of {place.size}", found, expected="all of them to the end", remedy=remedy)


def _join(place: Place, device: str) -> Group:
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    on_gpus = device != "cpu" and torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(_own_gpu(place, torch.cuda.device_count()))
    url = f"tcp://{place.address}:{place.port}" if place.is_unaided else "env://"
    try:
        if url not in _stores:
            _stores[url] = next(rendezvous(url, place.rank, place.size, timeout=PATIENCE))[0]
        if not dist.is_initialized():
            _meet(_stores[url], place, "cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    except (RuntimeError, ValueError) as error:
        raise GroupError(
            f"rank {place.rank} of {place.size}",
            f"the others cannot be reached at {place.address}:{place.port} ({first_line(error)})",
            expected="as many processes as the group has, on machines that reach each other",
            remedy="check the address, the port and the network interface (GLOO_SOCKET_IFNAME), and start all of them",
        ) from error
    objects = dist.new_group(backend="gloo", timeout=PATIENCE) if on_gpus else dist.group.WORLD
    return Group(rank=place.rank, size=place.size, local_rank=place.local_rank, objects=objects)


_stores: dict[str, Any] = {}
"""Where ranks meet, by address: held to the end of the process, for the first rank may be the one that keeps it for all."""


def _own_gpu(place: Place, count: int) -> int:
    """Its number; SLURM may show a process no GPU but its own.

    Raises:
        GroupError: there are fewer GPUs than processes.
    """
    if place.local_rank < count:
        return place.local_rank
    if count == 1 and place.is_unaided:
        return 0
    raise GroupError(
        f"rank {place.rank} of {place.size}",
        f"it is process {place.local_rank + 1} of this machine, which shows it {count} GPUs",
        expected="a GPU for each process",
        remedy="start fewer processes, or use --device cpu",
    )


def _meet(store: Any, place: Place, backend: str) -> None:
    """Exchange addresses where no earlier attempt has left any."""
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore

    name = agreed_name(store, place.rank, place.size, seconds=PATIENCE.total_seconds())
    dist.init_process_group(backend, store=PrefixStore(name, store), rank=place.rank, world_size=place.size, timeout=PATIENCE)
