"""An option stands in one place; the call in Python, the command line, the help and the record follow from it."""

import inspect
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, get_args

import pytest

import saccade
from saccade.cli.app import app, ours
from saccade.comparison.options import CompareOptions
from saccade.comparison.settings import Settings
from saccade.options import Option, Options, called_with, declared
from saccade.runs.options import EvaluateOptions, PredictOptions, RunSpec, TrainOptions
from saccade.training.recipe import Recipe, RecipeOptions
from saccade.training.recipes import RECIPES

KINDS = {"compare": CompareOptions, "train": TrainOptions}
ALL = KINDS | {"evaluate": EvaluateOptions, "predict": PredictOptions}


@dataclass(frozen=True)
class Asked(Options):
    data: Annotated[str, Option("The folder.", argument="DATA")]
    steps: Annotated[int | None, Option("The length.", default="as the data decide")] = None
    learning_rate: Annotated[float, Option("The rate.")] = 0.1
    factors: Annotated[tuple[tuple[str, float], ...], Option("Factors.", flag="factor")] = ()
    fast: Annotated[bool, Option("Make haste.", recorded=False)] = False
    careful: Annotated[bool, Option("Take care.", negative=True)] = True
    quiet: Annotated[bool, Option("Say nothing.", typed=None)] = False


@called_with(Asked, "walk")
def walk(options: Asked) -> Asked:
    """Walk.

    Raises:
        InputError: Never.
    """
    return options


def test_a_call_gives_the_options_and_which_were_asked_for():
    found = walk("there", learning_rate=0.1, steps=None)
    assert (found.data, found.learning_rate, found.steps) == ("there", 0.1, None)
    assert found.given == {"data", "learning_rate"}  # None is "not given"


def test_the_signature_and_the_docstring_follow():
    assert str(inspect.signature(walk)).startswith("(data: str, steps: int | None = None, learning_rate: float = 0.1,")
    assert "    steps: The length. Default: as the data decide.\n" in walk.__doc__
    assert walk.__doc__.index("Args:") < walk.__doc__.index("Raises:")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": 3}, r"walk: unknown option 'step'\s*hint: did you mean steps"),
        ({"num_classes": 3}, r"walk: unknown option 'num_classes'\s*hint: the number of classes follows"),
        ({"lr": 1.0, "learning_rate": 1.0}, "'learning_rate' is given twice, the other time as"),
    ],
    ids=str,
)
def test_an_unknown_option_is_refused_with_what_it_may_mean(given, message):
    with pytest.raises(saccade.InputError, match=message):
        walk("there", **given)


def test_words_of_other_tools_are_understood():
    assert walk("there", lr=1.0, max_steps=7).steps == 7
    assert walk("there", lr=1.0).learning_rate == 1.0


def test_what_is_missing_is_named():
    with pytest.raises(TypeError, match="walk: missing a required argument: 'data'"):
        walk()


def test_the_record_and_the_command_line_follow():
    asked = Asked("my data", steps=3, factors=(("fc.*", 10.0), ("a", 2.0)), fast=True, careful=False)
    assert asked.recorded() == {
        "data": "my data", "steps": 3, "learning_rate": 0.1, "factors": [["fc.*", 10.0], ["a", 2.0]],
        "careful": False, "quiet": False,
    }  # fmt: skip
    words = "'my data' --steps 3 --factor 'fc.*=10.0' --factor a=2.0 --no-careful"
    assert shlex.join(asked.words()) == words


@pytest.mark.parametrize("command", ALL)
def test_python_and_the_command_line_take_the_same(command):
    options = declared(ALL[command])
    python = inspect.signature(getattr(saccade, command)).parameters
    assert list(python) == [one.name for one in sorted(options, key=lambda one: not one.positional)]
    typed = set(inspect.signature(app[command].default_command).parameters) - {"settings"}
    assert typed == {one.flag for one in options if one.typed is not None}
    only_python = {one.name for one in options if one.typed is None}
    assert only_python <= {"progress", "command", "classes", "on_progress"}


@pytest.mark.parametrize("command", KINDS)
def test_what_is_decided_keeps_the_options(command):
    """A new option of a base class is one of the class with everything decided too."""
    decided = {CompareOptions: Settings, TrainOptions: RunSpec}[KINDS[command]]
    names = {one.name for one in declared(decided)}
    assert names <= {one.name for one in declared(KINDS[command])}
    assert {"data", "backbone", "size"} <= names
    assert {one.name for one in declared(RecipeOptions)} <= {one.name for one in declared(TrainOptions)}
    assert {one.name for one in declared(RecipeOptions)} <= {one.name for one in declared(Recipe)}


