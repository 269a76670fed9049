"""Keys of the server: shown once when they are made, kept as hashes, compared in constant time.

    {"schema_version": 1, "keys": [{"name": "laptop", "sha256": "9f86d0…", "created": "2026-01-31T14:25:01+00:00"}]}

A plain SHA-256 is enough: a key is 256 random bits, so there is nothing to guess that a slow or salted hash would make
harder, and no two keys are alike. Slow hashes are for passwords, which people choose.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from tunesmith.errors import ConfigError

LOGGER = logging.getLogger("tunesmith.serve")
SCHEMA_VERSION = 1
PREFIX = "ts-"
NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
NUM_BYTES = 32


def default_keys_file() -> Path:
    """`tunesmith/serve-keys.json` in `$XDG_CONFIG_HOME` or `~/.config`; not in the cache, which people empty."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "tunesmith" / "serve-keys.json"


def make_key(file: Path, name: str) -> str:
    """A new key, whose hash alone is kept.

    Raises:
        ConfigError: the name is taken or not a plain word, or the file is not one of ours.
    """
    if not NAME.fullmatch(name):
        raise ConfigError("--make-key", f"the name {name[:80]!r}", expected="letters, digits and . _ @ -", remedy="choose another name")
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        known = _read(file) if file.exists() else []
        if any(one["name"] == name for one in known):
            raise ConfigError(
                str(file), f"there is a key named {name!r}", expected="a new name", remedy="choose another, or delete its entry in the file"
            )
        key = PREFIX + secrets.token_urlsafe(NUM_BYTES)
        entry = {"name": name, "sha256": _hash(key), "created": datetime.now(UTC).isoformat(timespec="seconds")}
        _write(file, [*known, entry])
    return key


class KeyRing:
    """The keys a file holds, read again when it changes: a key that is deleted there is worth nothing from then on."""

    def __init__(self, file: Path) -> None:
        """Read the file; where there is none, there are no keys.

        Raises:
            ConfigError: it is not a file of keys, or others may write to it.
        """
        self._file = file
        self._stamp = _stamp(file)
        self._keys = [] if self._stamp is None else _read(file)
        self._was_needed = bool(self._keys)

    @property
    def is_needed(self) -> bool:
        """Keys are asked for: from the first one on, or from a file on that cannot be read, and never again not, whatever becomes of it."""
        self._refresh()
        return self._was_needed

    def owner(self, key: str) -> str | None:
        """The name of a key; None where it is not one. Looks at all of them, whichever it is."""
        self._refresh()
        presented, found = _hash(key), None
        for one in self._keys:
            if hmac.compare_digest(one["sha256"], presented):
                found = one["name"]
        return found

    def _refresh(self) -> None:
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp, self._keys = stamp, []
        try:
            self._keys = [] if stamp is None else _read(self._file)
            self._was_needed = self._was_needed or bool(self._keys)
        except ConfigError as error:  # no key is good until somebody has repaired it
            self._was_needed = True
            LOGGER.error("keys", extra={"fields": {"error": str(error)}})  # noqa: TRY400 - a traceback would tell nothing more


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(file: Path) -> list[dict[str, str]]:
    try:
        document: Any = json.loads(file.read_text(encoding="utf-8"))
        keys = document["keys"]
        valid = document["schema_version"] == SCHEMA_VERSION and all(
            re.fullmatch("[0-9a-f]{64}", one["sha256"]) and isinstance(one["name"], str) for one in keys
        )
    except (OSError, ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        raise ConfigError(
            str(file), "it cannot be read as a file of keys", expected="what --make-key writes", remedy="restore it, or name another --keys"
        )
    if os.name == "posix" and file.stat().st_mode & 0o022:
        raise ConfigError(str(file), "others may write to it", expected="mode 600", remedy=f"run `chmod 600 {file}`")
    return list(keys)


def _write(file: Path, keys: list[dict[str, str]]) -> None:
    """At once or not at all, and never readable by others."""
    staging = file.with_name(f".{file.name}.partial-{os.getpid()}")
    staging.unlink(missing_ok=True)
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(json.dumps({"schema_version": SCHEMA_VERSION, "keys": keys}, indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    staging.replace(file)
