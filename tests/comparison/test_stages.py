"""A comparison in stages, from its folder: what is run next, what is said, and what is refused."""

import json

import numpy as np
import pytest

import saccade
from saccade import InputError
from saccade.comparison.arms import resolve_arms
from saccade.comparison.experiment import Experiment
from saccade.comparison.judging import Judging, keep_plan
from saccade.comparison.options import CompareOptions
from saccade.comparison.results import Results, read_results
from saccade.comparison.sequential import plan_for
from saccade.comparison.settings import Settings
from saccade.report.table import text
from saccade.tasks.classification.task import Classification
from tests.comparison import folders
from tests.comparison.inline import InlinePool

ARMS = ("none", "se", "eca", "conv3x3", "none")


def experiment(folder, *, sequential=True, seeds=5, names=ARMS):
    arms = resolve_arms(list(names), None, None)
    options = CompareOptions(mechanisms=",".join(names), seeds=seeds, sequential=sequential)
    settings = Settings.decide(options, tuple(arm.label for arm in arms), "cpu")
    return Experiment(folder, settings, arms, 1, 1, 0.1, 0)


def judging(made):
    return Judging(made, Classification(("a", "b"), size=32))


def write_run(made, arm, index, score, predictions="", images=100):
    folder = made.run_folder(made.arms[arm], index)
    folder.mkdir(parents=True)
    right = np.arange(images) < round(score * images)
    (folder / "result.json").write_text(
        json.dumps({"score": float(right.mean()), "train_seconds": 1.0, "predictions": predictions})
    )
    np.savez(folder / "evidence.npz", counts=np.stack([right, np.ones(images)], axis=-1).astype(np.int64)[:, None])


GAINS = (0.0, 0.3, -0.3, 0.01, 0.1)
"""Per arm: the last lies where three seeds are too few, and five enough."""


def fill(made, needed, noise=0.01):
    """Do the runs that are asked for, and return how many there were."""
    random, count = np.random.default_rng(1), 0
    moved = random.choice([-1, 0, 1], size=(len(made.arms), made.settings.seeds)) * noise
    for arm, seeds in enumerate(needed):
        for index in range(seeds):
            if not made.run_folder(made.arms[arm], index).exists():
                write_run(made, arm, index, 0.5 + GAINS[arm] + moved[arm, index] * (4 if arm == 4 else 1))
                count += 1
    return count


@pytest.fixture
def evidence_of_counts(monkeypatch):
    """Runs whose evidence is counts alone, and test images that bring no spread: the scores decide."""
    monkeypatch.setattr("saccade.comparison.judging.bootstrap_se", lambda *_, **__: 0.0)
    monkeypatch.setattr("saccade.comparison.judging.images_in", lambda _: 100)


def test_arms_stop_when_they_are_decided_and_the_control_goes_as_far_as_any(tmp_path, evidence_of_counts):
    made, said, runs = experiment(tmp_path), [], 0
    while not (now := judging(made).standing()).over:
        assert all(np.less_equal(now.needed, now.at_most))
        said.append(now.news)
        runs += fill(made, now.needed)
    assert said[0] == "stage 1 of 4: 2 seeds of every arm"
    assert now.needed[0] == max(now.needed[1:])
    assert now.needed[1:3] == (3, 3)
    assert runs == sum(now.needed) < 25
    found = judging(made).differences()
    assert [one.verdict for one in found[:3]] == ["better", "worse", "can't tell"]
    assert any("se, none-2 better; eca worse; conv3x3 stopped" in line for line in [*said, now.news])
    stopped = [one.reason for one in found if one.verdict == "can't tell"]
    assert "stopped early" in stopped
    for one in found[:2]:
        assert one.p < 0.05
        assert one.interval[0] < one.mean < one.interval[1]


def test_what_is_asked_for_follows_from_the_finished_runs_alone(tmp_path, evidence_of_counts):
    """Stopped and resumed anywhere, the same runs are asked for."""
    made = experiment(tmp_path)
    fill(made, judging(made).standing().needed)
    second = judging(made).standing()
    assert judging(made).standing() == second
    arm = next(number for number, seeds in enumerate(second.needed) if seeds == 3)
    fill(made, [3 if number == arm else 2 for number in range(5)])  # one run of the next stage, and then an end
    assert judging(made).standing() == second


def test_without_stages_every_run_is_needed(tmp_path, evidence_of_counts):
    made = experiment(tmp_path, sequential=False, seeds=3)
    assert judging(made).plan is None
    fill(made, (3, 3, 3, 3, 2))
    now = judging(made).standing()
    assert (now.needed, now.at_most, now.over, now.news) == ((3,) * 5, (3,) * 5, False, "")
    fill(made, (3,) * 5)
    assert judging(made).standing().over


