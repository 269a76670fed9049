"""The page: complete, escaped, self-contained."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.samples import qa
from tunesmith.data.checks import CheckContext, run_checks
from tunesmith.data.checks.page import render_page
from tunesmith.types import Example

EVIL = "<script>alert(1)</script> & <img src=x onerror=alert(1)> $x_1$"


@pytest.fixture(scope="module")
def page() -> str:
    examples: list[Example] = [
        qa(f"{EVIL} number {n}?", "TODO" if n % 9 == 0 else f"{EVIL[:30]}class {n % 3}", source=f"<b>.csv:{n}") for n in range(60)
    ]
    findings = run_checks(examples, context=CheckContext(max_tokens=5))
    report = {
        "summary": [f"read 60 rows from {EVIL}"],
        "notes": [EVIL],
        "counts": {"train": 50, "validation": 4, "test": 6},
        "findings": [one.to_json() for one in findings],
    }
    return render_page(report, title=EVIL)


class Tags(HTMLParser):
    """Every tag opened and closed in order."""

    VOID = frozenset({"meta", "br", "img", "path", "use", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_it_is_well_formed_and_runs_nothing(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert {"script", "img", "link", "iframe", "b"} & set(tags.seen) == set()
    assert tags.seen.count("svg") >= 4


def test_it_needs_no_network(page: str) -> None:
    assert re.findall(r"(?:https?:)?//\w", page) == []
    assert "default-src 'none'" in page
    assert len(page.encode()) < 1_000_000


def test_every_finding_is_on_it_with_its_option(page: str) -> None:
    for said in ("placeholder-answer", "--drop placeholder-answer", "lengths in words", "&lt;b&gt;.csv:0", "class-balance"):
        assert said in page
    assert "1 problem" in page


def test_ids_are_unique(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_nothing_found_is_said() -> None:
    assert "Nothing is wrong that a check can see" in render_page({"findings": []}, title="faq.csv")
