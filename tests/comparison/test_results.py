"""Results are read as they were written, and what cannot be read is refused with what to do."""

import json
from dataclasses import replace

import pytest

from saccade.comparison.collect import RunResult, grouped
from saccade.comparison.results import Grouping, Results, read_results, write_results
from saccade.errors import InputError
from saccade.tasks.evidence import Group
from tests.report.fixture import write_comparison


@pytest.fixture
def folder(tmp_path):
    return write_comparison(tmp_path, seeds=(0, 1, 2), pictures=False, logs=False)


def changed(folder, change):
    content = json.loads((folder / "results.json").read_text())
    change(content)
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def test_what_is_written_is_read(folder):
    before = json.loads((folder / "results.json").read_text())
    results = read_results(folder)
    write_results(folder, results)
    assert json.loads((folder / "results.json").read_text()) == before
    assert read_results(folder) == results == Results.from_json(results.to_json())


def test_another_schema_is_refused_with_the_way_out(folder):
    with pytest.raises(InputError, match=r"results\.json has schema 1; .* reads 2\nhint: .*is damaged: move it"):
        read_results(changed(folder, lambda content: content.update(schema=1)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("steps"), r"results\.json: steps: expected a value; received nothing"),
        (
            lambda content: content["arms"][1].update(mean="much"),
            r"arms\[1\]\.mean: expected a number; received 'much'",
        ),
        (lambda content: content["arms"][1]["difference"].update(verdict="good"), r"verdict: expected one of 'better'"),
        (lambda content: content.update(buckets=None), r"buckets: expected no such key"),
        (lambda content: content.update(arms=[]), r"arms: expected at least one"),
        (lambda content: content.update(seeds=[]), r"seeds: expected at least one"),
        (lambda content: content.update(macs_input=[3, 8]), r"macs_input: expected the shape \(N, C, H, W\)"),
        (lambda content: content["arms"][1]["scores"].pop(), r"arms: \w+ has 2 scores, and there are 3 seeds"),
    ],
)
def test_a_damaged_file_is_refused_at_its_place(folder, change, said):
    with pytest.raises(InputError, match=said + r"[\s\S]*\nhint: the file was changed or is damaged"):
        read_results(changed(folder, change))


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no results\.json in .*\nhint: give the folder of a comparison"):
        read_results(tmp_path)


def test_the_reference_is_the_first_arm_without_mechanism_and_difference(folder):
    results = read_results(folder)
    assert results.reference.name == "none"
    assert replace(results, arms=results.arms[:0:-1] + results.arms[:1]).reference.name == "none"


def test_details_are_means_over_the_runs_that_have_the_part():
    runs = [
        RunResult(score, 1.0, {"age": Group({"young": young, "old": 0.25, "none": None}, (40.0,))})
        for score, young in ((0.1, 0.5), (0.2, None))
    ]
    found, details = grouped(runs)
    assert found == {"age": Grouping(names=("young", "old", "none"), limits=(40.0,))}
    assert details == {"age": {"young": 0.5, "old": 0.25, "none": None}}
    assert grouped([RunResult(0.5, 1.0)]) == ({}, {})
