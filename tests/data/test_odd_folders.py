"""A sample of the folders that ``benchmarks/odd_folders.py`` draws; the whole is outside CI."""

import warnings

import pytest
from benchmarks.odd_folders import examine

from tests.suites import everyday

PARTS = range(0, 200, 25)


@pytest.mark.parametrize("first", everyday([0], PARTS))
def test_odd_folders_are_read_rightly_or_refused(first):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [(number, tree.story, faults) for number, tree, faults in examine(1, 25, first=first) if faults]
    assert found == []
