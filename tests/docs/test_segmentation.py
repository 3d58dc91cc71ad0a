"""The command lines of ``docs/segmentation.md`` are ones the command line takes; both languages show the same."""

import re
import shlex
from inspect import signature

import pytest

import saccade
from saccade.cli.app import app
from saccade.cli.compare import complete_pretrained
from saccade.cli.evaluate import evaluate
from saccade.cli.predict import predict
from saccade.cli.train import train
from saccade.tasks.segmentation.crops import VIEWS
from saccade.tasks.segmentation.protocols import NAMES
from saccade.training.recipes import RECIPES
from tests.docs.test_training import DOCS, commands

PAGES = ("segmentation.md", "segmentation.zh.md")


@pytest.mark.parametrize("command", commands(PAGES[0]))
def test_commands_are_understood(command):
    function, bound, _ = app.parse_args(
        complete_pretrained(shlex.split(command)), exit_on_error=False, print_error=False
    )
    assert function.__name__ in ("check", "demo", "train", "evaluate", "predict")
    assert bound.args


def test_both_languages_show_the_same():
    one, other = map(commands, PAGES)
    assert one == other
    assert len(one) == 6
    texts = [(DOCS / page).read_text(encoding="utf-8") for page in PAGES]
    numbers = [re.findall(r"\d+\.\d+", text) for text in texts]
    assert numbers[0] == numbers[1]
    for mark in ("run", "networks", "segmentation"):
        blocks = [text.partition(f"<!-- {mark}: begin -->")[2].partition(f"<!-- {mark}: end -->")[0] for text in texts]
        assert blocks[0] == blocks[1] != "\n"


@pytest.mark.parametrize("page", PAGES)
def test_options_recipes_and_networks_exist(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    known = {name.replace("_", "-") for command in (train, evaluate, predict) for name in signature(command).parameters}
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert set(re.findall(r"`--([a-z-]+)", prose)) <= known
    rows = {found for line in text.splitlines() for found in re.findall(r"^\| `([\w-]+)`", line)}
    published = {name for name, recipe in RECIPES.items() if recipe.task == "segmentation"}
    assert rows >= {*VIEWS, *NAMES, *published}
    named = {
        found for line in text.splitlines() if line.startswith("|") for found in re.findall(r"`([a-z_0-9]+)`", line)
    }
    assert named >= set(saccade.list_segmenters())
