"""`tunesmith studio` as it is typed."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.studio.made import HOSTILE_NAME, make_hostile_runs, make_runs
from tests.studio.made_evaluation import add_evaluation
from tests.studio.server import studio
from tunesmith.studio.widgets import run_address

pytest.importorskip("nicegui", reason="the extra `studio` is not installed")


def get(address: str, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_pages_answer_whatever_lies_in_the_runs(tmp_path: Path) -> None:
    runs, prepared = make_runs(tmp_path)
    reasons = make_hostile_runs(runs, prepared / "faq")
    with studio(runs, prepared, cwd=tmp_path) as running:
        assert running.token is None
        for name in ("faq-000", HOSTILE_NAME, "nan", *reasons):
            status, _, body = get(running.address, run_address(name))
            assert (status, name) == (200, name)
            assert "<img src=x" not in body
        for path in ("/", "/new", "/new?data=../..&model=<script>alert(1)</script>"):
            status, headers, body = get(running.address, path.replace("<", "%3C").replace(">", "%3E"))
            assert status == 200
            assert headers["content-security-policy"].startswith("default-src 'self'")
            assert "<script>alert" not in body
            assert "<img src=x" not in body
        ahead = re.findall(r'<link rel="modulepreload" href="([^"]+)"', get(running.address, run_address("faq-000"))[2])
        assert {"dompurify.mjs", "echart.js", "index.js"} < {one.rpartition("/")[2] for one in ahead}
        for _ in range(2):  # the second time from memory
            assert {(path, *get(running.address, path)[:1]) for path in ahead} == {(path, 200) for path in ahead}
        for path in ("/runs/nothing", "/runs/..%2F..", "/runs/%2e%2e", "/runs/..", "/nothing", "/_nicegui/../../etc/passwd"):
            assert get(running.address, path)[0] == 404
        assert get(running.address, "/", Host="evil.example")[0] == 403
    assert not list(tmp_path.glob(".nicegui")), "nothing is written into the working directory"


def test_pages_come_whole(tmp_path: Path) -> None:
    runs, prepared = make_runs(tmp_path, num_runs=2)
    for name in ("faq-000", "faq-001"):
        add_evaluation(runs / name, num_examples=8, shift=name == "faq-001")
    last = {
        "/data?set=faq": "how does part 7 work?",
        "/compare?run=faq-000&run=faq-001": "how does part 7 work?",
        "/evaluation/faq-000": "how does part 7 work?",
        "/rate?run=faq-000&rater=Ana": "A is better",
    }
    with studio(runs, prepared, cwd=tmp_path) as running:
        assert {path: words in get(running.address, path)[2] for path, words in last.items()} == dict.fromkeys(last, True)


def test_an_address_that_others_reach_asks_for_the_token(tmp_path: Path) -> None:
    runs, prepared = make_runs(tmp_path, num_runs=1)
    with studio(runs, prepared, cwd=tmp_path, words=("--host", "0.0.0.0")) as running:
        assert running.token is not None
        port = urlsplit(running.address).port
        local = f"http://127.0.0.1:{port}"
        assert get(local, "/", Accept="text/html")[1]["location"] == "/login"
        assert get(local, "/_nicegui_ws/socket.io/?EIO=4&transport=polling")[0] == 401
        status, headers, _ = get(local, f"/login?token={running.token}")
        assert status == 303
        assert get(local, "/", Cookie=headers["set-cookie"].partition(";")[0])[0] == 200
        assert running.first_page.endswith(f":{port}/login?token={running.token}")


def test_a_taken_port_is_one_paragraph(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "tunesmith", "studio", "--port", str(port)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"error: 127.0.0.1:{port}: it cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_nicegui_it_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['nicegui'] = None; from tunesmith.cli.main import main; sys.exit(main(['studio']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "pip install 'tunesmith[studio]'" in done.stderr
    assert "Traceback" not in done.stderr
