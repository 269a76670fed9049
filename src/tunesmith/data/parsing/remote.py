"""A file on the hub or in a bucket, as the readers of local files take it: through fsspec, in pieces, nothing kept on the disk.

    >>> file.url, file.suffix
    ('s3://bucket/faq/part-00003.jsonl.gz', '.gz')
    >>> with file.open() as stream:
    ...     stream.read(2)
    b'\\x1f\\x8b'

Credentials are looked for by the packages themselves, where their users keep them; none is ever part of a place or an error here.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote_plus, urlsplit

from tunesmith.errors import AssetError, DataError, TunesmithError, first_line

BUFFER_BYTES = 2**20


class Store(NamedTuple):
    """A kind of place that files are read from."""

    package: str
    """The distribution that fsspec needs for it."""
    install: str
    log_in: str
    """What to do where access is refused."""


_S3 = Store(
    "s3fs",
    "pip install 'tunesmith[s3]'",
    """set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket set FSSPEC_S3='{"anon": true}'""",
)
_GOOGLE = Store(
    "gcsfs",
    "pip install 'tunesmith[gs]'",
    """run `gcloud auth application-default login`; for a public bucket set FSSPEC_GS='{"token": "anon"}'""",
)
_WEB = Store("aiohttp", "pip install aiohttp", "download the file in the way its owner allows, and give that")
STORES: Mapping[str, Store] = {
    "hf": Store("huggingface_hub", "pip install huggingface_hub", "run `hf auth login`, and accept the terms of the data set on its page"),
    "s3": _S3,
    "s3a": _S3,
    "gs": _GOOGLE,
    "gcs": _GOOGLE,
    "http": _WEB,
    "https": _WEB,
    "memory": Store("fsspec", "pip install fsspec", "check the file"),
}
"""By the scheme of the URL."""

SECRET_VARIABLES = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE")
"""Names of environment variables whose values are never repeated."""
_URL = re.compile(r"\s*[A-Za-z][\w+.-]+:/+", re.ASCII)
_IN_QUERY = re.compile(r"[A-Za-z][\w+.-]+://", re.ASCII)
_USER_OF_URL = re.compile(r"[^/?#]*@|[^?]*:[^?]*@|[^/?#]*:(?!\d*(?:[/?#]|$)).*@", re.DOTALL)
"""How a URL goes on after `://` if it names a user: a password may hold `@` and `/`, and a `?` after what is no number of a port."""
_USER = re.compile(r"(\b[A-Za-z][\w+.-]+:/+)(?:[^\s'\"]*:[^\s'\"]*@|[^\s/@'\"]+@)")
"""The same among other text."""
_QUERY = re.compile(r"(\w+://[^\s?'\"]+)\?[^\s'\"]*")
_KEYS = re.compile(r"\bhf_\w{8,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bBearer\s+\S+|\bya29\.\S+")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """What is asked of a path, and of a file that is read."""

    url: str
    path: str
    """As the file system has it."""
    files: Any
    """The fsspec file system."""
    size: int | None
    version: str
    """Changes with the file, as far as the store tells."""

    @property
    def name(self) -> str:
        path = urlsplit(self.path).path if self.scheme in ("http", "https") else self.path
        return PurePosixPath(path).name

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        return PurePosixPath(self.name).suffixes

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    def open(self, ahead: int | None = None) -> BinaryIO:
        """Seekable where the store allows it. To be closed by the caller.

        Args:
            ahead: bytes to fetch beyond what is asked for; None: some megabytes, as suits the store.

        Raises:
            DataError: it is not there.
            AssetError: it cannot be had; and so while reading.
        """
        try:
            stream = self.files.open(self.path, "rb", block_size=ahead)
        except Exception as error:  # noqa: BLE001 - every store has exceptions of its own
            raise unreachable(self.url, error) from None
        return io.BufferedReader(_Stream(stream, self.url), min(BUFFER_BYTES, ahead or BUFFER_BYTES))


File = Path | RemoteFile


class _Stream(io.RawIOBase):
    """The bytes of a remote file; what goes wrong on the way is one of our errors."""

    def __init__(self, inner: Any, url: str) -> None:
        super().__init__()
        self._inner, self._url = inner, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        # fsspec says of every file that is read that it can be sought in; one that is a mere stream has no size
        return bool(self._inner.seekable()) and getattr(self._inner, "size", 0) is not None

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._inner.seek(offset, whence))

    def tell(self) -> int:
        return int(self._inner.tell())

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except Exception as error:  # noqa: BLE001 - every store has exceptions of its own
            raise unreachable(self._url, error) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


def unreachable(url: str, error: BaseException) -> TunesmithError:
    """What a store said, without whatever might let somebody else in."""
    if isinstance(error, TunesmithError):
        return error
    kind, store = type(error).__name__, STORES[url.partition("://")[0].lower()]
    if isinstance(error, FileNotFoundError):
        return DataError(url, "there is no such file", expected="a file, a folder or a pattern of files", remedy="correct the URL")
    if isinstance(error, PermissionError) or re.search(r"Credential|Auth|Forbidden|Gated|TokenNotFound|Refresh", kind):
        return AssetError(url, f"access is refused ({kind})", expected="credentials that may read it", remedy=store.log_in)
    return AssetError(
        url,
        f"it cannot be read ({scrubbed(first_line(error))})",
        expected="a connection to where it lies",
        remedy="check the URL and the connection, or download the files and give their folder",
    )


def names_user(url: str) -> bool:
    """Does it carry the name of a user, perhaps with a password, or a URL in its query that does?"""
    query = unquote_plus(url.partition("?")[2])
    urls = [url, *(query[one.start() :] for one in _IN_QUERY.finditer(query))]
    return any((begin := _URL.match(one)) and _USER_OF_URL.match(one, begin.end()) for one in urls)


def presentable(url: str) -> str:
    """A source as it may be repeated, whatever it is: of a URL neither the user nor the query, which may sign it.

    >>> presentable("s3://AKIA0000:pass/w@rd@bucket/faq.jsonl?signature=0"), presentable("faq@home?.jsonl")
    ('s3://bucket/faq.jsonl', 'faq@home?.jsonl')
    """
    begin = _URL.match(url)
    if begin is None:
        return scrubbed(url)
    rest = url[begin.end() :]
    rest = rest.rpartition("@")[2] if _USER_OF_URL.match(rest) else rest
    return scrubbed(begin[0] + rest.partition("?")[0])


def scrubbed(text: str) -> str:
    """Without names and passwords in URLs, their queries (which sign them), known kinds of keys, and values of secret variables."""
    secrets = {value for name, value in os.environ.items() if len(value) >= 6 and SECRET_VARIABLES.search(name.upper())}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[…]")
    return _KEYS.sub("[…]", _QUERY.sub(r"\1", _USER.sub(r"\1", text)))
