"""Folders and archives that name files outside themselves: refused before anything outside is opened or asked."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import huggingface_hub
import pytest

from tunesmith.data.reading.cards import leads_outside
from tunesmith.data.reading.readers import read_rows
from tunesmith.errors import AssetError, DataError


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "/etc/x.json",
            "file:/etc/x.json",
            "file:///etc/x.json",
            "http://169.254.169.254/x.json",
            "hf://datasets/o/n/x.json",
            "C:/x.json",
        ),
        *("../x.json", "a/../../x.json", "..\\x.json", "\\x.json", "zip://x.json::http://host/x.zip", "x.zip::y"),
    ],
)
def test_what_leads_outside(pattern: str) -> None:
    assert leads_outside(pattern)


@pytest.mark.parametrize("pattern", ["x.json", "./x.json", "data/**/train-*.parquet", "a..b/x.json", "~/x.json"])
def test_what_stays_inside(pattern: str) -> None:
    assert not leads_outside(pattern)


def secret_and_folder(tmp_path: Path, header: str, name: str = "README.md") -> Path:
    """A folder whose header may name the file `secret.jsonl` that lies beside it."""
    row = json.dumps({"question": "What is the password?", "answer": "hunter2"}) + "\n"
    (tmp_path / "secret.jsonl").write_text(row, encoding="utf-8")
    folder = tmp_path / "faqs"
    folder.mkdir()
    (folder / "train.jsonl").write_text(row, encoding="utf-8")
    fence = "---\n" if name == "README.md" else ""
    (folder / name).write_text(f"{fence}{header.format(outside=tmp_path)}\n{fence}", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "header",
    [
        "configs:\n- config_name: default\n  data_files: '{outside}/secret.jsonl'",
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: ['train.jsonl', '../secret.jsonl']",
        "configs:\n- config_name: default\n  data_files: 'file:{outside}/secret.jsonl'",
        "configs:\n- config_name: default\n  data_dir: '{outside}'",
        "configs:\n- config_name: one\n  data_files: train.jsonl\n- config_name: two\n  data_files: ['../secret.jsonl']",
    ],
)
def test_a_card_that_names_files_elsewhere(tmp_path: Path, header: str) -> None:
    folder = secret_and_folder(tmp_path, header)
    with pytest.raises(DataError, match=r"^faqs: README\.md names the data file .* which lies outside the folder"):
        read_rows(folder, split="train")
    with zipfile.ZipFile(tmp_path / "faqs.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    with pytest.raises(DataError, match="which lies outside the folder"):
        read_rows(tmp_path / "faqs.zip")


def test_no_address_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the datasets library was asked")

    monkeypatch.setattr(datasets, "get_dataset_config_names", asked)
    folder = secret_and_folder(tmp_path, "configs:\n- config_name: default\n  data_files: http://169.254.169.254/x.json")
    with pytest.raises(DataError, match="lies outside the folder"):
        read_rows(folder)


def test_the_other_card(tmp_path: Path) -> None:
    folder = secret_and_folder(tmp_path, "configs:\n- config_name: default\n  data_files: ../secret.jsonl", ".huggingface.yaml")
    with pytest.raises(DataError, match=r"\.huggingface\.yaml names the data file '\.\./secret\.jsonl'"):
        read_rows(folder, split="train")


def test_a_broken_header_is_one_of_our_errors(tmp_path: Path) -> None:
    folder = secret_and_folder(tmp_path, "configs:\n- config_name: [unclosed")
    with pytest.raises(DataError, match=r"the header of README\.md is not YAML"):
        read_rows(folder)


def test_a_saved_folder_that_names_files_elsewhere(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list([{"question": "What is the password?", "answer": "hunter2"}])
    rows.save_to_disk(tmp_path / "secret")
    rows.save_to_disk(tmp_path / "faqs")
    assert len(read_rows(tmp_path / "faqs")) == 1
    state = tmp_path / "faqs" / "state.json"
    saved = json.loads(state.read_text(encoding="utf-8"))
    saved["_data_files"] = [{"filename": f"../secret/{one['filename']}"} for one in saved["_data_files"]]
    state.write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(DataError, match=r"state\.json names the data file '\.\./secret/"):
        read_rows(tmp_path / "faqs")
    datasets.DatasetDict(train=rows).save_to_disk(tmp_path / "splits")
    assert len(read_rows(tmp_path / "splits")) == 1
    (tmp_path / "splits" / "dataset_dict.json").write_text('{"splits": ["../secret"]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"dataset_dict\.json names the data file '\.\./secret'"):
        read_rows(tmp_path / "splits")


class Cards(BaseHTTPRequestHandler):
    """Gives single files of the data set acme/faq, as the hub does, and says what is not there."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        place = re.fullmatch(r"/datasets/acme/faq/resolve/[^/]+/(.+)", self.path)
        content = self.files.get(place[1]) if place else None
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound" if place else "RepoNotFound")
        content = content or b""
        self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the screen."""


@pytest.fixture
def on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Files of the data set acme/faq on a hub of this machine; the datasets library is not let near them."""

    def asked(*_: object, **__: object) -> None:
        raise RuntimeError("the datasets library was asked")

    monkeypatch.setattr(datasets, "get_dataset_config_names", asked)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    handler = type("FreshCards", (Cards,), {"files": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield handler.files
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("card", "file"),
    [
        ("README.md", "/etc/passwd"),
        ("README.md", "http://169.254.169.254/x.json"),
        ("README.md", "../other/x.json"),
        (".huggingface.yaml", "file:///etc/passwd"),
    ],
)
def test_a_card_of_the_hub_that_names_files_elsewhere(on_the_hub: dict[str, bytes], card: str, file: str) -> None:
    fence = "---\n" if card == "README.md" else ""
    on_the_hub[card] = f"{fence}configs:\n- config_name: default\n  data_files: {file}\n{fence}".encode()
    for source in ("acme/faq", "hf://datasets/acme/faq"):
        with pytest.raises(DataError, match=rf"^acme/faq: {card} names the data file .* which lies outside the data set"):
            read_rows(source)


@pytest.mark.parametrize("header", [None, "configs:\n- config_name: default\n  data_files: data/train-*.parquet"])
def test_other_cards_of_the_hub_are_left_to_the_datasets_library(on_the_hub: dict[str, bytes], header: str | None) -> None:
    if header:
        on_the_hub["README.md"] = f"---\n{header}\n---\nFAQ\n".encode()
    for source in ("acme/faq", "acme/unknown"):
        with pytest.raises(AssetError, match="the datasets library was asked"):
            read_rows(source)
