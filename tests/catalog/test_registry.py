"""Mechanisms from outside: registered by a program or by a distribution, found wherever saccade takes a name."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from torch import nn

import saccade
from saccade.catalog import CATALOG, Cost, Entry, NaturalPlace, entries, find, imports, parse, registry, unregister
from saccade.errors import InputError, SaccadeWarning
from tests.catalog.code import own_code

__all__ = ["own_code"]


class Depthwise(nn.Conv2d):
    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__(channels, channels, kernel_size, padding="same", groups=channels)


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that one test registers is seen by another."""
    monkeypatch.setattr(registry, "_registered", {})


def test_a_class_is_known_by_its_name_until_it_is_forgotten() -> None:
    saccade.register("depthwise", Depthwise, attends="spatial", aliases=["dw"], place="block")
    assert "depthwise" in saccade.list_mechanisms(attends="spatial")
    assert saccade.list_mechanisms(family="own") == ("depthwise",)
    assert saccade.create("DW", 8, kernel_size=5).kernel_size == (5, 5)
    assert find("depthwise").place == NaturalPlace("block")
    assert str(parse("dw[kernel_size=5]")) == "depthwise[kernel_size=5]"
    assert parse(Depthwise).name == "depthwise"
    with pytest.raises(InputError, match=r"depthwise: unknown option 'kernel'[\s\S]*kernel_size"):
        parse("depthwise[kernel=5]")
    with pytest.raises(InputError, match=r"unknown mechanism 'depthwize'\nhint: did you mean depthwise"):
        find("depthwize")
    unregister("depthwise")
    with pytest.raises(InputError, match="unknown mechanism 'depthwise'"):
        find("depthwise")
    with pytest.raises(InputError, match="no mechanism 'depthwise' was registered"):
        unregister("depthwise")


def test_a_row_is_registered_as_it_is() -> None:
    entry = Entry("wide", "nowhere.blocks:Wide", "gate", "channel", NaturalPlace("inner"), "Wide gate", "a paper",
                  cost=Cost("none", "sigmoid", "C", "0"), options={"width": 3})  # fmt: skip
    assert saccade.register(entry) is entry is find("wide")
    assert parse("wide[width=4]").options == {"width": 4}  # nothing is imported for that
    with pytest.raises(InputError, match="module 'nowhere' does not exist"):
        saccade.create("wide", 8)


@pytest.mark.parametrize("name", ["se", "squeeze_excitation", "depthwise", "dw"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    saccade.register("depthwise", Depthwise, aliases=["dw"])
    with pytest.raises(InputError, match=f"a mechanism called '{name}' exists already"):
        saccade.register(name, Depthwise)


@pytest.mark.parametrize("name", ["none", "Depthwise", "two words", "a:b", "", "3x3"])
def test_a_name_that_could_not_be_written_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be the name|stands for the network without"):
        saccade.register(name, Depthwise)
    assert dict(entries()) == dict(CATALOG)


def test_a_module_is_refused_in_place_of_its_class() -> None:
    with pytest.raises(InputError, match=r"received an instance of it[\s\S]*give the class, Depthwise"):
        saccade.register("depthwise", Depthwise(8))
    with pytest.raises(TypeError, match=r"a class or function that makes one .*received 3"):
        saccade.register("depthwise", 3)  # type: ignore[arg-type]


def test_what_a_maker_gets_wrong_is_said() -> None:
    saccade.register("failing", lambda channels: 1 // 0)
    saccade.register("nothing", lambda channels: None)
    with pytest.raises(InputError, match=r"failing could not be made for 8 channels \(ZeroDivisionError"):
        saccade.create("failing", 8)
    with pytest.raises(InputError, match=r"nothing made a NoneType; expected a torch\.nn\.Module"):
        saccade.create("nothing", 8)


def distribution(folder: Path, name: str, points: str) -> None:
    """Write the files that pip leaves of an installed distribution that brings mechanisms."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[saccade.mechanisms]\n{points}\n")


def test_distributions_bring_mechanisms_and_a_broken_one_is_a_warning(own_code: Path) -> None:
    row = 'from saccade.catalog import Entry, NaturalPlace\nROW = Entry("rowed", "my_package.blocks:Mixer", "own", '
    row += '"spatial", NaturalPlace("block"), "With a row of its own")\n'
    (own_code / "my_package" / "rows.py").write_text(row)
    distribution(own_code, "fine", "mixer = my_package.blocks:Mixer\nrow = my_package.rows:ROW")
    distribution(own_code, "broken", "gone = my_package.nowhere:Gone\nse = my_package.blocks:Mixer")
    registry._plug_ins.cache_clear()
    installed = set(imports._installed)
    try:
        with pytest.warns(SaccadeWarning) as told:
            assert {"mixer", "rowed"} <= set(saccade.list_mechanisms(family="own"))
        said = sorted(str(warning.message) for warning in told)
        assert [line.partition(" is skipped: ")[0] for line in said] == [
            "the mechanism 'gone' of the distribution broken", "the mechanism 'se' of the distribution broken"
        ]  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert saccade.create("mixer", 8, kernel_size=5).conv.kernel_size == (5, 5)
            assert saccade.create("rowed", 8).conv.kernel_size == (3, 3)
            assert find("rowed").place.at == "block"
            assert find("se") is CATALOG["se"]
    finally:
        registry._plug_ins.cache_clear()
        imports._installed.intersection_update(installed)  # the distributions are gone: their code is not trusted now
