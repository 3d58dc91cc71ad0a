"""The distribution has one name, and the command that installs it leads to where it came from."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from saccade import distribution, installation
from saccade.distribution import DISTRIBUTION, install_command, requirements
from saccade.version import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def recorded(monkeypatch, record):
    """The installer recorded this about its source; None if it was a package index."""
    found = SimpleNamespace(read_text=lambda name: None if record is None else json.dumps(record))
    monkeypatch.setattr(distribution.metadata, "distribution", lambda name: found)


def not_installed(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(distribution.metadata, "distribution", missing)
    monkeypatch.setattr(distribution.metadata, "requires", missing)


def test_pyproject_has_the_name():
    assert PROJECT["name"] == DISTRIBUTION
    own = [line for extra in PROJECT["optional-dependencies"].values() for line in extra if line.startswith("saccade")]
    assert own
    assert all(line.startswith(f"{DISTRIBUTION}[") for line in own)


def test_an_editable_copy_names_its_clone(monkeypatch, tmp_path):
    folder = tmp_path / "a clone"
    folder.mkdir()
    recorded(monkeypatch, {"url": folder.as_uri(), "dir_info": {"editable": True}})
    assert install_command("train") == f"pip install -e '{folder}[train]'"
    assert install_command(upgrade=True) == f"pip install --upgrade -e '{folder}'"
    folder.rmdir()
    assert install_command("train") == "pip install -e '.[train]'"


def test_a_wheel_is_named_by_its_file(monkeypatch, tmp_path):
    wheel = tmp_path / "saccade_attention-0.2.0-py3-none-any.whl"
    wheel.touch()
    recorded(monkeypatch, {"url": wheel.as_uri(), "archive_info": {"hash": "sha256=0"}})
    assert install_command("demo") == f"pip install '{wheel}[demo]'"
    wheel.unlink()
    assert install_command("demo") == f"pip install '{wheel.name}[demo]'"


@pytest.mark.parametrize(
    ("record", "target"),
    [
        ({"url": "file:///no/such/folder", "dir_info": {}}, "'.[train]'"),
        ({"url": "https://host/a.whl", "archive_info": {}}, "'saccade-attention[train] @ https://host/a.whl'"),
        (
            {"url": "https://host/it.git", "vcs_info": {"vcs": "git", "commit_id": "0"}},
            "'saccade-attention[train] @ git+https://host/it.git'",
        ),
        (None, "'saccade-attention[train]'"),
    ],
    ids=["folder", "address of a wheel", "repository", "index"],
)
def test_other_sources(monkeypatch, record, target):
    recorded(monkeypatch, record)
    assert install_command("train") == f"pip install {target}"


def test_a_source_on_the_path_names_its_clone_and_is_missing_to_the_doctor(monkeypatch):
    not_installed(monkeypatch)
    assert requirements() == []
    assert install_command("train") == f"pip install -e '{ROOT}[train]'"
    check = installation._saccade()
    assert (check.state, check.repair) == ("missing", f"pip install -e '{ROOT}'")


def test_nothing_tells_people_to_install_the_package_of_another_project():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py"), ROOT / "Makefile"]
    wrong = re.compile(r"pip3? install\b[^\n#]*(?<![\w./-])saccade(?![\w/-])|\bsaccade\[(?:train|demo|dev|all|site)\]")
    assert len(pages) > 100
    assert not [f"{page}: {found.group()}" for page in pages for found in wrong.finditer(page.read_text("utf-8"))]
    assert wrong.search("pip install saccade")
    assert wrong.search("pip install --upgrade 'saccade[demo]'")
    assert not wrong.search("pip install 'saccade-attention[demo]'")


def test_the_files_of_a_release_have_the_version():
    assert re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", text("CHANGELOG.md"), flags=re.M)
    assert re.search(rf"^version: {re.escape(__version__)}$", text("CITATION.cff"), flags=re.M)
    assert all(
        f"saccade_attention-{__version__}-py3-none-any.whl" in text(page) for page in ("README.md", "README.zh.md")
    )


def test_the_workflow_runs_every_python_that_is_claimed():
    claimed = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert re.findall(r'"(3\.\d+)"', text(".github/workflows/ci.yml")) == claimed
    assert PROJECT["requires-python"] == f">={claimed[0]}"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")
