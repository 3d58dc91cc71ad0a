"""What a design finds is what simulation finds, and designs are looked up the right way round."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from saccade import InputError
from saccade.comparison.detecting import Asked, Deviations, designs_for, detectable, detected, of_pilot
from saccade.comparison.forecast import ArmForecast, Forecast
from saccade.comparison.options import CompareOptions
from saccade.comparison.statistics import judge
from tests.comparison.test_stages import evidence_of_counts, experiment, fill, judging

__all__ = ["evidence_of_counts"]


@pytest.mark.parametrize(("arms", "seeds"), [(1, 4), (3, 5), (8, 3), (2, 12)])
@pytest.mark.parametrize("image", [0.0, 0.15])
def test_a_difference_is_found_with_the_probability_that_is_said(arms, seeds, image):
    """20,000 tables in which one arm differs by just as much."""
    random, images, count = np.random.default_rng(arms + seeds), 500, 20_000
    deviations = Deviations(seed=0.006, image=image, source="")
    least = detectable(deviations, arms, seeds, images)
    tables = 0.006 * random.standard_normal((count, arms + 1, seeds)) + 0.01 * random.standard_normal((count, 1, seeds))
    tables[:, 1] += least
    tables[:, 1:] += image / np.sqrt(images) * random.standard_normal((count, arms, 1))
    found = judge(tables, image / np.sqrt(images))
    assert (found.claim[:, 0] & (found.mean[:, 0] > 0)).mean() == pytest.approx(0.9, abs=0.02)


def test_an_interval_says_the_same_as_the_design_behind_it():
    deviations = Deviations(seed=0.006, image=0.0, source="")
    se = np.sqrt(2 * 0.006**2 / 5)
    assert detected(stats.t.ppf(1 - 0.025 / 3, 12) * se, 3, 5) == pytest.approx(detectable(deviations, 3, 5, 500))


def test_designs_find_the_difference_and_one_seed_less_does_not():
    deviations = Deviations(seed=0.01, image=0.2, source="")
    found = designs_for(0.02, deviations, arms=3, images=500, seconds=60)
    assert found.designs[0].images == 500
    assert found.designs[0].seeds is None  # 500 images alone leave more than that
    assert [one.images for one in found.designs] == sorted({one.images for one in found.designs})
    for one in found.designs[1:]:
        assert detectable(deviations, 3, one.seeds, one.images) <= 0.02
        assert one.seeds == 3 or detectable(deviations, 3, one.seeds - 1, one.images) > 0.02
        assert (one.runs, one.seconds) == (4 * one.seeds, 60 * one.seeds)
    text = str(
        Forecast(note="a folder", arms=(ArmForecast(name="se", place=(), params=1, macs=1),), runs=4, steps=1, batch=1,
                 jobs=1, seconds=1.0, designs=found)
    )  # fmt: skip
    assert "to find a difference of 0.02 with 90%" in text
    assert "500 held-out images: no number of seeds" in text
    assert f"{found.designs[1].seeds} seeds, {found.designs[1].runs} runs" in text


def test_a_pilot_of_finished_runs_gives_the_deviations(tmp_path, evidence_of_counts):
    made = experiment(tmp_path, sequential=False, seeds=4)
    with pytest.raises(InputError, match=r"needs 2 finished seeds of every arm; .* has 0"):
        of_pilot(made, judging(made).task)
    fill(made, (4,) * 5)
    found = of_pilot(made, judging(made).task)
    assert 0.005 < found.seed < 0.05
    assert found.image == 0  # as the fixture has it
    assert "4 seeds of 5 arms" in found.source


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"detect": 0.01}, "detect plans a comparison"),
        ({"seed_deviation": 0.01}, "what detect computes with"),
        ({"detect": 0.01, "dry_run": True, "image_deviation": 0.1}, "give both, or neither"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        Asked.by(CompareOptions(**given), tmp_path)


def test_without_runs_nor_deviations_there_is_no_design(tmp_path):
    asked = Asked.by(CompareOptions(detect=0.01, dry_run=True), tmp_path)
    with pytest.raises(InputError, match=r"there is no comparison in .* to learn deviations from"):
        asked.answer(None, 4, 500, 1.0)
    asked = Asked.by(CompareOptions(detect=0.05, dry_run=True, seed_deviation=0.01, image_deviation=0.1), tmp_path)
    assert asked.answer(None, 4, 500, 1.0).designs[0].seeds >= 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"seeds": 8, "mechanisms": "none,se"}, ""),
        ({"size": 128}, "size: 96 there, 128 now"),
        ({"at": "stage:-1", "scenes": 4}, "at: None there, 'stage:-1' now; scenes: 0 there, 4 now"),
        ({"steps": 2, "learning_rate": 0.2, "batch": 3}, "steps: 1 there, 2 now; batch: 1 there, 3 now; learning_rate"),
    ],
)
def test_a_pilot_with_other_settings_is_said(tmp_path, evidence_of_counts, changes, said):
    made = experiment(tmp_path, sequential=False, seeds=2)
    fill(made, (2,) * 5)
    made.save(SimpleNamespace(identity=None, split=()))
    decided = {name: changes.pop(name) for name in ("steps", "learning_rate", "batch") if name in changes}
    asked = {name: value for name, value in changes.items() if name != "mechanisms"}
    planned = replace(made, settings=replace(made.settings, **asked), **decided)
    asked = Asked.by(CompareOptions(detect=0.05, dry_run=True), tmp_path)
    source = asked.answer(judging(made).task, 4, 500, 1.0, planned).deviations.source
    assert source.startswith("2 seeds of 5 arms")
    assert f"whose settings are others: {said}" in source if said else "others" not in source
