"""The command lines of ``docs/training.md`` are ones the command line takes, and the same in both languages."""

import re
import shlex
from inspect import signature
from pathlib import Path

import pytest
import timm.optim

from saccade.cli.app import app
from saccade.cli.compare import complete_pretrained
from saccade.cli.data import check
from saccade.cli.evaluate import evaluate
from saccade.cli.predict import predict
from saccade.cli.train import train
from saccade.tasks.classification.samples import AUGMENTATIONS
from saccade.training.recipes import RECIPES
from saccade.training.schedules import SCHEDULES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("training.md", "training.zh.md")


def commands(page):
    """Every ``saccade ...`` of the blocks, whatever starts it."""
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition("saccade ")[2] for line in lines if re.search(r"(^|-m )saccade ", line)]


@pytest.mark.parametrize("command", commands(PAGES[0]))
def test_commands_are_understood(command):
    function, bound, _ = app.parse_args(
        complete_pretrained(shlex.split(command)), exit_on_error=False, print_error=False
    )
    assert function.__name__ in ("check", "train", "evaluate", "predict")
    assert bound.args


def test_both_languages_show_the_same():
    one, other = map(commands, PAGES)
    assert one == other
    assert len(one) >= 7
    numbers = [re.findall(r"\d+\.\d+", (DOCS / page).read_text(encoding="utf-8")) for page in PAGES]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("page", PAGES)
def test_options_recipes_and_optimizers_exist(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    known = {
        name.replace("_", "-")
        for command in (train, evaluate, predict, check)
        for name in signature(command).parameters
    }
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    others = {"kills", "max-restarts"}  # of other programs
    assert set(re.findall(r"`--([a-z-]+)", prose)) - others <= known
    own = {name for name, recipe in RECIPES.items() if recipe.task == "classification"}
    assert set(re.findall(r"--recipe ([\w-]+)", text)) == own - {"default"}
    row = next(line for line in text.splitlines() if line.startswith("| `--optimizer`"))
    named = re.findall(r"`(\w+)`", row)
    assert len(named) > 4
    assert set(named) <= set(timm.optim.list_optimizers())
    row = next(line for line in text.splitlines() if line.startswith("| `--schedule`"))
    assert set(re.findall(r"`([a-z][\w-]+)`", row)) == set(SCHEDULES)
    rows = {found for line in text.splitlines() for found in re.findall(r"^\| `(\w+)`", line)}
    assert rows >= set(AUGMENTATIONS)
