"""Files of the hub and of buckets, through fsspec: the same rows as local ones, in order, in pieces, and no credentials anywhere."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pytest
from pyarrow import parquet

from tunesmith.config import PrepareConfig
from tunesmith.data.parsing.remote import scrubbed
from tunesmith.data.prepare import prepare
from tunesmith.data.reading.hub import Choice, DataSet
from tunesmith.data.reading.sources import open_sources
from tunesmith.data.reading.splits import split_of
from tunesmith.errors import AssetError, DataError, TunesmithError

Memory = Any


def rows_of(shard: int, count: int = 3) -> list[dict[str, str]]:
    return [{"question": f"question {shard}-{row}?", "answer": f"answer {shard}-{row}"} for row in range(count)]


def json_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet_bytes(rows: list[dict[str, str]]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), buffer, row_group_size=2)
    return buffer.getvalue()


@pytest.fixture
def memory() -> Iterator[Memory]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def read(*urls: str, **options: str) -> list[tuple[str, str]]:
    return [(row.source, row.values["question"]) for source in open_sources(urls, **options) for row in source.read()]


PACKED = [("jsonl", lambda data: data), ("jsonl.gz", gzip.compress), ("jsonl.bz2", bz2.compress)]
ZSTD = ("jsonl.zst", lambda data: pyarrow.compress(data, "zstd", asbytes=True))


@pytest.mark.parametrize(("suffix", "pack"), [*PACKED, ZSTD])
def test_shards_of_a_folder_come_in_the_order_of_their_names(memory: Memory, suffix: str, pack: Any) -> None:
    for shard in (2, 0, 1):
        memory.pipe(f"/bucket/faq/part-{shard}.{suffix}", pack(json_lines(rows_of(shard))))
    memory.pipe("/bucket/faq/.hidden.jsonl", b"{")
    expected = [(f"faq/part-{shard}.{suffix}:{row + 1}", f"question {shard}-{row}?") for shard in range(3) for row in range(3)]
    assert read("memory://bucket/faq") == expected
    assert read("memory://bucket/faq/") == expected
    assert [place for place, _ in read(f"memory://bucket/faq/*.{suffix}")] == [place.removeprefix("faq/") for place, _ in expected]
    (source, *_) = open_sources(["memory://bucket/faq"])
    assert (source.path, source.kind, source.sha256) == (f"memory:///bucket/faq/part-0.{suffix}", "JSON Lines", None)


def test_parquet_is_read_row_group_by_row_group(memory: Memory) -> None:
    memory.pipe("/bucket/part-0.parquet", parquet_bytes(rows_of(0, 5)))
    assert read("memory://bucket/part-0.parquet") == [(f"part-0.parquet#{row + 1}", f"question 0-{row}?") for row in range(5)]


def test_rows_come_before_the_file_has_been_read(memory: Memory) -> None:
    memory.pipe("/bucket/faq.jsonl", json_lines(rows_of(0)) + b" " * 3_000_000 + b"\nbroken")
    (source,) = open_sources(["memory://bucket/faq.jsonl"])
    rows = source.read()
    assert next(rows).values["question"] == "question 0-0?"
    with pytest.raises(DataError, match=r"faq\.jsonl:5: broken JSON"):
        list(rows)


def test_a_remote_file_that_changes_is_noticed(memory: Memory) -> None:
    memory.pipe("/bucket/faq.jsonl", json_lines(rows_of(0)))
    (source,) = open_sources(["memory://bucket/faq.jsonl"])
    memory.pipe("/bucket/faq.jsonl", json_lines(rows_of(1, 4)))
    with pytest.raises(DataError, match="the file has changed since it was opened"):
        list(source.read())


def test_files_named_by_split_give_the_training_split(memory: Memory) -> None:
    for split, shards in {"train": 2, "test": 1}.items():
        for shard in range(shards):
            memory.pipe(f"/bucket/data/{split}-{shard:05}-of-{shards:05}.parquet", parquet_bytes(rows_of(shard, 1)))
    sources = open_sources(["memory://bucket/data"])
    assert [source.label for source in sources] == ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    assert sources[0].note == "took the split train of test, train"
    assert [place for place, _ in read("memory://bucket/data", split="test")] == ["data/test-00000-of-00001.parquet#1"]
    with pytest.raises(DataError, match="there is no split 'dev'; expected one of test, train"):
        read("memory://bucket/data", split="dev")


def test_files_that_tell_no_split_are_counted_when_one_is_wanted(memory: Memory, tmp_path: Path) -> None:
    for name in ("train-0.jsonl", "test-0.jsonl", "part-0.jsonl", "part-1.jsonl"):
        memory.pipe(f"/bucket/faq/{name}", json_lines(rows_of(0, 1)))
        (tmp_path / "faq").mkdir(exist_ok=True)
        (tmp_path / "faq" / name).write_bytes(json_lines(rows_of(0, 1)))
    for place in ("memory://bucket/faq", "memory://bucket/faq/*.jsonl", str(tmp_path / "faq"), f"{tmp_path}/faq/*.jsonl"):
        (source,) = open_sources([place], split="train")
        assert source.note == "left out 2 files whose paths tell no split"
        assert len(list(source.read())) == 1
    assert [len(open_sources([place])) for place in ("memory://bucket/faq", "memory://bucket/faq/*.jsonl")] == [4, 4]


def test_a_pattern_gives_the_files_of_the_wanted_split(memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train-0.jsonl", "train-1.jsonl", "test-0.jsonl", "dev/part-0.jsonl", "dev/part-1.jsonl"):
        memory.pipe(f"/train/faq/{name}", json_lines(rows_of(0, 1)))
        (tmp_path / "train" / "faq" / "dev").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / "faq" / name).write_bytes(json_lines(rows_of(0, 1)))
    for root in ("memory://train", "train", f"{tmp_path}/train"):
        assert [place for place, _ in read(f"{root}/faq/train-*.jsonl", split="train")] == ["train-0.jsonl:1", "train-1.jsonl:1"]
        assert [place for place, _ in read(f"{root}/faq/*.jsonl", split="test")] == ["test-0.jsonl:1"]
        assert [place for place, _ in read(f"{root}/faq/*/*.jsonl", split="validation")] == ["part-0.jsonl:1", "part-1.jsonl:1"]
        assert len(read(f"{root}/faq/t*.jsonl")) == 3
        with pytest.raises(DataError, match="there is no split 'train'; expected no choice of split, for it has none") as caught:
            read(f"{root}/faq/dev/*.jsonl", split="train")
        assert caught.value.remedy == "leave out `--split`"
        with pytest.raises(DataError, match="a file has no split 'train'"):
            read(f"{root}/faq/train-0.jsonl", split="train")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train_sft-00000-of-00003.parquet", "train_sft"),
        ("dev/part-1.jsonl", "validation"),
        ("eval.jsonl", "test"),
        ("part-1.jsonl", None),
        ("faq-00000-of-00003.parquet", None),
        ("constraints.csv", None),
    ],
)
def test_the_split_of_a_path(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_archives_and_documents_are_fetched_to_a_temporary_folder(memory: Memory) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jsonl", json_lines(rows_of(0, 1)))
    memory.pipe("/bucket/export.zip", packed.getvalue())
    memory.pipe("/bucket/page.md", b"# Opening hours\n\nFrom nine to five, on every day but Sunday.\n")
    assert read("memory://bucket/export.zip") == [("export.zip/a.jsonl:1", "question 0-0?")]
    (source,) = open_sources(["memory://bucket/page.md"], kind="documents")
    assert "nine to five" in next(source.read()).values["text"]


def test_prepare_writes_the_same_examples_as_from_local_shards(memory: Memory, tmp_path: Path) -> None:
    local = tmp_path / "faq"
    local.mkdir()
    for shard in range(12):
        (local / f"part-{shard:02}.jsonl").write_bytes(json_lines(rows_of(shard)))
        memory.pipe(f"/bucket/faq/part-{shard:02}.jsonl", json_lines(rows_of(shard)))
    here = prepare(local, tmp_path / "here", PrepareConfig(checks="none"))
    there = prepare("memory://bucket/faq", tmp_path / "there", PrepareConfig(checks="none"))
    as_file = prepare(f"file://{local}", tmp_path / "file", PrepareConfig(checks="none"))
    assert here.fingerprint == there.fingerprint == as_file.fingerprint
    assert there.summary().startswith("read 36 rows from 12 files (faq/part-00.jsonl to faq/part-11.jsonl): question -> prompt")
    assert there.manifest["sources"][11]["path"] == "memory:///bucket/faq/part-11.jsonl"
    assert sorted(example.source for example in [*there.train, *there.validation, *there.test])[-1] == "faq/part-11.jsonl:3"


def test_a_broken_row_is_named_by_its_shard(memory: Memory, tmp_path: Path) -> None:
    for shard in range(3):
        memory.pipe(f"/bucket/faq/part-{shard}.jsonl", json_lines(rows_of(shard)))
    memory.pipe("/bucket/faq/part-1.jsonl", json_lines(rows_of(1)) + b'{"question": "cut')
    with pytest.raises(DataError, match=r"^faq/part-1\.jsonl:4: broken JSON"):
        prepare("memory://bucket/faq", tmp_path / "out", PrepareConfig(checks="none"))


def test_a_local_split_of_several_shards_is_read_where_it_lies(tmp_path: Path) -> None:
    for shard in range(2):
        (tmp_path / "faq").mkdir(exist_ok=True)
        (tmp_path / "faq" / f"train-{shard:05}-of-00002.parquet").write_bytes(parquet_bytes(rows_of(shard, 2)))
    (tmp_path / "faq" / "test-00000-of-00001.parquet").write_bytes(parquet_bytes(rows_of(9, 2)))
    expected = [(f"faq/train-{shard:05}-of-00002.parquet#{row}", f"question {shard}-{row - 1}?") for shard in (0, 1) for row in (1, 2)]
    assert read(str(tmp_path / "faq")) == expected
    assert open_sources([tmp_path / "faq"])[0].note == "took the split train of train, test"


# --- what cannot be read --------------------------------------------------------------------------------------------------


def refused(url: str) -> TunesmithError:
    with pytest.raises(TunesmithError) as caught:
        read(url)
    return caught.value


def test_what_is_not_there(memory: Memory) -> None:
    memory.pipe("/bucket/readme.md", b"nothing")
    assert "there is no such file" in str(refused("memory://bucket/faq.jsonl"))
    assert "no file matches this pattern" in str(refused("memory://bucket/*.jsonl"))
    assert "no file of rows is in it" in str(refused("memory://bucket"))
    assert "places of the kind ftp:// are not read" in str(refused("ftp://host/faq.jsonl"))


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter22@host/x.jsonl",
        "https://AKIAhunter@host/x.jsonl",
        "https://me:hun@ter22@host/x.jsonl",
        "https://me:hun/ter22@host/x.jsonl",
        "https://me:hun?ter22@host/x.jsonl",
        "https://me:hun#ter22@host/x.jsonl",
        "https://me:hun'ter 22@host/x.jsonl",
        "https://team/me:hun@ter22@host/x.jsonl",
        "memory://me:hun/t@er22@bucket/*.jsonl",
        "s3://AKIA0000000000000000:hunter22@bucket/x.jsonl",
        "s3://AKIA0000000000000000:hun/ter22@bucket/x.jsonl",
        "https://host/x.jsonl?X-Amz-Signature=hunter22",
        "https://host/x.jsonl?X-Amz-Signature=hun'ter 22",
        "https://host/x.jsonl?next=https%3A%2F%2Fme:hun/ter22@cdn/x",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    error = refused(url)
    assert "the URL carries credentials" in str(error)
    for part in ("hun", "ter", "22", "AKIA"):
        assert part not in str(error)
    assert "host" in str(error) or "bucket" in str(error)


@pytest.mark.parametrize("place", ["bucket/v1@2/faq.jsonl", "bucket/at 10:30.jsonl", "host:80/faq.jsonl", "host/x.jsonl?mail=a:b@c"])
def test_what_only_looks_like_credentials(memory: Memory, place: str) -> None:
    assert re.search("there is no such file|no file matches", str(refused(f"memory://{place}")))


@pytest.mark.parametrize("url", ["https:/me:hun/t@er22@host/x.jsonl", " https://me:hun/t@er22@host/x.jsonl", "ftp://me:hun@ter22@host/x"])
def test_what_is_no_url_of_ours_is_not_repeated_with_its_password(url: str) -> None:
    error = refused(url)
    assert "hun" not in str(error)
    assert "er22" not in str(error)


def test_errors_of_a_store_do_not_repeat_secrets(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET_KEY", "hunter2hunter2")
    text = "403 for https://me:pw@cdn.host/x?X-Amz-Signature=abc&b=c with hunter2hunter2 and hf_abcdefghijkl"
    assert scrubbed(text) == "403 for https://cdn.host/x with […] and […]"
    assert scrubbed("'s3://AKIA:p@s/s@bucket/x' and hf://datasets/o/n@main/x") == "'s3://bucket/x' and hf://datasets/o/n@main/x"
    memory.pipe("/bucket/faq.jsonl", json_lines(rows_of(0)))
    (source,) = open_sources(["memory://bucket/faq.jsonl"])

    def failing(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(text)

    monkeypatch.setattr(type(memory), "open", failing)
    with pytest.raises(AssetError, match=r"memory:///bucket/faq\.jsonl: it cannot be read \(403 for https://cdn\.host/x with") as caught:
        list(source.read())
    assert "hunter" not in str(caught.value)


def test_a_connection_lost_within_a_file_is_no_damage_of_it(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/bucket/a.jsonl.gz", gzip.compress(json_lines(rows_of(0))))
    memory.pipe("/bucket/a.jsonl.zst", pyarrow.compress(json_lines(rows_of(0)), "zstd", asbytes=True))
    memory.pipe("/bucket/a.parquet", parquet_bytes(rows_of(0)))

    class Lost(io.BytesIO):
        size = 100

        def read(self, *args: Any) -> bytes:
            raise TimeoutError("the line is dead")

    for name in ("a.jsonl.gz", "a.jsonl.zst", "a.parquet"):
        (source,) = open_sources([f"memory://bucket/{name}"])
        with monkeypatch.context() as patch:
            patch.setattr(type(memory), "open", lambda *_, **__: Lost(b"x" * 100))
            with pytest.raises(AssetError, match="the line is dead"):
                list(source.read())


@pytest.mark.parametrize(("package", "url", "extra"), [("s3fs", "s3://bucket/x.jsonl", "s3"), ("gcsfs", "gs://bucket/x.jsonl", "gs")])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    package: str, url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys.modules["fsspec.registry"], "_registry", {})  # those that were loaded before
    error = refused(url)
    assert isinstance(error, AssetError)
    assert f"the package {package} is needed, which is not installed" in str(error)
    assert error.remedy == f"pip install 'tunesmith[{extra}]'"


# --- the web ----------------------------------------------------------------------------------------------------------------


class _Web(BaseHTTPRequestHandler):
    """Gives `pages` whole, whatever range is asked for; those below `/unsized` without saying how long they are."""

    pages: Mapping[str, bytes] = {}

    def do_HEAD(self) -> None:
        page = self.pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.send_header("Accept-Ranges", "none")
        if page is not None and not self.path.startswith("/unsized"):
            self.send_header("Content-Length", str(len(page)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.pages.get(self.path, b""))

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""


@pytest.fixture
def web() -> Iterator[Callable[[Mapping[str, bytes]], str]]:
    """Serves the pages it is given and says where."""
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    handler = type("Web", (_Web,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(pages: Mapping[str, bytes]) -> str:
        handler.pages = pages  # type: ignore[attr-defined]
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("folder", ["sized", "unsized"])
def test_parquet_of_a_server_that_gives_whole_files_only(web: Any, folder: str) -> None:
    place = web({f"/{folder}/faq.parquet": parquet_bytes(rows_of(0))})
    assert read(f"{place}/{folder}/faq.parquet") == [(f"faq.parquet#{row + 1}", f"question 0-{row}?") for row in range(3)]


def test_what_unpacks_without_end_is_refused_though_its_size_is_not_told(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.data.parsing.streams.FREE_BYTES", 2**20)
    bomb = b'{"question": "' + b"a" * 2**23 + b'"}\n'
    place = web({"/unsized/bomb.jsonl.gz": gzip.compress(bomb), "/unsized/faq.jsonl.gz": gzip.compress(json_lines(rows_of(0)))})
    assert "packed bytes unpack to over" in str(refused(f"{place}/unsized/bomb.jsonl.gz"))
    assert len(read(f"{place}/unsized/faq.jsonl.gz")) == 3


def test_a_url_that_names_no_file(web: Any) -> None:
    assert "the URL names no file" in str(refused(web({"/": b"<html>"}) + "/"))


def test_a_copy_of_a_name_that_no_file_here_can_have(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jsonl", json_lines(rows_of(0, 1)))
    memory.pipe(f"/bucket/{'ü' * 300}.zip", packed.getvalue())
    assert [question for _, question in read(f"memory://bucket/{'ü' * 300}.zip")] == ["question 0-0?"]
    monkeypatch.setattr("tunesmith.data.parsing.fetching.LARGEST_TOTAL", 10)
    assert "it has over 10 bytes" in str(refused(f"memory://bucket/{'ü' * 300}.zip"))


def test_schemes_in_upper_case(memory: Memory, tmp_path: Path) -> None:
    memory.pipe("/bucket/faq.jsonl", json_lines(rows_of(0, 1)))
    assert read("MEMORY://bucket/faq.jsonl") == [("faq.jsonl:1", "question 0-0?")]
    assert "there is no such file" in str(refused("MEMORY://bucket/other.jsonl"))
    (tmp_path / "faq.jsonl").write_bytes(json_lines(rows_of(0, 1)))
    assert read(f"FILE://{tmp_path}/faq.jsonl") == [("faq.jsonl:1", "question 0-0?")]


@pytest.mark.parametrize("query", ["q=opening+hours+and+passwords", "topic=authors", "search=secret%20garden", "keys"])
def test_only_the_names_of_parameters_tell_of_credentials(web: Any, query: str) -> None:
    place = web({f"/faq.jsonl?{query}": json_lines(rows_of(0, 1))})
    if query == "keys":  # a name without a value
        assert "the URL carries credentials" in str(refused(f"{place}/faq.jsonl?{query}"))
    else:
        assert len(read(f"{place}/faq.jsonl?{query}")) == 1


def test_a_url_of_the_hub_never_means_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read_hub(name: str, config: str | None, choice: Choice) -> DataSet:
        asked.append((name, config, choice.split))
        return DataSet(label="name/test", records=lambda: iter(rows_of(0, 1)), note="")

    monkeypatch.setattr("tunesmith.data.reading.finding_files.read_hub", read_hub)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "faq.jsonl").write_bytes(json_lines(rows_of(7)))
    assert read("hf://datasets/owner/name:small", split="test") == [("name/test#1", "question 0-0?")]
    assert read("hf://datasets/owner/name") == [("name/test#1", "question 0-0?")]
    assert asked == [("owner/name", "small", "test"), ("owner/name", None, None)]


def test_shards_are_read_where_they_lie_by_a_path_relative_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faq").mkdir()
    for shard in range(2):
        (tmp_path / "faq" / f"train-{shard:05}-of-00002.parquet").write_bytes(parquet_bytes(rows_of(shard, 1)))
    monkeypatch.chdir(tmp_path)
    sources = open_sources(["faq"])
    assert [source.path for source in sources] == [f"faq/train-{shard:05}-of-00002.parquet" for shard in range(2)]
    assert [row.source for source in sources for row in source.read()] == [f"faq/train-{shard:05}-of-00002.parquet#1" for shard in range(2)]


# --- a bucket -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server on this machine."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto's server is not installed")
    s3fs = sys.modules["s3fs"]
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("bucket")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def test_a_bucket(bucket: Any, tmp_path: Path) -> None:
    for shard in range(2):
        bucket.pipe(f"bucket/faq/part-{shard}.jsonl.gz", gzip.compress(json_lines(rows_of(shard))))
    bucket.pipe("bucket/faq/part-2.parquet", parquet_bytes(rows_of(2)))
    places = ["part-0.jsonl.gz:1", "part-1.jsonl.gz:3", "part-2.parquet#3"]
    found = dict(read("s3://bucket/faq"))
    assert len(found) == 9
    assert set(found) >= {f"faq/{place}" for place in places}
    prepared = prepare("s3://bucket/faq", tmp_path / "out", PrepareConfig(checks="none"))
    assert prepared.manifest["sources"][0]["path"] == "s3://bucket/faq/part-0.jsonl.gz"
    assert "there is no such file" in str(refused("s3://bucket/other.jsonl"))
    (source,) = open_sources(["s3://bucket/faq/part-0.jsonl.gz"])
    bucket.pipe("bucket/faq/part-0.jsonl.gz", gzip.compress(json_lines(rows_of(7, 5))))
    with pytest.raises(DataError, match="the file has changed"):
        list(source.read())
    for file in (tmp_path / "out").iterdir():
        assert b"very-secret-key" not in file.read_bytes()
