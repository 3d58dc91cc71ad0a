"""Arms are named by what was given; mistakes are refused with the near names."""

import pytest

from saccade.comparison.arms import resolve_arms
from saccade.errors import SaccadeWarning


def test_names_options_and_folders():
    arms = resolve_arms("none,cbam[spatial=False],se[reduction=8],se[reduction=8]", None, None)
    assert [arm.name for arm in arms] == ["none", "cbam[spatial=False]", "se[reduction=8]", "se[reduction=8]-2"]
    assert arms[1].options == {"spatial": False}
    assert [arm.seed_offset for arm in arms] == [0, 0, 0, 1000]
    assert len({arm.folder for arm in arms}) == 4


def test_dicts_and_strings_name_the_same_arm():
    given = ["none", {"name": "cbam", "pools": ("avg", "max"), "reduction": 4}]
    assert resolve_arms(given, None, "stage")[1] == resolve_arms("cbam[pools=(avg,max),reduction=4]", None, "stage")[1]
    assert resolve_arms([{"name": "none"}, "se"], None, None) == resolve_arms("none,se", None, None)


def test_an_arm_keeps_the_name_it_was_given():
    arms = resolve_arms("None, gc[ratio=1/4], polarized, psa", None, None)
    assert [arm.name for arm in arms] == ["none", "gc[ratio=1/4]", "polarized", "psa"]
    assert arms[1].options == {"ratio": 0.25}
    assert [arm.seed_offset for arm in arms] == [0, 0, 0, 1000]  # one mechanism twice, whatever it is called


def test_the_control_is_added_and_comes_first():
    assert [arm.name for arm in resolve_arms("se,none", None, None)] == ["none", "se"]
    assert [arm.name for arm in resolve_arms(["se", "eca"], None, None)] == ["none", "se", "eca"]


def test_a_name_given_twice_runs_on_seeds_of_its_own():
    first, second = resolve_arms("none,none", None, None)
    assert (first.name, second.name) == ("none", "none-2")
    assert second.mechanism is None
    assert first.seed_offset != second.seed_offset


@pytest.mark.parametrize(
    ("mechanisms", "preset", "message"),
    [
        ("none,see", None, r"unknown mechanism 'see'[\s\S]*\bse\b"),
        ("none,se[reductoin=8]", None, r"se: unknown option 'reductoin'[\s\S]*reduction"),
        ("none,se[reduction=8", None, r"not closed"),
        ("none,se[8]", None, r"'8' is not an option"),
        ("none", None, r"nothing to compare"),
        ("", None, r"no mechanisms were given"),
        (None, "gate", r"unknown preset 'gate'[\s\S]*gates"),
        ("se", "gates", r"either mechanisms or a preset"),
    ],
)
def test_mistakes_are_named(mechanisms, preset, message):
    with pytest.raises(ValueError, match=message):
        resolve_arms(mechanisms, preset, None)


def test_a_preset_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("saccade.catalog").catalog.PRESETS, "gates", ("se", "not_written_yet"))
    with pytest.warns(SaccadeWarning, match="'gates' runs without not_written_yet"):
        arms = resolve_arms(None, "gates", None)
    assert [arm.name for arm in arms] == ["none", "se"]
