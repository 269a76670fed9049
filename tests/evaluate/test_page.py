from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.evaluate.fakes import raw_text_record, record
from tests.evaluate.test_report import records_of_a_good_run, report_of
from tunesmith.evaluate.page import MOST_SHOWN, render_html

ATTACK = "<script>alert(1)</script> {{7*7}} {% raw %} \" ' & <img src=x onerror=alert(1)> </details>"
VOID = {"meta", "link", "br", "img", "input", "hr", "path", "use", "rect"}
METRICS: list[dict[str, Any]] = [
    *({"kind": "step", "step": i, "loss": 3 - i / 20, "learning_rate": 5e-4 / i, "tokens_per_second": 900.0} for i in range(1, 31)),
    *({"kind": "validation", "step": i, "loss": 3 - i / 25} for i in (10, 20, 30)),
]


class Checker(HTMLParser):
    """Collects tags, attributes, ids and text, and insists that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, tag
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def parse(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def analysis_of(text: str) -> dict[str, Any]:
    shown = {"id": "r0", "source": text, "prompt": text, "reference": text, "completion": text, "explanation": text, "change": text}
    counted = {"severity": "major", "is_found": False, "num_base": 3, "num_tuned": 1, "fixed": ["r1"], "newly_broken": []}
    group = {"name": "empty", "title": "empty", **counted, "shown": [shown], "remedy": text}
    counts = {"num_examples": 30, "num_without_failure_base": 27, "num_without_failure_tuned": 29}
    action = {"title": text, "num_failures": 1, "why": text, "command": text, "rows": 2, "decision": "drop"}
    return {"schema_version": 2, "groups": [group], "notes": [text], "actions": [action], **counts}


@pytest.fixture(scope="module")
def page() -> str:
    records = records_of_a_good_run()
    return render_html(report_of(records), records, METRICS, analysis_of("see this"))


def test_the_page_says_the_verdict_the_figures_and_the_answers(page: str) -> None:
    text = " ".join(parse(page).text.split())
    for expected in (
        "Better than the base model",
        "the same 30 examples of the test split",
        "−1.06 [−1.13, −0.99]",
        "95 % interval, n = 30, p < 0.001",
        "20 newly right, 0 newly wrong",
        "Newly right (20)",
        "Wrong both times (10)",
        "Press the reset button.",
        "see this",
        "Left out, too long: 2 examples",
    ):
        assert expected in text, expected


def test_the_page_fetches_nothing_and_runs_nothing(page: str) -> None:
    checker = parse(page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(checker.tags)
    addresses = [value for name, value in checker.attributes if name in ("src", "href", "xlink:href", "action", "data", "srcset")]
    assert addresses
    assert all(address and address.startswith("#") for address in addresses)
    assert not [name for name, _ in checker.attributes if name.startswith("on")]
    assert "://" not in page
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_what_people_and_models_wrote_stays_text() -> None:
    records = [record(name=f"{ATTACK}{i}", prompt=ATTACK, reference=ATTACK, base=ATTACK, tuned=ATTACK + " more") for i in range(3)]
    plain = render_html(report_of(records_of_a_good_run(3)), records_of_a_good_run(3), METRICS, analysis_of("plain"))
    hostile = render_html(report_of(records), records, METRICS, analysis_of(ATTACK))
    assert "<script" not in hostile
    assert "onerror=alert(1)&gt;" in hostile
    assert "{{7*7}}" in hostile
    assert "49" not in set(re.findall(r"\d+", parse(hostile).text.replace(ATTACK, ""))) - set(re.findall(r"\d+", plain))
    checker = parse(hostile)
    assert set(checker.tags) <= set(parse(plain).tags) | {"em"}
    assert checker.text.count(ATTACK) >= 10


def test_hostile_names_stay_text() -> None:
    records = records_of_a_good_run(3)
    report = report_of(records)
    for field in ("run_name", "model_name", "data_fingerprint"):
        object.__setattr__(report, field, ATTACK)
    assert "<script" not in render_html(report, records, [], None)


def test_ids_are_unique_and_every_reference_is_met(page: str) -> None:
    checker = parse(page)
    ids = [value for name, value in checker.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
    assert {one or other for one, other in wanted} <= set(ids)


def test_the_same_input_gives_the_same_page(page: str) -> None:
    records = records_of_a_good_run()
    assert render_html(report_of(records), records, METRICS, analysis_of("see this")) == page


def test_dark_mode_and_phones_are_provided_for(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "var(--blue)" in page
    drawn = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawn) == 3
    assert not [colour for svg in drawn for colour in re.findall(r"#[0-9a-f]{6}\b", svg)]  # all colours are the page's
    assert not [svg for svg in drawn if "<style" in svg]


def test_a_run_without_metrics_answers_or_analysis_has_a_page() -> None:
    records = [raw_text_record(f"r{i}", (30.0, 10), (20.0, 10)) for i in range(3)]
    text = parse(render_html(report_of(records), records, [], None)).text
    assert "This run has no training metrics" in text
    assert "Answers side by side" not in text


def test_one_example_has_a_page() -> None:
    records = records_of_a_good_run(1)
    assert "Cannot tell yet" in parse(render_html(report_of(records), records, METRICS[:1], None)).text


def test_long_lists_are_shortened_and_say_so() -> None:
    records = records_of_a_good_run(300)
    text = parse(render_html(report_of(records), records, [], None)).text
    assert "Newly right (200)" in text
    assert f"{MOST_SHOWN} are shown" in text


def test_line_breaks_of_an_answer_are_kept() -> None:
    records = [record(name="a", tuned="one\n  two\n\nthree", base="b")]
    assert "one\n  two\n\nthree" in parse(render_html(report_of(records), records, [], None)).text
