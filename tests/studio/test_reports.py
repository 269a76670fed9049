"""The HTML reports of runs and data sets: only those, and in an origin of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.studio.made import HOSTILE_NAME, make_run, make_runs
from tunesmith.studio.reading import Library
from tunesmith.studio.reports import add_reports
from tunesmith.studio.widgets import run_address


@pytest.fixture
def library(tmp_path: Path) -> Library:
    runs, prepared = make_runs(tmp_path, num_runs=2)
    make_run(runs, HOSTILE_NAME, 3, data=prepared / "faq", state="evaluated")
    (tmp_path / "secret.html").write_text("secret", encoding="utf-8")
    (tmp_path / "runs" / "report.html").write_text("secret", encoding="utf-8")
    return Library(runs, prepared)


@pytest.fixture
def client(library: Library) -> TestClient:
    app = FastAPI()
    add_reports(app, library)
    return TestClient(app)


def test_a_report_comes_in_a_sandbox(client: TestClient) -> None:
    done = client.get("/reports/runs/faq-000/evaluation")
    assert "the report" in done.text
    policy = done.headers["content-security-policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


def test_a_run_may_have_any_name(client: TestClient) -> None:
    assert client.get(f"/reports{run_address(HOSTILE_NAME)}/evaluation").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/reports/runs/faq-000/benchmarks",
        "/reports/runs/faq-000/../../secret.html",
        "/reports/runs/faq-000/..%2f..%2fsecret.html",
        "/reports/runs/..%2f..%2fsecret/evaluation",
        "/reports/runs/%2e%2e/evaluation",
        "/reports/runs/../evaluation",
        "/reports/data/..",
        "/reports/data/../runs",
        "/reports/data/%2fetc",
        "/reports/data/faq/../../runs",
        "/reports/runs/none/evaluation",
    ],
)
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    done = client.get(path)
    assert done.status_code == 404
    assert "secret" not in done.text


def test_a_link_in_a_run_directory_leads_nowhere(client: TestClient, library: Library, tmp_path: Path) -> None:
    report = library.runs_dir / "faq-000" / "evaluation" / "report.html"
    report.unlink()
    report.symlink_to(tmp_path / "secret.html")
    assert client.get("/reports/runs/faq-000/evaluation").status_code == 404
