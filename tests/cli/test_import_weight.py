"""Importing saccade brings torch at most, and asking the command line for help not even that."""

import subprocess
import sys

import pytest

import saccade
from tests.data import exports

HEAVY = {"timm", "torchvision", "PIL", "matplotlib", "cyclopts", "rich", "sklearn", "skimage", "scipy", "jinja2"}


def modules_after(statement):
    """Names of all modules loaded by a fresh interpreter that runs `statement`."""
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.full
def test_using_the_core_loads_torch_and_nothing_heavier():
    torch_alone = modules_after("import torch")
    used = modules_after("import saccade\nsaccade.create('se', channels=16)\ndir(saccade)")
    assert "torch" in used
    added = {name.split(".")[0] for name in used - torch_alone}
    assert not added & HEAVY
    assert not {name for name in used - torch_alone if name.startswith("torch._dynamo")}


def test_help_and_doctor_start_without_torch():
    loaded = modules_after("import saccade.cli")
    assert "cyclopts" in loaded
    assert not loaded & {"torch", "numpy", *HEAVY - {"cyclopts", "rich"}}


@pytest.mark.parametrize(
    "statement",
    [
        "import saccade.catalog as c; c.parse('psa[variant=sequential]'); c.option_names(c.find('gc'))",
        "import saccade; saccade.list_mechanisms(family='gate'); saccade.register('mine', 'nowhere.blocks:Mine')",
        "import saccade.mechanisms.rules, saccade.mechanisms.widths",
        "from saccade.cli.app import app, _guarded; from saccade.cli.answer import CommandSettings\n"
        "for words in (['list'], ['list', '--table'], ['list', '--markdown'], ['list', '--html'], ['--help']):\n"
        "    assert _guarded(words, CommandSettings()) == 0",
    ],
)
def test_the_catalog_needs_no_torch(statement):
    assert not modules_after(statement) & {"torch", "numpy", *HEAVY - {"cyclopts", "rich"}}


def test_importing_an_export_needs_no_torch(tmp_path):
    exports.voc(tmp_path / "export")
    source, folder = str(tmp_path / "export"), str(tmp_path / "data")
    loaded = modules_after(f"import saccade\nsaccade.import_data({source!r}, {folder!r})")
    assert "PIL" in loaded
    assert "torch" not in loaded


@pytest.mark.parametrize("name", saccade.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(saccade)
    assert getattr(saccade, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'saccade' has no attribute 'inserts'"):
        saccade.inserts  # noqa: B018