@pytest.mark.parametrize("name", RECIPES)
def test_an_option_that_recipes_decide_says_so(name):
    words = {one.name: one.words for one in declared(TrainOptions)}
    decided = [value for value in RECIPES[name].values if value in words]
    others = [key for key in decided if len({str(r.values.get(key)) for r in RECIPES.values()}) > 1]
    assert others
    assert all("that of the recipe" in words[key] for key in others if key not in ("momentum", "decay", "power"))


@pytest.mark.parametrize("demo", [True, False])
def test_the_printed_command_line_asks_for_the_same(demo, tmp_path):
    """What a report prints, typed in, is the comparison of the report."""
    asked = {"control_params": True, "seeds": 3, "epochs": 1.5, "at": "stage:-1"}
    asked |= {"scenes": 4, "fresh_start": True} if demo else {"pretrained": str(tmp_path / "w.pth"), "batch": 4}
    options = CompareOptions(None if demo else str(tmp_path), "none,psa[variant=sequential]", **asked)
    settings = Settings.decide(options, ("none", "psa[variant=sequential]"), "cpu")
    words = shlex.split(settings.command_line(tmp_path / "out"))
    _, bound, _ = app.parse_args(ours(words[1:]), exit_on_error=False, print_error=False)
    again = CompareOptions(*bound.args, **bound.kwargs)
    assert (again.mechanisms, again.out) == (options.mechanisms, tmp_path / "out")
    assert Settings.decide(again, settings.mechanisms, again.device).to_json() == settings.to_json()


@pytest.mark.parametrize("command", ALL)
def test_every_option_that_is_a_number_has_a_range(command):
    def numeric(annotation):
        return annotation in (int, float) or (
            bool(get_args(annotation)) and {*get_args(annotation)} <= {int, float, NoneType}
        )

    options = declared(ALL[command])
    assert any(numeric(one.annotation) for one in options)
    assert [one.name for one in options if numeric(one.annotation) and one.range is None] == []


WRONG = {
    "data": ["", "a\0b", 3, None],
    "epochs": [0, -1, math.inf, math.nan, "2", 1e300, True],
    "steps": [1.5, 0, -3, 10**30, "many"],
    "size": [0, 7, 100000, 32.0],
    "batch": [0, -1, 1000000],
    "seed": [-1, 10**20, 0.5],
    "workers": [-1, 100000],
    "lr_factors": [(("fc.*", -1.0),), (("fc.*", math.nan),), (("", 1.0),), "fc.*=1", (("fc.*",),), ((1, 1.0),)],
    "learning_rate": [-0.1, math.inf, 1e10],
    "evaluate_every": [0, -1],
    "warmup": [-0.1, 1.1], "ema": [0.0, 1.0], "clip": [0.0], "schedule": ["cosin", ""], "amp": ["fp8", True],
    "keep": [0, 10**12], "patience": [-1], "accumulate": [0], "momentum": [2], "checkpoint_seconds": [-1.0],
    "backbone": ["", "  "], "network": ["", 3], "out": ["", 7, "a\0"], "pretrained": ["", 1.0, []], "compile": ["yes"],
    "seeds": [0, 1001], "jobs": [0], "scenes": [-1], "at": [""], "mechanisms": [""], "preset": [""],
    "images": [""], "model": ["", 3],
}  # fmt: skip


@pytest.mark.parametrize("command", ALL)
def test_nonsense_is_refused_before_any_work(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    required = {one.name: "x" for one in declared(ALL[command]) if one.required}
    tried = 0
    for name, values in WRONG.items():
        for value in values:
            if name in {one.name for one in declared(ALL[command])} and not (value is None and name not in required):
                with pytest.raises(saccade.InputError, match=f"^{name} must"):
                    getattr(saccade, command)(**required | {name: value})
                tried += 1
    assert tried > 8
    assert list(tmp_path.iterdir()) == []


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = {}

    @called_with(PredictOptions, "predict")
    def predict(options):
        found.update(vars(options))

    predict("~/a.png", Path("~/run"), out="~/out")
    assert (found["model"], found["out"]) == (tmp_path / "run", str(tmp_path / "out"))
    predict(["~/a.png"], "~nobody-there/run")
    assert found["model"] == "~nobody-there/run"
