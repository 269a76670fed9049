from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.evaluate.differences import Span, mark_shared


def test_shared_words_in_order_are_marked_whatever_their_case() -> None:
    assert mark_shared("It is not free.", "Yes, it is free") == [
        Span("It is", shared=True),
        Span(" not ", shared=False),
        Span("free", shared=True),
        Span(".", shared=False),
    ]


def test_nothing_shared_everything_shared_and_nothing_said() -> None:
    assert mark_shared("no idea", "yes") == [Span("no idea", shared=False)]
    assert mark_shared("yes, sir", "Yes sir") == [Span("yes, sir", shared=True)]
    assert mark_shared("", "yes") == []


def test_chinese_is_marked_by_character() -> None:
    assert mark_shared("北京市", "北京") == [Span("北京", shared=True), Span("市", shared=False)]


def test_frequent_words_of_long_answers_are_marked_too() -> None:
    long = "to be or not to be " * 50  # difflib's autojunk would ignore them all
    assert mark_shared("Well, " + long, long)[-2] == Span(long.strip(), shared=True)


@given(st.text(), st.text())
def test_spans_lose_nothing(completion: str, reference: str) -> None:
    assert "".join(span.text for span in mark_shared(completion, reference)) == completion
