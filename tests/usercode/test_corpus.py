"""No false alarm, every planted mistake refused, and the right name for nine in ten."""

from __future__ import annotations

import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.examine import CHECK_NAMES
from fmnist_cli.usercode.results import CheckReport
from fmnist_cli.usercode.rubric import OPTIONAL

from .base import Planted
from .conftest import CheckText, check_here
from .early import EARLY
from .named import NAMED
from .seen import PAIRS, SEEN
from .styles import STYLES

N_SEEDS = 20


def alarms(report: CheckReport) -> list[tuple[str, str, object]]:
    return [
        (r.check, r.message, r.diagnosis)
        for r in report.results
        if r.status in ("failed", "unclear")
    ]


@pytest.mark.parametrize("style", STYLES)
def test_correct_layers_of_every_style_raise_no_alarm(style: str, check_text: CheckText) -> None:
    assert alarms(check_text(STYLES[style])) == []


@pytest.mark.parametrize(
    "style",
    [s if s in ("vectorised", "row vectors") else pytest.param(s, marks=pytest.mark.slow)
     for s in STYLES],
)  # fmt: skip
def test_correct_layers_of_every_style_train(style: str, check_text: CheckText) -> None:
    report = check_text(STYLES[style], only=CHECK_NAMES)
    assert alarms(report) == []
    assert report.holds
    absent = {r.check for r in report.results if r.status != "passed"}
    assert absent <= set(OPTIONAL)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_no_seed_raises_an_alarm(style: str, check_text: CheckText) -> None:
    for seed in range(1, N_SEEDS + 1):
        assert alarms(check_text(STYLES[style], seed=seed)) == [], seed


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(STYLES) >= 10
    assert len(EARLY) >= 30
    assert len({p.what for p in EARLY + SEEN}) == len(EARLY) + len(SEEN) >= 60
    assert set(NAMED) == {p.what for p in EARLY}
    assert len(PAIRS) == 40


def first_name_is_right(planted: Planted, report: CheckReport) -> bool:
    """Whether the first diagnosis is the right one."""
    return bool(report.mistakes) and report.mistakes[0] in (planted.named or NAMED[planted.what])


@pytest.mark.parametrize("corpus", [EARLY, SEEN], ids=["early", "seen"])
def test_every_mistake_is_refused_and_nine_in_ten_are_named(
    corpus: tuple[Planted, ...], check_text: CheckText
) -> None:
    reports = [check_text(planted.text) for planted in corpus]
    accepted = [p.what for p, r in zip(corpus, reports, strict=True) if r.holds]
    assert accepted == []
    named = [first_name_is_right(p, r) for p, r in zip(corpus, reports, strict=True)]
    assert sum(named) >= 0.9 * len(corpus)


def test_every_pair_of_mistakes_is_refused(check_text: CheckText) -> None:
    assert [p.what for p in PAIRS if check_text(p.text).holds] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, N_SEEDS + 1))
def test_the_names_do_not_hang_on_a_seed(seed: int, images: Split) -> None:
    for corpus in (EARLY, SEEN):
        reports = [(p, check_here(p.text, seed, images)) for p in corpus]
        assert [p.what for p, report in reports if report.holds] == []
        named = [first_name_is_right(p, report) for p, report in reports]
        assert sum(named) >= 0.9 * len(corpus)


@pytest.mark.parametrize("factor", ["/ len(X)", "* len(X)"])
def test_a_factor_of_n_is_found_at_every_batch_size(factor: str, check_text: CheckText) -> None:
    """N = 1, 5 and 50 are among the cases: a factor 1/5 or 5 is no factor of N."""
    dW = "np.matmul(X.T, grad)"
    text = STYLES["vectorised"]
    assert check_text(text.replace(dW, f"{dW} {factor}")).mistakes[0].startswith("dW-")
    fixed = check_text(text.replace(dW, f"{dW} {factor.replace('len(X)', '5')}"))
    diagnosis = fixed.result("linear_dW").diagnosis
    assert diagnosis is not None
    assert diagnosis.mistake == ""
    value = "0.2" if factor[0] == "/" else "5"
    assert diagnosis.what == (
        f"dW is a multiple of the right one: {value} at N = 5, {value} at N = 1, {value} at "
        f"N = 50, {value} at N = 4."
    )
