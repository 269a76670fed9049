"""What a folder or data set says of itself -> a refusal, if it names anything beside itself; to be asked before the datasets library is.

A folder may come from anybody, often in an archive, and a data set of the hub is somebody's. Its README.md lists patterns of data
files, and the datasets library would take absolute paths and URLs there: read files of the user's, ask machines that only the user
reaches. A folder written by save_to_disk names its files likewise.

    >>> leads_outside("data/train-*.parquet"), leads_outside("/etc/passwd"), leads_outside("http://169.254.169.254/x.json")
    (False, True, True)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from tunesmith.data.parsing.text import printable
from tunesmith.errors import DataError

CARDS = ("README.md", ".huggingface.yaml")
"""Where the datasets library looks for configurations; of both what the second says prevails."""


def leads_outside(pattern: str) -> bool:
    """Is it anything but a path below the folder that says it? A backslash counts as a separator, for Windows takes it for one.

    Raises:
        ValueError: it has the beginnings of a URL and is none.
    """
    path = PurePosixPath(pattern.replace("\\", "/"))
    return "::" in pattern or "://" in pattern or bool(urlsplit(pattern).scheme) or path.is_absolute() or ".." in path.parts


def require_inside(folder: Path, label: str) -> None:
    """Refuse a folder in hub layout whose configurations name data files elsewhere.

    Raises:
        DataError: they do, or the header of the card is broken.
        ValueError, OSError: it cannot be read as the datasets library would.
    """
    for name in CARDS:
        if (folder / name).is_file():
            _refuse(name, _patterns(_header(folder / name, label).get("configs")), label)


def require_hub_inside(name: str) -> None:
    """The same of a data set of the hub, `owner/name`. Its cards are fetched to the hub's own cache, as the datasets library does.

    Where they cannot be had, neither can the library have them, which then takes what it keeps of earlier readings.

    Raises:
        DataError: as `require_inside`.
        ValueError, OSError: as `require_inside`, or the cache cannot be written.
    """
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    for card in CARDS:
        try:
            file = HfApi(endpoint=datasets.config.HF_ENDPOINT).hf_hub_download(name, card, repo_type="dataset")
        except (EntryNotFoundError, HfHubHTTPError):
            continue
        _refuse(card, _patterns(_header(Path(file), name).get("configs")), name, "data set")


def require_saved_inside(folder: Path, label: str) -> None:
    """Refuse a folder written by save_to_disk that names splits or files elsewhere.

    Raises:
        DataError: it does.
        ValueError, OSError: what says so cannot be read.
    """
    splits = _strings(_json(folder / "dataset_dict.json").get("splits"))
    _refuse("dataset_dict.json", splits, label)
    for part in (folder, *(folder / split for split in splits)):
        files = _json(part / "state.json").get("_data_files")
        named = [one.get("filename") for one in files if isinstance(one, dict)] if isinstance(files, list) else []
        _refuse("state.json", _strings(named), label)


def _refuse(where: str, patterns: Iterable[str], label: str, whole: str = "folder") -> None:
    for pattern in patterns:
        if leads_outside(pattern):
            found = f"{where} names the data file {printable(pattern)[:200]!r}, which lies outside the {whole}"
            raise DataError(label, found, expected=f"paths below the {whole}", remedy="give the files you mean to read themselves")


def _header(file: Path, label: str) -> Mapping[str, Any]:
    """The configurations and whatever else stands there, read as the datasets library reads it."""
    from huggingface_hub import DatasetCard

    try:
        is_card = file.suffix == ".md"
        header = DatasetCard.load(file).data.to_dict() if is_card else yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        found = f"the header of {file.name} is not YAML ({printable(' '.join(str(error).split()))[:200]})"
        raise DataError(label, found, expected="a header in YAML", remedy="correct or remove it") from None
    return header if isinstance(header, dict) else {}


def _patterns(configs: object) -> Iterator[str]:
    """All paths of all configurations, in the forms that the datasets library takes; of other forms it says what is wrong itself."""
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict):
            files = config.get("data_files")
            for entry in files if isinstance(files, list) else [files]:
                yield from _strings(entry.get("path") if isinstance(entry, dict) else entry)
            yield from _strings(config.get("data_dir"))


def _strings(value: object) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _json(file: Path) -> Mapping[str, Any]:
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content if isinstance(content, dict) else {}
