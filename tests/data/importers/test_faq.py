"""FAQ pages become pairs; what is no FAQ is refused or left to others."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.importers import IMPORTERS, Tally, find_importer
from tunesmith.errors import DataError

MARKDOWN = """\
---
layout: page
---
# Frequently asked questions

Welcome to our page.

## 1. How do I *install* it?

Run this:

```sh
# a comment, no heading?
make install
```

### On Windows

Use the [installer][1].

[1]: https://example.org

## Is it free?
A: Yes.

## Why is there nothing here?

## Contact

Write to us.

**May I return it?** Within 30 days,
with the receipt.

**What about repairs?**

- Send it in.
- Wait.

Q: Who are you?
A: A small company.
Since 1999.
Q2. Where?
**A:** In Oslo.
"""
FOLDED = """\
# Help
<details>
<summary>Does it <b>float</b>?</summary>

It does, **always**.

</details>
<details><summary>Does it sink?</summary>No.</details>

The end.
"""
HTML = """\
<!DOCTYPE html><html><head><title>FAQ</title><style>p {color: red}</style><script>alert("no?")</script></head>
<body><nav><a href="/">Home?</a></nav>
<h1>Questions</h1>
<h2>Is it safe?</h2><p>Yes, <b>very</b>.<br>See <a href="https://example.org">this</a>.</p><script>steal()</script>
<ul><li>Tested</li><li><p>Certified</p></li></ul>
<h3>Numbers</h3><table><tr><th>Year</th><th>Faults</th></tr><tr><td>2023</td><td>0</td></tr></table>
<pre>a
  b</pre>
