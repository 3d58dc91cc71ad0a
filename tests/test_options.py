"""An option stands in one place; the call in Python, the command line, the help and the record follow from it."""

import inspect
import shlex
from dataclasses import dataclass
from typing import Annotated

import pytest

import saccade
from saccade.cli.app import app, ours
from saccade.comparison.options import CompareOptions
from saccade.comparison.settings import Settings
from saccade.options import Option, Options, called_with, declared
from saccade.runs.options import RunSpec, TrainOptions
from saccade.training.recipe import Recipe, RecipeOptions
from saccade.training.recipes import RECIPES

KINDS = {"compare": CompareOptions, "train": TrainOptions}


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


@pytest.mark.parametrize("command", KINDS)
def test_python_and_the_command_line_take_the_same(command):
    options = declared(KINDS[command])
    python = inspect.signature(getattr(saccade, command)).parameters
    assert list(python) == [one.name for one in sorted(options, key=lambda one: not one.positional)]
    typed = set(inspect.signature(app[command].default_command).parameters) - {"settings"}
    assert typed == {one.flag for one in options if one.typed is not None}
    only_python = {one.name for one in options if one.typed is None}
    assert only_python <= {"progress", "command", "classes"}


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
