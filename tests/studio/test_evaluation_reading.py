"""Evaluations as the pages read them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="the extra `studio` is not installed")

from tests.studio.made import HOSTILE_TEXT, make_data, make_run, write_lines
from tests.studio.made_evaluation import add_analysis, add_evaluation
from tunesmith.studio.pages.compare_reading import Compared, differing, differing_settings, score_rows
from tunesmith.studio.pages.evaluation import metric_row
from tunesmith.studio.pages.evaluation_reading import Evaluated, Wanted, read_evaluated
from tunesmith.studio.pages.examples_nearest import open_space
from tunesmith.studio.readable import Unreadable
from tunesmith.studio.reading import Library


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "prepared", "faq")


def evaluated(directory: Path, data: Path, name: str = "faq", *, shift: bool = False, analysed: bool = True) -> tuple[Library, Evaluated]:
    run = make_run(directory / "runs", name, data=data, state="evaluated")
    add_evaluation(run, num_examples=20, shift=shift)
    if analysed:
        add_analysis(run)
    library = Library(directory / "runs", directory / "prepared")
    summary = library.run(name)
    assert summary is not None
    return library, read_evaluated(library, summary)


def test_examples_are_found_by_words_flips_and_groups(tmp_path: Path, data: Path) -> None:
    _, found = evaluated(tmp_path, data)
    assert found.matching(Wanted()) == list(range(20))
    assert found.matching(Wanted(words='QUESTION "part 7 "')) == [7]
    assert found.matching(Wanted(flip="newly_wrong")) == [3, 8, 13, 18]
    assert found.matching(Wanted(group="no_end")) == [3, 7, 13, 17]
    assert found.matching(Wanted(group="no_end", of="base")) == [1, 7, 9, 11, 17, 19]
    assert found.matching(Wanted(group="no_end", flip="newly_wrong", words='"part 13"')) == [13]


def test_an_example_knows_its_flip_groups_and_scores(tmp_path: Path, data: Path) -> None:
    _, found = evaluated(tmp_path, data)
    example = found.example(3)
    assert example.flip == "newly_wrong"
    assert example.groups("base") == {}
    assert list(example.groups("tuned")) == ["too_long", "no_end"]
    assert example.scores("tuned") == {"rouge_l": 0.1, "token_f1": 0.15}
    assert example.loss("tuned") == 3.0
    assert found.right_words() == "token F1 at least 0.5"
    assert [(group.name, group.counts["tuned"]) for group in found.groups()] == [("too_long", 8), ("no_end", 4)]


def test_without_an_analysis_there_are_no_groups(tmp_path: Path, data: Path) -> None:
    _, found = evaluated(tmp_path, data, analysed=False)
    assert found.analysis is None
    assert found.groups() == []
    assert found.example(3).groups("tuned") == {}


def test_lines_that_are_no_records_are_counted(tmp_path: Path, data: Path) -> None:
    run = make_run(tmp_path / "runs", "odd", data=data, state="evaluated")
    add_evaluation(run, num_examples=2, hostile=HOSTILE_TEXT)
    file = run / "evaluation" / "records.jsonl"
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"id": 3}\n[]\nnot json\n{"id": "odd", "answers": {"base": 4}, "prompt": null}\n')
    library = Library(tmp_path / "runs", tmp_path / "prepared")
    summary = library.run("odd")
    assert summary is not None
    found = read_evaluated(library, summary)
    assert (found.num_examples, found.records.num_bad) == (3, 3)
    assert found.example(2).completion("base") == ""
    assert found.matching(Wanted(words="script")) == [0, 1]
    file.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(Unreadable, match="no line that is a record"):
        read_evaluated(library, summary)


def test_an_interval_shows_its_width() -> None:
    figures = {"base": 0.52, "tuned": 0.56, "difference": 0.04, "interval": [0.037, 0.043], "metric": {"name": "m", "decimals": 2}}
    row = metric_row(figures)
    assert row is not None
    assert row["interval"] == "[+0.037, +0.043]"
    assert metric_row({"base": "many"}) is None


def test_the_nearest_rows_share_words(data: Path) -> None:
    space = open_space(data / "train.jsonl")
    near = space.nearest("how does part 7 work in question 7")
    assert near[0].row.source == "faq.jsonl:8"
    assert near[0].similarity > near[1].similarity
    assert space.nearest("xyzzy") == []


def test_likeness_is_that_of_tf_idf(tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn.feature_extraction.text")
    prompts = ["Is it free?", "How do I pay, pay by card?", "", "is it? Is it!", "Über uns: 24/7 free", "how do i return a card"]
    file = write_lines(tmp_path / "train.jsonl", [{"messages": [{"role": "user", "content": one}, {}]} for one in prompts])
    vectorizer = sklearn.TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True)
    vectors = vectorizer.fit_transform(prompts)
    space = open_space(file)
    for asked in [*prompts, "free free CARD unheard-of card", "xyzzy"]:
        cosines = (vectorizer.transform([asked]) @ vectors.T).toarray()[0]
        expected = sorted(((place, pytest.approx(one)) for place, one in enumerate(cosines) if one > 0), key=lambda one: -cosines[one[0]])
        assert [(one.place, one.similarity) for one in space.nearest(asked, len(prompts))] == expected
        assert space.nearest(asked, 2) == space.nearest(asked, len(prompts))[:2]


@pytest.mark.parametrize("lines", [[], [{"text": "!"}], [{}]])
def test_rows_without_words_are_near_to_nothing(tmp_path: Path, lines: list[dict[str, str]]) -> None:
    assert open_space(write_lines(tmp_path / "train.jsonl", lines)).nearest("anything") == []


def test_runs_differ_in_settings_and_examples(tmp_path: Path, data: Path) -> None:
    compared = []
    for name, is_other in (("first", False), ("other", True)):
        library, found = evaluated(tmp_path, data, name, shift=is_other)
        run = library.run(name)
        assert run is not None
        config = {"epochs": 2.0, "learning_rate": 0.1, "lora": {"rank": 32 if is_other else 16}, **({"seed": 3} if is_other else {})}
        compared.append(Compared(run=run, config=config, evaluated=found))
    assert differing_settings(compared) == {"lora.rank": ("16", "32"), "seed": ("–", "3")}
    assert differing(compared, "gained", "") == ["test-000007"]
    assert differing(compared, "lost", "") == []
    assert differing(compared[::-1], "lost", "") == ["test-000007"]
    assert differing(compared, "answers", "part") == ["test-000007"]
    assert score_rows(compared)["ROUGE-L"] == ["0.30 (+0.09 [+0.05, +0.13])"] * 2