<dl><dt>How big is it?</dt><dd>Ten metres.</dd><dt>How old?</dt><dd><p>A year.</p><p>Or two.</p></dd></dl>
<p>Between.</p>
<details><summary>Can I fold it?</summary>You can.<!-- hidden --></details>
<p>After.</p>
<h3><button>And buttons?</button></h3><div>They work &amp; click.</div>
<footer>Copyright?</footer></body></html>
"""


def read(folder: Path, name: str, text: str, tally: Tally | None = None) -> list[tuple[str, str, str]]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    rows = IMPORTERS["faq"].read(file, name, tally=tally)
    return [(row.values["question"], row.values["answer"], row.source) for row in rows]


def test_markdown(tmp_path: Path) -> None:
    tally = Tally()
    install = "Run this:\n\n```sh\n# a comment, no heading?\nmake install\n```\n\n### On Windows\n\nUse the [installer][1].\n\n[1]: https://example.org"
    assert read(tmp_path, "faq.md", MARKDOWN, tally) == [
        ("How do I install it?", install, "faq.md:8"),
        ("Is it free?", "Yes.", "faq.md:23"),
        ("May I return it?", "Within 30 days,\nwith the receipt.", "faq.md:32"),
        ("What about repairs?", "- Send it in.\n- Wait.", "faq.md:35"),
        ("Who are you?", "A small company.\nSince 1999.", "faq.md:40"),
        ("Where?", "In Oslo.", "faq.md:43"),
    ]
    assert tally.note() == (
        "left out 1 head of settings (front matter), 4 paragraphs and headings outside of answers, 1 question without an answer"
    )


def test_foldable_parts_of_markdown(tmp_path: Path) -> None:
    assert read(tmp_path, "help.md", FOLDED) == [
        ("Does it float?", "It does, **always**.", "help.md:2"),
        ("Does it sink?", "No.", "help.md:8"),
    ]


def test_html(tmp_path: Path) -> None:
    tally = Tally()
    safe = "Yes, very.\nSee this.\n\n- Tested\n- Certified\n\n### Numbers\n\nYear | Faults\n2023 | 0\n\n```\na\n  b\n```"
    assert read(tmp_path, "faq.html", HTML, tally) == [
        ("Is it safe?", safe, "faq.html#1"),
        ("How big is it?", "Ten metres.", "faq.html#2"),
        ("How old?", "A year.\n\nOr two.", "faq.html#3"),
        ("Can I fold it?", "You can.", "faq.html#4"),
        ("And buttons?", "They work & click.", "faq.html#5"),
    ]
    assert tally.note() == "left out 2 parts around the content, 3 paragraphs and headings outside of answers"


def test_bold_questions_in_html_stand_apart(tmp_path: Path) -> None:
    page = "<ul><li><b>One?</b> Yes.</li><li><strong>Two?</strong> No.<p>Never.</p>Or so.</li></ul>"
    assert read(tmp_path, "p.html", page) == [("One?", "Yes.", "p.html#1"), ("Two?", "No.\n\nNever.\n\n- Or so.", "p.html#2")]


def test_questions_in_a_list(tmp_path: Path) -> None:
    expected = [("One?", "Yes."), ("Two?", "No.")]
    assert [pair[:2] for pair in read(tmp_path, "p.md", "- Q: One?\n- A: Yes.\n- **Q:** Two?\n- **A:** No.\n")] == expected
    assert [pair[:2] for pair in read(tmp_path, "p.html", "<ul><li>Q: One?<li>A: Yes.<li>Q2: Two?<li>A2: No.</ul>")] == expected


def test_what_a_page_declares_wins(tmp_path: Path) -> None:
    question = {
        "@type": "Question",
        "name": "Is it &lt;new&gt;?",
        "acceptedAnswer": {"@type": "Answer", "text": "<p>Yes, <b>it</b> is.</p><ul><li>Very</li></ul>"},
    }
    data = {
        "@context": "https://schema.org",
        "@graph": [{"@type": ["FAQPage"], "mainEntity": [question, {"@type": "Question", "name": "Old?", "acceptedAnswer": []}]}],
    }
    page = f'<script type="application/ld+json">{json.dumps(data)}</script><script type="application/ld+json">{{</script>{HTML}'
    tally = Tally()
    assert read(tmp_path, "p.html", page, tally) == [("Is it <new>?", "Yes, it is.\n\n- Very", "p.html#1")]
    assert tally.note() == "read from the page's own FAQPage data; left out 1 broken piece of JSON-LD"


def test_a_page_without_questions_offers_documents(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"readme.md: no question with an answer.*`--kind documents`"):
        read(tmp_path, "readme.md", "# Tool\n\nIt works.\n")


def test_what_is_recognised(tmp_path: Path) -> None:
    two = "# Page\n\n## Why?\n\nSo.\n\n## How?\n\nThus.\n"
    for name, text, expected in [
        ("page.md", MARKDOWN, True),
        ("page.html", HTML, True),
        ("page.md", two, False),
        ("faq.md", two, True),
        (
            "readme.md",
            "# Tool\n\n"
            + "".join(f"## {name}\n\nx\n\n" for name in ("Install", "Use", "Why?", "Is it fast?", "Who?", "License", "Thanks")),
            False,
        ),
        ("faq.txt", MARKDOWN, False),
        ("page.html", '<script type="application/ld+json">{"@type": "FAQPage"}</script>', True),
        ("page.html", "<h1>News</h1><p>What happened?</p>", False),
    ]:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        importer = find_importer(file)
        assert (importer is IMPORTERS["faq"]) == expected, (name, text[:40])


PIECES = st.sampled_from(
    [
        "# ",
        "?",
        "\n",
        "\n\n",
        "**",
        "Q: ",
        "A: ",
        "<details>",
        "<summary>",
        "</summary>",
        "</details>",
        "<dl><dt>",
        "<dd>",
        "<script>",
        "---\n",
        "a",
        "- ",
        "```",
    ]
)


@settings(deadline=None)
@given(text=st.lists(PIECES).map("".join) | st.text(), suffix=st.sampled_from(["md", "html"]))
def test_any_page_is_read_or_refused(text: str, suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with contextlib.suppress(DataError):
        for question, answer, _ in read(tmp_path_factory.mktemp("faq"), f"page.{suffix}", text):
            assert question.strip()
            assert answer.strip()
