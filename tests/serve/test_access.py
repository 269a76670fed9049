"""Keys, hosts and origins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest

from tests.serve.conftest import QUESTION, TUNED, Served, serving
from tunesmith.errors import ConfigError
from tunesmith.serve.gate import is_loopback
from tunesmith.serve.keys import KeyRing, make_key
from tunesmith.serve.run import require_key_for_public
from tunesmith.together import ServedModel

PAGE = "https://evil.example"


class TestKeys:
    def test_only_a_hash_is_kept(self, tmp_path: Path) -> None:
        file = tmp_path / "settings" / "keys.json"
        first, second = make_key(file, "laptop"), make_key(file, "phone")
        assert first != second
        assert len(first) > 40
        text = file.read_text(encoding="utf-8")
        assert first not in text
        assert first.removeprefix("ts-") not in text
        assert file.stat().st_mode & 0o777 == 0o600
        ring = KeyRing(file)
        assert (ring.owner(first), ring.owner(second)) == ("laptop", "phone")
        assert ring.owner(first + "x") is ring.owner("") is ring.owner(first[:-1]) is None

    def test_a_deleted_key_is_worth_nothing_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "keys.json"
        key = make_key(file, "laptop")
        ring = KeyRing(file)
        make_key(file, "phone")
        document = json.loads(file.read_text(encoding="utf-8"))
        document["keys"] = document["keys"][1:]
        file.write_text(json.dumps(document), encoding="utf-8")
        assert ring.owner(key) is None
        assert ring.is_needed

    def test_the_first_key_locks_and_nothing_opens_again(self, tmp_path: Path) -> None:
        file = tmp_path / "keys.json"
        ring = KeyRing(file)
        assert not ring.is_needed
        key = make_key(file, "laptop")
        assert ring.is_needed
        assert ring.owner(key) == "laptop"
        file.unlink()
        assert ring.is_needed
        assert ring.owner(key) is None

    def test_a_file_that_cannot_be_read_locks_too(self, tmp_path: Path) -> None:
        ring = KeyRing(tmp_path / "keys.json")
        (tmp_path / "keys.json").write_text("{", encoding="utf-8")
        assert ring.is_needed

    def test_a_broken_or_missing_file_lets_nobody_in(self, tmp_path: Path) -> None:
        file = tmp_path / "keys.json"
        key = make_key(file, "laptop")
        ring = KeyRing(file)
        file.write_text("{", encoding="utf-8")
        assert ring.owner(key) is None
        file.unlink()
        assert ring.owner(key) is None
        assert ring.is_needed

    @pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 9, "keys": []}', '{"schema_version": 1, "keys": [{"name": "x"}]}'])
    def test_a_file_that_is_none_of_ours(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "keys.json").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="cannot be read as a file of keys"):
            KeyRing(tmp_path / "keys.json")

    def test_names(self, tmp_path: Path) -> None:
        make_key(tmp_path / "keys.json", "laptop")
        with pytest.raises(ConfigError, match="there is a key named 'laptop'"):
            make_key(tmp_path / "keys.json", "laptop")
        with pytest.raises(ConfigError, match="the name"):
            make_key(tmp_path / "keys.json", "a\nb")

    def test_a_file_others_may_write_to(self, tmp_path: Path) -> None:
        make_key(tmp_path / "keys.json", "laptop")
        (tmp_path / "keys.json").chmod(0o666)
        with pytest.raises(ConfigError, match="others may write to it"):
            KeyRing(tmp_path / "keys.json")


@pytest.fixture(scope="module")
def locked(models: tuple[ServedModel, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A server that asks for a key and knows one web page."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    key = make_key(file, "laptop")
    with serving(models, keys_file=file, allow_origins=("https://app.example",), allow_hosts=("models.example",)) as one:
        yield one, key


class TestAccess:
    def test_the_right_key(self, locked: tuple[Served, str]) -> None:
        served, key = locked
        assert served.client(key).chat.completions.create(model=TUNED, messages=QUESTION, max_tokens=2).choices

    @pytest.mark.parametrize("key", ["wrong", "ts-" + "A" * 43])
    def test_a_wrong_key(self, locked: tuple[Served, str], key: str) -> None:
        with pytest.raises(openai.AuthenticationError) as refused:
            locked[0].client(key).models.list()
        assert refused.value.code == "invalid_api_key"

    @pytest.mark.parametrize("value", [b"Bearer \xc3\xa9\xff", b"Bearer", b"Basic abc", b""])
    def test_odd_headers(self, locked: tuple[Served, str], value: bytes) -> None:
        assert httpx2.get(f"{locked[0].address}/v1/models", headers={"authorization": value}).status_code == 401

    @pytest.mark.parametrize(
        ("path", "status"), [("/v1/models", 401), ("/metrics", 401), ("/nowhere", 401), ("/health", 200), ("/ready", 200)]
    )
    def test_without_a_key(self, locked: tuple[Served, str], path: str, status: int) -> None:
        answer = httpx2.get(locked[0].address + path)
        assert answer.status_code == status
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "invalid_api_key"

    def test_a_page_that_is_allowed(self, locked: tuple[Served, str]) -> None:
        served, key = locked
        asked = {
            "origin": "https://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
        }
        before = httpx2.options(f"{served.address}/v1/chat/completions", headers=asked)
        assert before.status_code == 204
        assert before.headers["access-control-allow-origin"] == "https://app.example"
        assert before.headers["access-control-allow-headers"] == "authorization"
        answer = httpx2.get(f"{served.address}/v1/models", headers={"origin": "https://app.example", "authorization": f"Bearer {key}"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "origin" in answer.headers["vary"]

    def test_a_page_that_is_not(self, locked: tuple[Served, str]) -> None:
        served, key = locked
        for origin in (PAGE, "null", "https://app.example.evil.example", "http://["):
            asked = {"origin": origin, "authorization": f"Bearer {key}"}
            answer = httpx2.get(f"{served.address}/v1/models", headers=asked)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")
            assert "access-control-allow-origin" not in answer.headers
            before = httpx2.options(f"{served.address}/v1/models", headers={**asked, "access-control-request-method": "POST"})
            assert before.status_code == 403

    def test_a_name_that_points_here(self, locked: tuple[Served, str]) -> None:
        served, key = locked
        port = served.address.rpartition(":")[2]
        for host, status in (
            (f"evil.example:{port}", 403),
            ("127.0.0.1.evil.example", 403),
            ("", 403),
            (f"localhost:{port}", 200),
            ("[::1]", 200),
            ("models.example", 200),
        ):
            answer = httpx2.get(f"{served.address}/v1/models", headers={"host": host, "authorization": f"Bearer {key}"})
            assert answer.status_code == status, host


def test_a_key_made_while_the_server_runs_is_asked_for_at_once(models: tuple[ServedModel, ...], tmp_path: Path) -> None:
    with serving(models, keys_file=tmp_path / "keys.json") as one:
        assert one.client().models.list().data
        key = make_key(tmp_path / "keys.json", "laptop")
        with pytest.raises(openai.AuthenticationError):
            one.client().models.list()
        assert one.client(key).models.list().data


def test_another_page_cannot_ask_a_server_without_keys(served: Served) -> None:
    body = {"model": TUNED, "messages": QUESTION}
    for kind in ("application/json", "text/plain"):  # the second is sent without a preflight
        answer = httpx2.post(
            f"{served.address}/v1/chat/completions", content=json.dumps(body), headers={"origin": PAGE, "content-type": kind}
        )
        assert answer.status_code == 403
    own = httpx2.get(f"{served.address}/v1/models", headers={"origin": served.address})
    assert own.status_code == 200, "the server's own pages"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("127.8.9.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("box.example", False),
    ],
)
def test_a_public_address_needs_a_key(host: str, local: bool) -> None:
    assert is_loopback(host) == local
    require_key_for_public(host, has_key=True)
    if local:
        require_key_for_public(host, has_key=False)
    else:
        with pytest.raises(ConfigError, match="there is no key"):
            require_key_for_public(host, has_key=False)
