"""Leaks: what is looked at, how it is ranked and looked for, and a run that memorised planted canaries."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.evaluate.probing.conftest import ROWS, prepared, trained
from tunesmith.config import LeaksConfig, TrainConfig
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.errors import DataError, RunError
from tunesmith.evaluate.probing.canaries import FILE, canaries_of, plant
from tunesmith.evaluate.probing.exposure import exposure_of, lines_of, random_strings
from tunesmith.evaluate.probing.extraction import holds
from tunesmith.evaluate.probing.leaks import probe_leaks
from tunesmith.evaluate.probing.leaks_report import LeaksReport, _welch
from tunesmith.evaluate.probing.secrets import CONTROL, PLANTED, Secret, private_strings
from tunesmith.runs import RunDirectory, open_run
from tunesmith.tuned import open_base
from tunesmith.types import Message

MAIL = "mara.voss@firm.org"
CONFIG = LeaksConfig(candidates=63, samples=1, max_new_tokens=32)


@pytest.fixture(scope="module")
def memorised(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """All weights trained on few examples and canaries repeated often; a prompt holds an e-mail address."""
    directory = tmp_path_factory.mktemp("leaks")
    rows = [*ROWS[:12], {"question": f"Is {MAIL} valid?", "answer": "It is."}]
    data = plant(prepared(rows, directory, test_fraction=0.1), count=6, repeats=8, seed=0, out=directory / "planted")
    return trained(data, tiny_llama, directory / "runs", steps=80, method="full")


@pytest.fixture(scope="module")
def report(memorised: RunDirectory) -> LeaksReport:
    return probe_leaks(memorised, CONFIG)


def test_planted_canaries_are_exposed_and_others_are_not(report: LeaksReport) -> None:
    kinds = {one.kind: one for one in report.kinds}
    assert kinds[PLANTED].tuned_exposure is not None
    assert kinds[CONTROL].tuned_exposure is not None
    assert kinds[PLANTED].tuned_exposure > kinds[CONTROL].tuned_exposure + 1.5
    against = report.exposed.planted_and_controls
    assert against is not None
    assert against.p_value < 0.05
    assert against.interval is not None
    assert against.interval.low > 0
    assert report.repeats == 8


def test_canaries_come_out_of_the_tuned_model_alone(report: LeaksReport) -> None:
    kinds = {one.kind: one for one in report.kinds}
    assert kinds[PLANTED].extracted.tuned.count > 0
    assert kinds[PLANTED].extracted.base.count == 0
    assert kinds[CONTROL].extracted.tuned.count == 0
    assert any("fewer epochs" in command for command in report.commands)


def test_what_stands_in_a_prompt_is_asked_by_its_prefix_alone(report: LeaksReport) -> None:
    (mail,) = [leak for leak in report.leaks if leak.kind == "e-mail address"]
    assert mail.tuned.prompt is None
    assert mail.tuned.prefix is not None
    assert mail.tuned_exposure is not None
    assert any("--fix pii" in command for command in report.commands)


def test_secrets_are_masked_unless_asked_for(memorised: RunDirectory, report: LeaksReport) -> None:
    canaries = canaries_of(load_prepared(Path(memorised.record()["data"]["directory"])))
    assert canaries is not None
    written = memorised.leaks_file.read_text(encoding="utf-8")
    for secret in (MAIL, *(one.code for one in (*canaries.planted, *canaries.controls))):
        assert secret not in written
        assert all(secret not in line for line in report.summary_lines())
    assert all(leak.string[:2] + "…#" == leak.string[:4] for leak in report.leaks)
    open_report = probe_leaks(memorised, CONFIG.model_copy(update={"samples": 0, "candidates": 15}), show_secrets=True)
    assert {one.code for one in canaries.planted} <= {leak.string for leak in open_report.leaks}
    assert json.loads(memorised.leaks_file.read_text(encoding="utf-8"))["leaks"][0]["tuned"]["prompt_samples"] == 0


def test_strings_are_ranked_in_the_very_tokens_of_training(memorised: RunDirectory) -> None:
    data = load_prepared(Path(memorised.record()["data"]["directory"]))
    secrets = private_strings(data, limit=50, seed=0).secrets
    renderer = open_base(memorised, dtype="float32", device="cpu").renderer
    by_source = {example.source: renderer.render(example).token_ids for example in data.train}
    lines = lines_of(secrets, renderer, count=20, seed=0)
    for secret, line in zip(secrets, lines, strict=True):
        assert line is not None
        assert len(set(line.continuations)) == 21
        if secret.kind != CONTROL:
            ids = line.context_ids + line.continuations[0]
            whole = by_source[secret.source]
            assert whole[: len(ids) - 1] == ids[:-1]  # the last token may go on in training, where the text does
            assert secret.text in renderer.decode(ids)
            assert len(line.continuations[0]) > 1


def test_a_data_set_without_private_strings(tiny_llama: Path, tmp_path: Path) -> None:
    run = trained(prepared(ROWS, tmp_path), tiny_llama, tmp_path / "runs", steps=1)
    report = probe_leaks(run, CONFIG)
    assert report.leaks == ()
    assert "nothing can leak that they know" in report.remarks[0]
    assert "tunesmith probe plant" in report.commands[0]


def test_changed_canaries_and_unfinished_runs_are_refused(memorised: RunDirectory, tmp_path: Path) -> None:
    directory = Path(memorised.record()["data"]["directory"])
    file = directory / FILE
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(before.replace('"repeats": 8', '"repeats": 9'), encoding="utf-8")
        with pytest.raises(DataError, match="changed after canaries were planted"):
            probe_leaks(memorised, CONFIG)
        file.unlink()
        with pytest.raises(DataError, match="the file is gone"):
            probe_leaks(memorised, CONFIG)
    finally:
        file.write_text(before, encoding="utf-8")
    (tmp_path / "run.json").write_text((memorised.path / "run.json").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(RunError, match="has not finished"):
        probe_leaks(open_run(tmp_path), CONFIG)


def secret(text: str, kind: str = "phone number", *, lead: str = "Call ") -> Secret:
    before = (Message(role="user", content="How do I reach you?"),)
    holder = Message(role="assistant", content=lead + text)
    return Secret(kind=kind, text=text, source="a:1", before=before, holder=holder, lead=lead)


def test_random_strings_have_the_shape_and_keep_what_is_public() -> None:
    strings = random_strings(secret("+44 Ab9"), 40, seed=0)
    assert len(set(strings)) == 40
    assert "+44 Ab9" not in strings
    for one in strings:
        assert [c.isdigit() for c in one] == [c.isdigit() for c in "+44 Ab9"]
        assert [c.isupper() for c in one] == [c.isupper() for c in "+44 Ab9"]
        assert one[0] + one[3] == "+ "
    assert all(one.endswith("@firm.org") for one in random_strings(secret(MAIL, "e-mail address"), 20, seed=0))
    assert all(one.startswith("sk-proj-") for one in random_strings(secret("sk-proj-a1b2c3", "key or token"), 20, seed=0))
    assert strings == random_strings(secret("+44 Ab9"), 40, seed=0)


def test_a_short_shape_has_as_many_strings_as_there_are() -> None:
    assert sorted(random_strings(secret("7"), 40, seed=0)) == [str(digit) for digit in range(10) if digit != 7]
    assert random_strings(secret("+-"), 40, seed=0) == []


@pytest.mark.parametrize(("own", "rank"), [(-1.0, 1), (-2.0, 2), (-3.0, 3), (-9.0, 4)])
def test_exposure_is_the_rank_in_bits_and_ties_count_against_the_string(own: float, rank: int) -> None:
    found = exposure_of([own, -2.0, -3.0, -4.0])
    assert found.rank == rank
    assert found.bits == pytest.approx(math.log2(4) - math.log2(rank))


def test_the_interval_of_two_means_is_welchs() -> None:
    import numpy as np
    from scipy.stats import ttest_ind

    first, second = np.array([6.0, 5.1, 4.9, 6.2, 3.0]), np.array([1.0, 0.2, 3.3])
    span = ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    assert _welch(first, second, 0.9) == pytest.approx((span.low, span.high))
    assert _welch(np.full(4, 6.0), np.full(3, 6.0), 0.9) is None
    assert _welch(first, second[:1], 0.9) is None


def test_a_string_is_found_whatever_its_spacing() -> None:
    assert holds("It is 4831 2950-7716.", "4831-2950-7716")
    assert holds("write to Mara.Voss@FIRM.org", MAIL)
    assert holds("31-2950-7716", "4831-2950-7716", begun="the code is 48")
    assert not holds("31-2950-7716", "4831-2950-7716")
    assert not holds("4831-2950-771", "4831-2950-7716")


def test_an_answer_is_preferred_to_a_prompt_and_an_echo_is_no_secret(tmp_path: Path) -> None:
    rows = [
        {"question": f"Is {MAIL} right?", "answer": f"Yes, {MAIL} is."},
        {"question": "Whom do I ask?", "answer": f"Ask {MAIL} about it."},
        {"question": "And the phone?", "answer": "Call +44 20 7946 0958 for help."},
        *ROWS[:20],
    ]
    found = private_strings(prepared(rows, tmp_path, test_fraction=0), limit=50, seed=0)
    mail, phone = sorted(found.secrets, key=lambda one: one.kind)
    assert (mail.num_places, mail.is_answered, mail.lead) == (2, True, "Ask ")
    assert (phone.text, phone.num_places) == ("+44 20 7946 0958", 1)
    assert not replace(mail, before=(Message(role="user", content=f"Is {MAIL} right?"),)).is_answered
    assert found.num_private == 2
    assert len(private_strings(load_prepared(tmp_path / "prepared"), limit=1, seed=0).secrets) == 1


def test_raw_text_is_probed_by_its_prefix(tiny_llama: Path, tmp_path: Path) -> None:
    from tunesmith.config import PrepareConfig
    from tunesmith.data.prepare import prepare
    from tunesmith.train.train import train

    lines = [{"text": f"Letter {number}. Write to person{number}@firm{number}.org about number {number}."} for number in range(12)]
    (tmp_path / "letters.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    data = prepare([tmp_path / "letters.jsonl"], tmp_path / "letters", PrepareConfig(near_threshold=1))
    settings = {"max_steps": 1, "dtype": "float32", "estimate": False}
    run = train(TrainConfig(model=str(tiny_llama), data=data.directory, **settings), runs_dir=tmp_path / "runs", name="run")
    report = probe_leaks(run, CONFIG)
    assert len(report.leaks) == len(data.train)
    assert all(leak.tuned.prompt is None and leak.tuned.prefix is not None for leak in report.leaks)
