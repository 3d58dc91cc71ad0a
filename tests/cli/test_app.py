"""The command line as a stranger meets it: help, wrong usage, what goes wrong in the library, and the exit status."""

import errno
import inspect
import json
import os
import subprocess
import sys
import warnings
from types import NoneType, SimpleNamespace
from typing import get_args, get_type_hints

import pytest

import saccade
from saccade.cli import main
from saccade.cli.app import app
from saccade.distribution import install_command
from saccade.errors import InputError, MissingExtraError, SaccadeWarning

COMMANDS = ("compare", "train", "evaluate", "predict", "export", "look", "list", "plan", "bench", "report", "doctor")


@pytest.fixture
def run(capsys):
    """Runs a command line; gives its exit status, stdout and stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(list(words))
        printed = capsys.readouterr()
        return left.value.code, printed.out, printed.err

    return run


@pytest.fixture
def library(monkeypatch):
    """Puts a function in the place of `saccade.compare`."""
    return lambda function: monkeypatch.setitem(vars(saccade), "compare", function)


def raising(error):
    def compare(*args, **kwargs):
        raise error

    return compare


def test_help_names_every_command(run):
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert all(f"│ {command} " in out for command in COMMANDS)
    assert all(flag in out for flag in ("--json", "--quiet", "--debug", "--version"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "600")
    status, out, _ = run(command, "--help")
    parameters = inspect.signature(app[command].default_command).parameters
    options = [name for name in parameters if name != "settings"]
    explained = {line.strip("│╭╰* ").split("  ")[0].split(" ")[0]: line for line in out.splitlines() if "  " in line}
    assert status == 0
    for option in options:
        line = explained.get(f"--{option.replace('_', '-')}") or explained[option.upper()]
        assert len(line.strip("│ ").split("  ", 1)[1].split()) >= 3, f"{option} has no explanation"
        required = parameters[option].default is inspect.Parameter.empty
        assert required or "[default: " in line, f"{option} shows no default"


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_are_of_their_types(command):
    """Cyclopts asks pydantic, where a user's code or Ray has loaded it, and refuses the command otherwise."""
    run = app[command].default_command
    kinds = get_type_hints(run)
    for name, parameter in inspect.signature(run).parameters.items():
        assert parameter.default is not None or NoneType in get_args(kinds[name]), name


def test_version(run):
    assert run("--version") == (0, f"{saccade.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("compare --mechanism se", "Unknown option: --mechanism.", "did you mean --mechanisms?"),
        ("compair", 'Unknown command "compair".', 'did you mean "compare"?'),
        ("plan resnet18", "MECHANISM requires an argument", "see saccade plan --help"),
        ("compare --seeds many", 'It must be a whole number', "see saccade compare --help"),
        ("doctor here", "Unused Tokens: ['here']", "see saccade doctor --help"),
        ("report nowhere", "no results.json in nowhere", "give the folder of a comparison"),
        ("list --family gats", "unknown family='gats'", "did you mean gate"),
    ],
)  # fmt: skip
def test_wrong_usage(run, words, error, hint):
    status, out, err = run(*words.split())
    assert (status, out) == (2, "")
    first, blank, second = err.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert blank == ""
    assert second.startswith(f"hint: {hint}")


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [
        (InputError("no images", "put some there"), 2, "error: no images\n\nhint: put some there\n"),
        (InputError("no images"), 2, "error: no images\n"),
        (
            MissingExtraError("timm", "train", ModuleNotFoundError("No module named 'timm'")),
            2,
            "error: this needs timm, which could not be imported (ModuleNotFoundError: No module named 'timm')\n\n"
            f"hint: install it with: {install_command('train')}\n",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.pth"), 2,
         "error: No such file or directory: a.pth\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 2,
         "error: No space left on device\n\nhint: free some space there, then repeat the command\n"),
        (ModuleNotFoundError("No module named 'torch'"), 2,
         "error: a package could not be imported: No module named 'torch'\n\n"
         "hint: saccade doctor says what to install\n"),
        (KeyboardInterrupt(), 1, "interrupted\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_what_goes_wrong_in_the_library(run, library, error, status, printed):
    library(raising(error))
    assert run("compare") == (status, "", printed)


def test_an_unforeseen_error_has_a_status_of_its_own(run, library):
    library(raising(KeyError("weights")))
    status, out, err = run("compare")
    assert (status, out) == (1, "")
    assert err.startswith("error: KeyError: 'weights'\n\nhint: ")
    assert "--debug" in err


@pytest.mark.parametrize("words", ["--debug compare", "compare --debug"])
def test_debug_shows_the_traceback(run, library, words):
    library(raising(InputError("no images", "put some there")))
    status, _, err = run(*words.split())
    assert status == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("error: no images\n\nhint: put some there\n")


@pytest.mark.parametrize(
    "words", ["--json list --family gate", "list --json --family gate", "list --family gate --json"]
)
def test_json_is_taken_before_and_after_the_command(run, words):
    status, out, err = run(*words.split())
    assert (status, err) == (0, "")
    assert [row["name"] for row in json.loads(out)] == list(saccade.list_mechanisms(family="gate"))


def test_json_is_written_to_a_file_that_is_named(run, tmp_path):
    file = tmp_path / "gates.json"
    status, out, _ = run("list", "--json", str(file), "--family", "gate")
    assert status == 0
    assert out == run("list", "--family", "gate")[1]
    assert [row["name"] for row in json.loads(file.read_text())] == list(saccade.list_mechanisms(family="gate"))


@pytest.mark.parametrize("name", ["folder.json", "none/gates.json"])
def test_a_file_that_cannot_be_written_is_refused_at_once(run, tmp_path, name):
    (tmp_path / "folder.json").mkdir()
    status, _, err = run("list", "--json", str(tmp_path / name))
    assert status == 2
    assert "cannot be written: " in err


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("compare", "warning: two classes\n"),
        ("compare --quiet", ""),
        ("--quiet compare", ""),
    ],
)
def test_warnings_are_lines_on_stderr(run, library, words, shown):
    def compare(*args, **kwargs):
        warnings.warn("two classes", SaccadeWarning, stacklevel=1)
        warnings.warn("old API of some package", DeprecationWarning, stacklevel=1)
        return SimpleNamespace(to_json=dict, report=None, table=lambda: "the table")

    library(compare)
    assert run(*words.split()) == (0, "the table\n", shown)


def test_a_reader_that_leaves_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "saccade", "list"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    "words",
    ["train d --network n --steps 1.5", "compare --seeds 2.5", "plan resnet18 se --every 1e0", "bench se --rounds 1.0"],
)
def test_a_fraction_is_not_rounded_to_a_whole_number(run, words):
    status, out, err = run(*words.split())
    assert (status, out) == (2, "")
    assert f"Invalid value for {words.split()[-2]}: It must be a whole number" in err
