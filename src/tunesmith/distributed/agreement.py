"""Ranks that are to do the same: were they given the same?

    require_same({"the prepared data": data.fingerprint}, group)

tunesmith.errors.GroupError: rank 3 of 8: the prepared data there differ from the other ranks'; …
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping

from tunesmith.distributed.group import Group
from tunesmith.errors import GroupError


def require_same(own: Mapping[str, Hashable], group: Group) -> None:
    """Refuse ranks that have other things than most.

    Args:
        own: what is compared, by words in the plural; all ranks have the same ones.

    Raises:
        GroupError: on every rank, naming what differs, and where.
    """
    everyones = group.gather(dict(own))
    for what in own:
        values = [one[what] for one in everyones]
        if len(set(values)) > 1:
            usual = Counter(values).most_common(1)[0][0]
            others = ", ".join(str(rank) for rank, value in enumerate(values) if value != usual)
            raise GroupError(
                f"rank {others} of {group.size}",
                f"{what} there differ from the other ranks'",
                expected="the same data, model and command everywhere",
                remedy="bring all machines to the same state",
            )
