"""Documents become passages with the path of their headings, of a sensible size and with their code whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.config import PrepareConfig
from tunesmith.data import recognise
from tunesmith.data.importers import IMPORTERS, Tally, find_importer
from tunesmith.data.importers.sections import LONGEST, SHORTEST
from tunesmith.errors import DataError

GUIDE = """\
# Guide

Welcome.

## Install
### Linux

```sh
# no heading
make
```

- one
- two

Title below
-----------
End.
"""
RST = """\
=====
Guide
=====

Welcome::

    make

Install
=======

Linux
-----
Run it.

+---+
| a |
+---+

Use
===
Go.
"""
PAGE = "<html><nav>Home</nav><h1>Guide</h1><p>Hello<script>no()</script></p><h2>Use</h2><pre>a\n b</pre><style>p{}</style></html>"


def read(path: Path, label: str, tally: Tally | None = None) -> list[tuple[str, str, str, str]]:
    rows = list(IMPORTERS["documents"].read(path, label, tally=tally))
    return [(row.source, row.values["document"], row.values["title"], row.values["text"]) for row in rows]


def file_of(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_markdown(tmp_path: Path) -> None:
    assert read(file_of(tmp_path, "guide.md", GUIDE), "guide.md") == [
        ("guide.md:1", "guide.md", "Guide", "# Guide\n\nWelcome."),
        ("guide.md:6", "guide.md", "Guide > Install > Linux", "### Linux\n\n```sh\n# no heading\nmake\n```\n\n- one\n- two"),
        ("guide.md:16", "guide.md", "Guide > Title below", "Title below\n-----------\n\nEnd."),
    ]


def test_restructured_text(tmp_path: Path) -> None:
    assert read(file_of(tmp_path, "guide.rst", RST), "guide.rst") == [
        ("guide.rst:1", "guide.rst", "Guide", "=====\nGuide\n=====\n\nWelcome::\n\n    make"),
        ("guide.rst:12", "guide.rst", "Guide > Install > Linux", "Linux\n-----\n\nRun it.\n\n+---+\n| a |\n+---+"),
        ("guide.rst:20", "guide.rst", "Guide > Use", "Use\n===\n\nGo."),
    ]


def test_html(tmp_path: Path) -> None:
    assert read(file_of(tmp_path, "guide.html", PAGE), "guide.html") == [
        ("guide.html#1", "guide.html", "Guide", "# Guide\n\nHello"),
        ("guide.html#3", "guide.html", "Guide > Use", "## Use\n\n```\na\n b\n```"),
    ]


def test_xhtml_and_its_entities(tmp_path: Path) -> None:
    secret = file_of(tmp_path, "secret.txt", "top secret")
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html [<!ENTITY x SYSTEM "file://{secret}">]>\n'
    page = f'{head}<html xmlns="http://www.w3.org/1999/xhtml"><body><p>\u00c4 &x; b</p><img src="http://127.0.0.1:1/x.png"/></body></html>'
    (row,) = read(file_of(tmp_path, "page.xhtml", page), "page.xhtml")
    assert "\u00c4" in row[3]
    assert "top secret" not in row[3]


def test_a_folder_is_read_in_order_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    for name, text in [
        ("b/two.md", "Two."),
        ("a.txt", "A.\n\nB."),
        ("logo.png", "x"),
        (".git/x.md", "hidden"),
        ("empty.md", ""),
        ("node_modules/x.md", "no"),
    ]:
        file_of(tmp_path / "docs", name, text)
    (tmp_path / "docs" / "link.md").symlink_to(tmp_path / "docs" / "a.txt")
    tally = Tally()
    assert find_importer(tmp_path / "docs") is IMPORTERS["documents"]
    assert read(tmp_path / "docs", "docs", tally) == [
        ("docs/a.txt:1", "a.txt", "a.txt", "A.\n\nB."),
        ("docs/b/two.md:1", "b/two.md", "b/two.md", "Two."),
    ]
    assert tally.note() == "left out 1 empty file, 1 file of another kind"
    assert {row.group for row in IMPORTERS["documents"].read(tmp_path / "docs", "docs")} == {"docs/a.txt", "docs/b/two.md"}


def test_long_sections_are_divided_between_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"{number} " + "word " * 150 for number in range(5)]
    code = "```\n" + "x = 1\n" * 500 + "```"
    text = "# Long\n\n" + "\n\n".join([*paragraphs, code, "The end."])
    rows = read(file_of(tmp_path, "long.md", text), "long.md")
    assert [source for source, *_ in rows] == ["long.md:1", "long.md:7", "long.md:11", "long.md:13"]
    assert [len(row[3]) <= LONGEST for row in rows] == [True, True, True, False]
    assert rows[3][3] == f"{code}\n\nThe end."
    assert {title for _, _, title, _ in rows} == {"Long"}


def test_a_paragraph_that_is_too_long_loses_nothing(tmp_path: Path) -> None:
    text = "This is a sentence. " * 500
    rows = read(file_of(tmp_path, "long.txt", text), "long.txt")
    assert all(len(row[3]) <= LONGEST + SHORTEST and row[3].endswith(".") for row in rows)
    assert " ".join(row[3] for row in rows) == text.strip()


def test_a_long_list_is_cut_between_its_items(tmp_path: Path) -> None:
    items = [f"- item {number}\n  " + "word " * 60 for number in range(14)]
    rows = read(file_of(tmp_path, "list.md", "# List\n" + "\n".join(items)), "list.md")
    assert [(source, text.split("\n")[0]) for source, _, _, text in rows] == [
        ("list.md:1", "# List"),
        ("list.md:14", "- item 6"),
        ("list.md:26", "- item 12"),
    ]


def test_rows_are_recognised_as_raw_text(tmp_path: Path) -> None:
    rows = list(IMPORTERS["documents"].read(file_of(tmp_path, "guide.md", GUIDE), "guide.md"))
    assert recognise(rows, PrepareConfig()).kind == "text"


def test_what_is_recognised(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    file_of(hub, "README.md", "# Data")
    file_of(hub, "data/train.jsonl", "{}")
    assert find_importer(hub) is None
    assert find_importer(file_of(tmp_path, "x/README.md", "# Tool\n\nText.")) is IMPORTERS["documents"]
    assert find_importer(file_of(tmp_path, "texts/a.txt", "Text.")) is None
    assert find_importer(tmp_path / "texts") is None
    assert find_importer(file_of(tmp_path, "data.csv", "# a\nb")) is None


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    file_of(tmp_path, "a.png", "x")
    with pytest.raises(DataError, match=r"docs: no document is in the folder"):
        read(tmp_path, "docs")


PIECES = st.sampled_from(["# ", "===\n", "---\n", "\n", "\n\n", "```\n", "a ", "<h1>", "<p>", "| ", "- ", "    "])


@settings(deadline=None)
@given(text=st.lists(PIECES).map("".join) | st.text(), suffix=st.sampled_from(["md", "rst", "html", "txt"]))
def test_any_text_is_read_or_refused(text: str, suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = file_of(tmp_path_factory.mktemp("docs"), f"a.{suffix}", text)
    with contextlib.suppress(DataError):
        for _, _, title, passage in read(file, file.name):
            assert passage.strip()
            assert title.strip()


@settings(deadline=None)
@given(text=st.text(alphabet="ab #\n=-", max_size=80))
def test_every_letter_of_a_text_is_in_a_passage(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = file_of(tmp_path_factory.mktemp("docs"), "a.txt", text)
    with contextlib.suppress(DataError):
        together = "".join(passage for *_, passage in read(file, "a.txt"))
        assert "".join(together.split()) == "".join(text.split())
