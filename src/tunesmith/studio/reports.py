"""The HTML reports that runs and data sets hold, served as documents that can do nothing to the studio.

A report is a file of a directory that may come from elsewhere. It is sent with a policy that puts it into an origin of its own (`sandbox`):
its scripts, if any, read no cookie, reach no page of ours and load nothing.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response

from tunesmith.studio.reading import Library, RunSummary

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'none'; "
    "sandbox allow-scripts"
)


def run_reports(run: RunSummary) -> dict[str, Path]:
    """Kind of report to its file, of those there are."""
    directory = run.directory
    files = {"evaluation": directory.html_report_file, "benchmarks": directory.benchmarks_dir / "report.html"}
    return {kind: file for kind, file in files.items() if is_inside(file, run.path)}


def is_inside(file: Path, directory: Path) -> bool:
    """Whether it is a regular file that lies in the directory, links followed."""
    return file.is_file() and file.resolve().is_relative_to(directory.resolve())


def add_reports(app: FastAPI, library: Library) -> None:
    """Serve `/reports/runs/RUN/KIND` and `/reports/data/DATA`; all three are looked up, none becomes a path."""

    @app.get("/reports/runs/{name}/{kind}")
    def run_report(name: str, kind: str) -> Response:
        run = library.run(name)
        return _send(run_reports(run).get(kind) if run else None)

    @app.get("/reports/data/{name:path}")
    def data_report(name: str) -> Response:
        data = library.data_set(name)
        file = data.path / "report.html" if data else None
        return _send(file if data and file and is_inside(file, data.path) else None)


def _send(file: Path | None) -> Response:
    if file is None:
        return PlainTextResponse("there is no such report\n", status_code=404)
    return FileResponse(
        file, media_type="text/html; charset=utf-8", headers={"content-security-policy": POLICY, "cache-control": "no-cache"}
    )
