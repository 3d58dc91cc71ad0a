"""The reference lists every object a user may touch, and docstrings lead to its entries."""

import importlib.util
import inspect
from types import ModuleType

import pytest
from website.reference import MODULES, meaning, reference, resolve
from website.reference_pages import write_reference

import saccade
from saccade import catalog


@pytest.fixture(scope="module")
def listed():
    return {name for names in reference().names.values() for name in names}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The text of every page of the reference, and of the commands."""
    folder = tmp_path_factory.mktemp("site")
    write_reference(folder, "zh")
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", saccade.__all__)
def test_what_saccade_offers(listed, written, name):
    assert f"saccade.{name}" in listed
    assert f":: saccade.{name}\n" in written["reference/saccade.rst"]


@pytest.mark.parametrize("name", [*catalog.list_mechanisms(), *catalog.list_mechanisms(family="control")])
def test_every_mechanism(listed, written, name):
    mechanism = catalog.find(name).load()
    path = f"{mechanism.__module__}.{mechanism.__qualname__}"
    assert path in listed
    assert f".. autoclass:: {path}\n" in written[f"reference/mechanisms/{name}.rst"]


@pytest.mark.parametrize("name", [*filter(importlib.util.find_spec, MODULES)])
def test_every_public_module(written, name):
    assert f".. automodule:: {name}\n" in written[f"reference/{name}.rst"]


RESULTS = "Comparison Forecast Training Evaluation Predictions Masks Records Plan LoadReport"


@pytest.mark.parametrize("name", RESULTS.split())
def test_results_are_found_by_what_returns_them(listed, name):
    assert [path for path in listed if path.endswith(f".{name}")]


def test_each_object_has_one_entry(listed):
    assert len(listed) == sum(map(len, reference().names.values())) == len(reference().known)
    assert not [name for name in listed if isinstance(name, ModuleType)]


def test_a_class_that_only_types_name_is_found():
    # saccade/__init__.py imports `insert` for type checkers alone; annotations are strings.
    class Returned:
        def method(self) -> "saccade.insertion.Plan": ...

    from website.reference import _led_to

    assert saccade.insertion.Plan in list(_led_to(Returned))
    assert not inspect.isclass(saccade.insert)


@pytest.mark.parametrize(
    ("target", "module", "inside", "entry"),
    [
        ("saccade.insert", None, None, "saccade.insert"),
        ("saccade.insertion.insert", None, None, "saccade.insert"),
        ("insert", "saccade", None, "saccade.insert"),
        ("Plan", "saccade.insertion", None, "saccade.insertion.Plan"),
        ("query_dependence", "saccade.inspection", "Record", "saccade.inspection.Record.query_dependence"),
        ("saccade.inspection.Record.query_dependence", None, None, "saccade.inspection.Record.query_dependence"),
        ("Tensor", "saccade.mechanisms.cbam", None, None),
        ("no_such_name", "saccade.insertion", None, None),
    ],
)
def test_names_in_docstrings(target, module, inside, entry):
    assert resolve(target, module, inside) == entry


def test_a_name_that_means_nothing_is_told_from_one_of_another_package():
    assert meaning("Tensor", "saccade.mechanisms.cbam")
    assert not meaning("no_such_name", "saccade.insertion")


def test_every_command_has_its_help(written):
    commands = {path.removeprefix("commands/").removesuffix(".md") for path in written if path.startswith("commands/")}
    assert commands >= {"index", "compare", "train", "evaluate", "predict", "look", "list", "plan", "report", "doctor"}
    assert written["commands/compare.md"].startswith("# saccade compare\n\n```console\nsaccade compare ")
    assert "`--mechanisms" in written["commands/compare.md"]
    assert "## saccade data check\n" in written["commands/data.md"]
    assert "(compare.md)" in written["commands/index.md"]
