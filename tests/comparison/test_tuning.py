"""Equally tuned arms: what is tried, on which images, what follows from it, and how the report says it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmarks.tuning import tables, wrong

import saccade
from saccade import InputError
from saccade.comparison.arms import resolve_arms
from saccade.comparison.backends import ray
from saccade.comparison.experiment import Experiment
from saccade.comparison.inner import held_out, inner
from saccade.comparison.mirror import Mirror
from saccade.comparison.options import CompareOptions
from saccade.comparison.results import Results, read_results
from saccade.comparison.settings import Settings
from saccade.comparison.trials import Trials
from saccade.comparison.tuning import Rates, Trial, best_first, next_trials, proposed, rounds
from saccade.comparison.worker import Worker
from saccade.data import Arrays, Split
from saccade.data.augment import middles
from saccade.data.reading import AS_IT_IS, Reading
from saccade.files import write_json
from saccade.finite import NotFiniteError
from saccade.report.build import build_report
from saccade.report.table import text
from tests.comparison import folders
from tests.comparison.inline import InlinePool
from tests.report.fixture import make_results, write_comparison

UNTUNED = Rates(learning_rate=1e-3)


def done(settings, scores):
    return [Trial(**vars(one), score=score, train_seconds=1.0) for one, score in zip(settings, scores, strict=True)]


@pytest.mark.parametrize("trials", [2, 3, 4, 7, 8, 20])
def test_rounds_cover_every_trial_once(trials):
    numbers = [number for one in rounds(trials) for number in one]
    assert numbers == list(range(trials))
    assert len(rounds(trials)[0]) == (trials + 1) // 2


def test_what_is_proposed_depends_on_the_seed_and_on_earlier_trials_alone():
    first = proposed(UNTUNED, [], 4, 7, gated=True)
    assert first[0] == UNTUNED
    assert first == proposed(UNTUNED, [], 4, 7, gated=True) != proposed(UNTUNED, [], 4, 8, gated=True)
    parts = sorted(int(4.5 * (1 + np.log10(one.learning_rate / 1e-3)) / 3) for one in first[1:])
    assert parts == [0, 1, 2], "one rate in each third of the range"
    control = proposed(UNTUNED, [], 4, 7, gated=False)
    assert [one.learning_rate for one in control] == [one.learning_rate for one in first]
    assert {one.gate_lr_factor for one in control} == {10.0}
    before = done(first, [0.3, 0.5, None, 0.4])
    later = proposed(UNTUNED, before, 2, 7, gated=True)
    assert later == proposed(UNTUNED, before, 2, 7, gated=True)
    assert later != proposed(UNTUNED, done(first, [0.5, 0.1, None, 0.4]), 2, 7, gated=True)
    for one in (*first, *later):
        assert 1e-4 <= one.learning_rate <= 1e-2
        assert 1.0 <= one.gate_lr_factor <= 100.0
    assert {one.gate_lr_factor for one in proposed(UNTUNED, done(control, [0.1] * 4), 2, 7, gated=False)} == {10.0}
    assert len(proposed(UNTUNED, done(first, [None] * 4), 3, 7, gated=True)) == 3, "when all have diverged"


def test_trials_after_a_stop_are_those_that_would_have_followed():
    def ask(trials):
        return next_trials(UNTUNED, trials, 3, gated=lambda: True)

    first = ask([None] * 5)
    assert [number for number, _ in first] == [0, 1, 2]
    trials = [*done([one for _, one in first], [0.1, 0.2, 0.3]), None, None]
    assert ask([trials[0], None, trials[2], None, None]) == first[1:2]
    second = ask(trials)
    assert [number for number, _ in second] == [3]
    trials[3:4] = done([second[0][1]], [0.2])
    assert [number for number, _ in ask(trials)] == [4]
    trials[4:] = done([UNTUNED], [0.1])
    assert ask(trials) == []


def test_the_best_setting_comes_first_and_the_untuned_one_is_the_last_resort():
    settings = [UNTUNED, *(Rates(learning_rate=rate) for rate in (2e-3, 3e-3, 4e-3))]
    found = best_first(UNTUNED, done(settings, [0.5, 0.5, None, 0.9]))
    assert found == [settings[3], UNTUNED, settings[1]]
    assert best_first(UNTUNED, done(settings, [None, 0.1, 0.2, None])) == [settings[2], settings[1], UNTUNED]
    assert best_first(UNTUNED, done(settings, [None] * 4)) == [UNTUNED]


def arrays(count=40, side=20, seen=16, targets=None):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    targets = np.arange(count) % 4 if targets is None else targets
    names = tuple(f"patient{number // 2}/{number}.png" for number in range(count))
    held = Split(images[:6, :seen, :seen], np.zeros(6, dtype=np.int64), tuple(f"held {n}" for n in range(6)))
    return Arrays("made", "classification", tuple("abcd"), Split(images, targets, names), held, note="")


def test_the_inner_split_divides_the_training_images_and_leaves_the_others_alone():
    data = arrays()
    found = inner(data, 5, AS_IT_IS)
    assert {*found.train.names, *found.val.names} == {*data.train.names}
    assert not {*found.train.names} & {*found.val.names}
    assert np.bincount(np.asarray(found.val.targets[:])).tolist() == [2, 2, 2, 2]
    held = held_out(data, 5, AS_IT_IS)
    assert held.tolist() == held_out(data, 5, AS_IT_IS).tolist() != held_out(data, 6, AS_IT_IS).tolist()
    whole = np.moveaxis(data.train.images[held], -1, 1)
    seen = middles(torch.from_numpy(whole), size=16, keys=[(0,)] * len(held))
    assert np.array_equal(np.moveaxis(found.val.images[:], -1, 1), seen.numpy()), "as validation images look"
    assert found.val.images.shape == (8, 16, 16, 3)
    assert found.val.images[3].shape == (16, 16, 3)
    assert found.train.images.shape == (32, 20, 20, 3)
    assert np.array_equal(found.train.images[[1, 0]], data.train.images[found.train.images.rows[[1, 0]]])


def test_groups_of_images_stay_together_in_the_inner_split():
    found = inner(arrays(), 0, Reading(group=r"(patient\d+)/"))
    sides = [{name.partition("/")[0] for name in side.names} for side in (found.train, found.val)]
    assert not sides[0] & sides[1]
    assert len(found.val.names) >= 8


def test_targets_that_are_trees_are_divided_as_the_images_are():
    targets = {"points": np.arange(40.0).reshape(40, 1), "seen": np.arange(40)}
    found = inner(arrays(targets=targets), 0, AS_IT_IS)
    order = [int(name.partition("/")[2][:-4]) for name in found.val.names]
    assert found.val.targets["points"][:].ravel().tolist() == order == found.val.targets["seen"][:].tolist()


def experiment(folder, tune=4, seeds=3, names=("none", "se", "none")):
    arms = resolve_arms(list(names), None, None)
    options = CompareOptions(mechanisms=",".join(names), seeds=seeds, tune=tune)
    settings = Settings.decide(options, tuple(arm.label for arm in arms), "cpu")
    return Experiment(folder, settings, arms, 1, 1, 1e-3, 0)


def trials_of(made):
    found = Trials(made, arrays())
    found.gated = [False, True, False]
    return found


def write_trial(made, job, score):
    folder = made.job_folder(job)
    folder.mkdir(parents=True)
    content = {name: job[name] for name in ("learning_rate", "gate_lr_factor")}
    (folder / "result.json").write_text(json.dumps(content | {"score": score, "train_seconds": 1.0}))


def test_every_arm_gets_the_same_number_of_trials_and_the_best_setting(tmp_path):
    """The score of a trial is a function of its setting; runs are stopped after every few trials."""
    made, asked = experiment(tmp_path), []
    while jobs := trials_of(made).next_jobs():
        for job in jobs[:5]:  # and a stop
            write_trial(made, job, -abs(np.log(job["learning_rate"] / 2e-3)))
            asked.append(job)
    assert len(asked) == 3 * 3 * 4 == len({(one["arm"], one["index"], one["number"]) for one in asked})
    straight = experiment(tmp_path / "straight")
    while jobs := trials_of(straight).next_jobs():
        for job in jobs:
            write_trial(straight, job, -abs(np.log(job["learning_rate"] / 2e-3)))
            assert job in asked, "the same trials without a stop"
    assert {one["gate_lr_factor"] for one in asked if one["arm"] != 1} == {10.0}
    first = {arm: [one["learning_rate"] for one in asked if (one["arm"], one["index"]) == (arm, 0)] for arm in (0, 1)}
    assert first[0][:2] == first[1][:2]
    chosen = trials_of(made).tuned_jobs()
    for job in chosen:
        rates = [one["learning_rate"] for one in asked if (one["arm"], one["index"]) == (job["arm"], job["index"])]
        assert job["settings"][0]["learning_rate"] == min(rates, key=lambda rate: abs(np.log(rate / 2e-3))) != 1e-3
        assert made.job_folder(job) == tmp_path / "tuned" / made.arms[job["arm"]].folder / str(job["index"])
    assert trials_of(made).steps_left == 9


@pytest.mark.parametrize("job", ["trial", "tuned", "run"])
def test_a_node_without_shared_storage_brings_back_what_a_job_made(tmp_path, monkeypatch, job):
    pytest.importorskip("fsspec")
    made = experiment(tmp_path / "here")
    made.save(SimpleNamespace(identity=None, split=()))
    others = made.trial_folder(made.arms[0], 1, 0), made.tuned.run_folder(made.arms[0], 1)
    for folder in others:
        write_json(folder / "result.json", {})
    mirror = Mirror(f"file://{tmp_path}/there", tmp_path / "here")
    mirror.push()
    monkeypatch.setattr(ray, "_scratch", lambda session: tmp_path / session)
    job = {"job": job, "arm": 1, "index": 0} | ({"number": 2} if job == "trial" else {})
    with ray._working({"address": mirror.address, "session": "node", "job": job}) as folder:
        on_node = Experiment.load(folder)
        write_json(on_node.job_folder(job) / "result.json", {"score": 1})
        assert sorted(folder.rglob("result.json")) == [on_node.job_folder(job) / "result.json"], "and no others"
    mirror.pull()
    assert json.loads((made.job_folder(job) / "result.json").read_text()) == {"score": 1}


def test_a_run_whose_best_setting_is_the_untuned_one_is_not_done_again(tmp_path):
    made = experiment(tmp_path, tune=2, seeds=1)
    while jobs := trials_of(made).next_jobs():
        for job in jobs:
            write_trial(made, job, 1.0 if job["number"] == 0 else 0.5)
    for arm in made.arms:
        made.run_folder(arm, 0).mkdir(parents=True)
        for name in ("evidence.npz", "config.json"):
            (made.run_folder(arm, 0) / name).write_text("{}")
        (made.run_folder(arm, 0) / "result.json").write_text('{"score": 0.25, "train_seconds": 1.0}')
    assert trials_of(made).tuned_jobs() == []
    assert trials_of(made).steps_left == 0
    copied = made.tuned.run_folder(made.arms[1], 0)
    assert sorted(path.name for path in copied.iterdir()) == ["config.json", "evidence.npz", "result.json"]
    (copied / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"result\.json"):
        trials_of(made).tuned_jobs()


def test_a_trial_that_diverges_loses_and_a_setting_that_diverges_later_gives_way_to_the_next(tmp_path, monkeypatch):
    worker = object.__new__(Worker)
    worker.experiment, worker.device, worker._data, told = experiment(tmp_path), "cpu", arrays(), []

    def fails(net, source, recipe, folder, name, index):
        told.append((recipe.learning_rate, recipe.gate_lr_factor, recipe.evaluate_every, name, folder))
        if recipe.learning_rate > 1e-3:
            raise NotFiniteError("the loss is nan")
        return 2.0

    monkeypatch.setattr(Experiment, "network", lambda *_: None)
    monkeypatch.setattr(Experiment, "source", lambda *_: None)
    monkeypatch.setattr(Worker, "_train", staticmethod(fails))
    monkeypatch.setattr(Worker, "_collect", lambda *_: {"right": 1})
    monkeypatch.setattr("saccade.tasks.classification.task.Classification.score", lambda *_: 0.75)
    monkeypatch.setattr(Worker, "score", lambda self, net, folder, seconds: (folder / "result.json").write_text("{}"))
    for number, rate in enumerate((2e-3, 5e-4)):
        worker.do_trial(1, 0, number, rate, 20.0)
    first, second = trials_of(worker.experiment).trials(1, 0)[:2]
    assert (first.score, second.score, second.train_seconds) == (None, 0.75, 2.0)
    assert (second.setting, told[1][2]) == (Rates(learning_rate=5e-4, gate_lr_factor=20.0), 0)
    settings = [{"learning_rate": rate, "gate_lr_factor": 30.0} for rate in (4e-3, 2e-3, 5e-4)]
    worker.do_tuned(1, 0, settings)
    assert [one[0] for one in told[2:]] == [4e-3, 2e-3, 5e-4]
    config = json.loads((tmp_path / "tuned" / "se" / "0" / "config.json").read_text())
    assert (config["arm"], config["learning_rate"], config["gate_lr_factor"]) == ("se", 5e-4, 30.0)
    with pytest.raises(NotFiniteError):
        worker.do_tuned(1, 1, settings[:2])


def test_equal_arms_stay_silent_with_trials_in_the_loop():
    """A sample of ``python -m benchmarks.tuning``, whose 200 tables of each kind are in docs/comparison.md."""
    found = tables(12, 1, 3, 2, 5.0, np.random.default_rng(1))
    assert found.shape == (12, 2, 3)
    assert wrong(found) <= 2 / 12
    lifted = found + np.array([0.0, 30.0])[None, :, None]
    assert wrong(lifted) == 1.0, "and they are not deaf"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tune": 3, "sequential": True}, "tune and sequential: stages are planned for one table"),
        ({"tune": 3, "learning_rate": 0.0}, "a learning rate of 0 has no neighbours"),
        ({"tune": 1}, "tune"),
    ],
)
def test_what_cannot_be_tuned_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        Settings.decide(CompareOptions(**given), ("none", "se"), "cpu")


@pytest.mark.parametrize("images", [3, 10])
def test_too_few_training_images_to_divide_again_are_refused(tmp_path, images):
    made = replace(experiment(tmp_path), batch=9)
    with pytest.raises(InputError, match=f"tune: of {images} training images"):
        Trials(made, arrays(images, targets=np.arange(images))).refuse_too_few()
    Trials(made, arrays(40)).refuse_too_few()


def tuned_of(scores, difference=None, trials=3):
    settings = [{"learning_rate": 1e-3 * (1 + number), "gate_lr_factor": 10.0 + number} for number in range(trials)]
    tried = [one | {"score": 0.5 + 0.1 * n, "train_seconds": 1.0} for n, one in enumerate(settings)]
    tried[-1]["score"] = None
    return {
        "settings": [settings[1]] * len(scores), "trials": [tried] * len(scores), "scores": list(scores),
        "mean": float(np.mean(scores)), "interval": [0.1, 0.9], "difference": difference,
    }  # fmt: skip


def test_the_report_shows_settings_sensitivity_and_both_verdicts(tmp_path):
    content = make_results(np.random.default_rng(0), "classification", (0, 1, 2), ("none", "se"))
    better = {"mean": 0.2, "interval": [0.1, 0.3], "p": 0.001, "verdict": "better", "reason": None}
    content["arms"][1]["difference"] = better | {"mean": 0.0, "interval": [-0.1, 0.1], "verdict": "can't tell"}
    content["arms"][0]["tuned"], content["arms"][1]["tuned"] = tuned_of((0.4,) * 3), tuned_of((0.6,) * 3, better)
    results = Results.from_json(content)
    assert Results.from_json(results.to_json()) == results
    said = text(results)
    assert "With settings tuned alike for every arm (3 trials before each run): se\u00a0(+0.200) helped." in said
    assert "0.002" in next(line for line in said.splitlines() if line.startswith("se") and "11" in line)
    write_comparison(tmp_path, task="classification", seeds=(0, 1, 2), arms=("none", "se"))
    (tmp_path / "results.json").write_text(json.dumps(content))
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "Every arm tuned" in page
    assert "(3 trials before each run)" in page
    assert "Before each run of every arm, the control included, 3 trials" in page
    assert "of the trials over the learning rate" in page
    plain = write_comparison(tmp_path / "plain", task="classification")
    assert "Every arm tuned" not in build_report(plain).read_text(encoding="utf-8")
    del content["arms"][0]["tuned"]
    with pytest.raises(InputError, match="se and none: only one of them is tuned"):
        Results.from_json(content)
    content["arms"][0]["tuned"] = tuned_of((0.4,) * 2)
    with pytest.raises(InputError, match="none is tuned for another number of seeds than 3"):
        Results.from_json(content)


class Stopping(InlinePool):
    """Ctrl-C in the second trial, and again in the first tuned run."""

    left = {"trial": 2, "tuned": 1}

    def _send(self, number, job):
        if job["job"] in self.left:
            self.left[job["job"]] -= 1
            if not self.left[job["job"]]:
                raise KeyboardInterrupt
        super()._send(number, job)


@pytest.mark.full
def test_a_tuned_comparison_stopped_and_resumed_gives_the_numbers_of_one_that_was_not(tmp_path, monkeypatch):
    pictures = folders.classification(tmp_path / "data", count=6)
    given = {
        "mechanisms": "none,se", "seeds": 1, "tune": 3, "steps": 3, "size": 32, "batch": 6, "backbone": "test_resnet",
        "jobs": 1, "progress": False,
    }  # fmt: skip
    planned = saccade.compare(pictures, **given, dry_run=True)
    assert (planned.trials, planned.runs) == (6, 4)
    assert "6 trials and 4 runs of 3 steps" in planned.table()
    monkeypatch.setattr("saccade.comparison.compare.Pool", Stopping)
    # Scores of so few images tie, and the untuned setting wins; the number of the trial breaks the tie otherwise here.
    monkeypatch.setattr(
        "saccade.comparison.trials.best_first",
        lambda untuned, trials: [*(one.setting for one in reversed(trials)), untuned],
    )
    for finished in (1, 6):
        with pytest.raises(KeyboardInterrupt):
            saccade.compare(pictures, **given, out=tmp_path / "out")
        assert len(list(tmp_path.glob("out/trials/*/*/*/result.json"))) == finished
    stopped = saccade.compare(pictures, **given, out=tmp_path / "out")
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    whole = saccade.compare(pictures, **given, out=tmp_path / "whole")
    for one, other in zip(stopped.results.arms, whole.results.arms, strict=True):
        assert one.tuned.scores == other.tuned.scores
        assert one.tuned.settings == other.tuned.settings
        assert [[t.score for t in trials] for trials in one.tuned.trials] == [
            [t.score for t in trials] for trials in other.tuned.trials
        ]
    assert not list(whole.folder.glob("trials/**/*.safetensors"))
    assert len(list(whole.folder.glob("tuned/*/*/model.safetensors"))) == 2
    assert read_results(whole.folder) == whole.results
    with pytest.raises(InputError, match="tune: 3 there, 4 now"):
        saccade.compare(pictures, **given | {"tune": 4}, out=tmp_path / "whole")
