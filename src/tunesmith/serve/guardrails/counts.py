"""Numbers of kinds, in words."""

from __future__ import annotations

from collections.abc import Mapping


def counted_kinds(counts: Mapping[str, int]) -> str:
    """`2 e-mail addresses, 1 IBAN`, most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {kind if count == 1 else _plural(kind)}" for kind, count in ordered)


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
