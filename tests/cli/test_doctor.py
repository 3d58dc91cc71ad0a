"""``saccade doctor`` tells what works from what is missing and what is broken."""

import importlib.util
import json
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
import torchvision

from saccade import installation
from saccade.cli import main
from saccade.distribution import DISTRIBUTION
from saccade.installation import Check, Requirement


def run(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main(["doctor", *words])
    return left.value.code, capsys.readouterr().out


def with_modules(monkeypatch, **modules):
    """Importing one of `modules` gives that object, or raises it."""
    real = importlib.import_module

    def import_module(name):
        found = modules.get(name) or real(name)
        if isinstance(found, BaseException):
            raise found
        return found

    monkeypatch.setattr(installation.importlib, "import_module", import_module)


def test_this_installation_passes(capsys, monkeypatch):
    monkeypatch.setattr(installation, "_EXTRAS", ())  # importing all their packages takes long
    status, out = run(capsys, "--json")
    found = json.loads(out)
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert (status, found["ok"]) == (0, True)
    assert states["Python"] == states["core"] == states["torch and torchvision"] == "ok"
    assert all(check["repair"] for check in found["checks"] if check["state"] != "ok")


@pytest.mark.parametrize(
    ("states", "status"), [(["ok", "ok"], 0), (["ok", "missing"], 0), (["broken", "ok"], 1)], ids=str
)
def test_only_what_is_broken_fails(capsys, monkeypatch, states, status):
    checks = [Check(f"thing {i}", state, "found [so]", f"mend {i}") for i, state in enumerate(states)]
    monkeypatch.setattr(installation, "check_installation", lambda: checks)
    code, out = run(capsys)
    assert code == status
    assert all(f"{check.state}" in out and check.found in out and f"repair: {check.repair}" in out for check in checks)
    assert json.loads(run(capsys, "--json")[1])["ok"] == (status == 0)


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), "broken", "do not fit: RuntimeError: operator"),
        (ModuleNotFoundError("No module", name="torchvision"), "missing", "torchvision is not installed"),
        (OSError("libcudart.so: cannot open"), "broken", "libcudart.so"),
        (SimpleNamespace(ops=SimpleNamespace(nms=lambda *_: torch.tensor([1, 0]))), "broken", "kept the boxes [1, 0]"),
        (torchvision, "ok", f"{torch.__version__} and {torchvision.__version__}"),
    ],
    ids=["other build", "not there", "library lost", "wrong answer", "this one"],
)  # fmt: skip
def test_the_pair_is_judged_by_calling_nms(monkeypatch, found, state, said):
    with_modules(monkeypatch, torchvision=found)
    check = installation._torchvision()
    assert check.state == state
    assert said in check.found
    assert bool(check.repair) == (state != "ok")


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (Requirement("numpy", "1.26"), ("ok", f"numpy {metadata.version('numpy')}")),
        (Requirement("numpy", "999.1"), ("broken", f"numpy {metadata.version('numpy')} is older than 999.1")),
        (Requirement("no-such-package", "1"), ("missing", "no-such-package")),
    ],
)
def test_a_package_is_there_and_new_enough(requirement, expected):
    assert requirement.state() == expected


def test_every_package_is_imported_by_the_name_it_has():
    needed = [
        requirement for extra in (None, *installation._EXTRAS) for requirement in installation._requirements(extra)
    ]
    modules = {requirement.package: requirement.module for requirement in needed}
    assert modules["segmentation-models-pytorch"] == "segmentation_models_pytorch"
    assert modules["pillow"] == "PIL"
    installed = {package.lower() for packages in metadata.packages_distributions().values() for package in packages}
    found = {package: importlib.util.find_spec(name) for package, name in modules.items() if package in installed}
    assert len(found) > 10
    assert [package for package, spec in found.items() if spec is None] == []


def test_a_package_that_does_not_load_is_broken(monkeypatch):
    with_modules(monkeypatch, numpy=ValueError("built for another ABI"))
    state, said = Requirement("numpy", "1.26").state()
    assert state == "broken"
    assert "ValueError: built for another ABI" in said


def test_the_core_may_not_miss_a_package():
    missing = [Requirement("no-such-package", "1")]
    assert installation._packages("core", missing, "mend").state == "broken"
    assert installation._packages("extra demo", missing, "mend") == Check(
        "extra demo", "missing", "no-such-package", "mend"
    )


def test_requirements_are_those_of_pyproject(monkeypatch):
    lines = [
        "numpy>=1.26",
        f"{DISTRIBUTION}[train]; extra == 'demo'",
        "scikit-image>=0.25; extra == 'demo'",
        "timm>=1.0.20; extra == 'train'",
    ]
    monkeypatch.setattr(installation, "requirements", lambda: lines)
    assert installation._requirements(None) == [Requirement("numpy", "1.26")]
    assert installation._requirements("demo") == [Requirement("scikit-image", "0.25")]


@pytest.mark.parametrize(
    ("older", "newer"), [("1.9", "1.10"), ("1.0.3", "1.0.20"), ("2.13.0+cpu", "2.14"), ("0.29", "0.29.2")]
)
def test_versions_are_compared_as_numbers(older, newer):
    assert installation._numbers(older) < installation._numbers(newer)


def test_a_full_disk_is_broken(monkeypatch):
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**29))
    check = installation._disk()
    assert (check.state, check.found) == ("broken", "0.5 GiB free in this folder")


def test_the_chosen_compiler_is_looked_for(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert installation._compiler().state == "missing"
