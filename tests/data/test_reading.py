"""How a folder is read: declared once, carried by every command, and refused where it says nothing."""

import pytest

import saccade
from saccade.cli.data import CheckOptions
from saccade.comparison.options import CompareOptions
from saccade.data.folder import load_folder
from saccade.data.reading import Reading, class_names
from saccade.options import declared
from saccade.runs.options import EvaluateOptions, TrainOptions
from saccade.tasks import recognise

NAMES = [one.name for one in declared(Reading)]


@pytest.mark.parametrize(
    "kind", [TrainOptions, CompareOptions, EvaluateOptions, CheckOptions], ids=lambda k: k.__name__
)
def test_every_command_takes_the_same_options(kind):
    assert set(NAMES) < {one.name for one in declared(kind)}


def test_only_what_differs_is_written_and_it_reads_back(tmp_path):
    (tmp_path / "names.txt").write_text("b\n\na\n")
    reading = Reading(classes=tmp_path / "names.txt", split="0.3", group=r"(p\d)_", bits=12, ignore=7)
    written = reading.changed()
    assert set(written) == {"classes", "split", "group", "bits", "ignore"}
    assert Reading.from_json(written) == reading
    assert class_names(reading) == ("b", "a")
    assert (reading.fraction, reading.split_file, reading.split_folders) == (0.3, None, None)


def test_three_kinds_of_a_split(tmp_path):
    (tmp_path / "held.txt").write_text("a.png\n")
    assert Reading(split=tmp_path / "held.txt").split_file == tmp_path / "held.txt"
    assert Reading(split="fit:check").split_folders == ("fit", "check")
    assert Reading(split=0.5).fraction == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"split": "1.5"}, "--split 1.5: a fraction must lie between 0 and 1"),
        ({"split": "nowhere"}, "--split nowhere: neither a file, nor a fraction, nor two folders"),
        ({"classes": "nowhere.txt"}, "--classes nowhere.txt: no such file"),
        ({"group": "(a"}, r"--group \(a: not a regular expression"),
        ({"group": "a(b)(c)"}, "expected one group in parentheses; received 2"),
        ({"bits": 17}, "bits must be a whole number from 1 to 16"),
        ({"ignore": -1}, "ignore must be a value of a mask, 0 to 65535, or none"),
        ({"split_seed": -1}, "split_seed must be a whole number from 0"),
        ({"split_seed": 10**20}, "split_seed must be a whole number from 0"),
    ],
    ids=str,
)
def test_a_value_that_says_nothing_is_refused(given, message):
    with pytest.raises(saccade.InputError, match=message):
        Reading(**given)


def test_an_unknown_layout_lists_all(class_folders):
    with pytest.raises(saccade.InputError, match=r"no such layout\s*hint: known: .*cityscapes.*train-val/classes"):
        recognise(class_folders, Reading(layout="folders"))


def test_options_of_another_task_are_refused(class_folders, tmp_path):
    with pytest.raises(saccade.InputError, match="--mask-suffix, --ignore: makes no sense for classification"):
        load_folder(class_folders, tmp_path, size=32, reading=Reading(mask_suffix="_m", ignore=3))