def test_arms_that_predict_the_same_stop_at_two_seeds(tmp_path, evidence_of_counts):
    made = experiment(tmp_path, names=("none", "se", "eca"))
    for index in range(2):
        write_run(made, 0, index, 0.5, predictions=f"same {index}")
        write_run(made, 1, index, 0.5, predictions=f"same {index}")
        write_run(made, 2, index, 0.5, predictions=f"other {index}")
    now = judging(made).standing()
    assert now.needed[1] == now.at_most[1] == 2
    reasons = [one.reason for one in judging(made).differences()]
    assert reasons == ["identical runs", "same score on every seed"]


def test_a_plan_is_kept_and_another_one_refused(tmp_path):
    plan = plan_for(5, 3)
    keep_plan(tmp_path, plan)
    before = (tmp_path / "plan.json").read_bytes()
    keep_plan(tmp_path, plan)
    assert (tmp_path / "plan.json").read_bytes() == before
    with pytest.raises(
        InputError, match=r"plan.json is not the plan .*seeds: 5 there, 8 now.*fixed before the first run"
    ):
        keep_plan(tmp_path, plan_for(8, 3))
    changed = json.loads(before) | {"levels": [0.0, 1.0, 1.0, 1.0]}
    (tmp_path / "plan.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="levels: "):
        keep_plan(tmp_path, plan)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan\.json"):
        keep_plan(tmp_path, plan)
    (tmp_path / "plan.json").unlink()
    (tmp_path / "runs" / "se" / "0").mkdir(parents=True)
    (tmp_path / "runs" / "se" / "0" / "result.json").write_text("{}")
    with pytest.raises(InputError, match="missing: a plan is fixed before the first run"):
        keep_plan(tmp_path, plan)
    keep_plan(tmp_path, None)


TINY = {"steps": 2, "size": 32, "batch": 6, "backbone": "test_resnet", "jobs": 1, "progress": False}


class Stopping(InlinePool):
    """Ctrl-C in the second of the runs."""

    left = 2

    def _send(self, number, job):
        type(self).left -= 1
        if not type(self).left:
            raise KeyboardInterrupt
        super()._send(number, job)


@pytest.mark.full
def test_a_comparison_in_stages_stopped_and_resumed(tmp_path, monkeypatch):
    pictures = folders.classification(tmp_path / "data", count=4)
    given = {"mechanisms": "none,se,none", "seeds": 3, "sequential": True, "out": tmp_path / "out", **TINY}
    monkeypatch.setattr("saccade.comparison.compare.Pool", Stopping)
    with pytest.raises(KeyboardInterrupt):
        saccade.compare(pictures, **given)
    with pytest.raises(InputError, match="seeds: 3 there, 8 now") as refused:
        saccade.compare(pictures, **given | {"seeds": 8})
    assert "fixed before the first run" in refused.value.hint
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    whole = saccade.compare(pictures, **given)
    results = whole.results
    assert results.plan == plan_for(3, 2)
    assert json.loads((whole.folder / "plan.json").read_text())["stages"] == [2, 3]
    assert len(list(whole.folder.glob("runs/*/*/result.json"))) == results.runs
    assert len(results.reference.scores) == len(results.seeds) == max(len(arm.scores) for arm in results.arms)
    assert read_results(whole.folder) == results
    assert f"seeds in stages of 2, 3: {results.runs} of 9 runs" in text(results)
    page = (whole.folder / "report.html").read_text(encoding="utf-8")
    assert "Stages." in page
    assert "added in stages" in page
    assert saccade.compare(pictures, **given).results == results


def test_scores_of_some_seeds_only_need_a_plan():
    from tests.report.fixture import make_results

    content = make_results(np.random.default_rng(0), "segmentation", (0, 1, 2), ("none", "se"))
    content["arms"][1]["scores"].pop()
    with pytest.raises(InputError, match="se has 2 scores, and there are 3 seeds"):
        Results.from_json(content)
    staged = {"seeds": 3, "arms": 1, "stages": [2, 3], "levels": [0.0, 1.0]}
    found = Results.from_json(content | {"plan": staged})
    assert found.runs == 5
    assert "se" in text(found)
    content["arms"][1]["scores"].clear()
    with pytest.raises(InputError, match="se has 0 scores"):
        Results.from_json(content | {"plan": staged})
