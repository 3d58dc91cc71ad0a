"""The end of the report: the command that trains the best arm fully, and the code that loads the result."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.catalog import Entry, NaturalPlace, Spec
from saccade.catalog.imports import is_import_path
from saccade.comparison.results import ArmResult, Results
from saccade.data.reading import Reading
from saccade.options import declared
from saccade.report.verdict import is_control, judged_arms
from saccade.tasks import find_task
from saccade.training.balance import BalanceOptions

_EPOCHS = 30


@dataclass(frozen=True)
class Further:
    """The next steps after a comparison.

    Args:
        arm: The arm to train.
        better: True if it was found better than the reference; otherwise it is the reference itself.
        command: Command line that trains it.
        code: Python code that loads it.
    """

    arm: ArmResult
    better: bool
    command: str
    code: str


def further(results: Results) -> Further | None:
    """Return how to train the arm that gained most among those found better, or else the reference.

    None for the demo, which is not a task to train a network for.
    """
    data, network = results.data.path, results.network
    if data is None:
        return None
    arm = _best(results) or results.reference
    out = Path("saccade-train") / Path(data).name
    head = find_task(results.task).head_network
    named = ["--network", head, "--backbone", network.name] if head else ["--network", network.name]
    words = ["saccade", "train", data, *named]
    words += _mechanism(arm)
    if network.pretrained:
        words += ["--pretrained"] if network.pretrained is True else ["--pretrained", network.pretrained]
        words += ["--match", "order"] if results.settings.get("match") == "order" else []
    asked = {one.name: results.settings.get(one.name) for one in declared(BalanceOptions)}
    words += [*Reading.from_json(results.settings).words(), *BalanceOptions(**asked).words()]
    words += ["--size", str(results.size), "--batch", str(results.batch), "--epochs", str(_EPOCHS)]
    words += ["--out", str(out)]
    own = [network.name] if is_import_path(network.name) else []
    own += [arm.row["path"]] if arm.row else []
    name, trust = json.dumps(str(out)), f", trust={json.dumps(own)}" if own else ""
    code = f"import saccade\nnet = saccade.load({name}{trust}).eval()\n"
    code += f'print(saccade.predict(["photo.jpg"], {name}{trust}))'
    command = _registering(arm, words) if arm.row and arm.row["added"] else shlex.join(words)
    return Further(arm, arm is not results.reference, command, code)


def _mechanism(arm: ArmResult) -> list[str]:
    """Return the words that insert the mechanism of an arm, of which another process knows no name but saccade's own.

    A mechanism of the user's is named by its import path, where it has no natural place and no identity options: both
    are said instead.
    """
    if arm.mechanism is None:
        return []
    spec, at = Spec(arm.mechanism, arm.options), arm.at
    if arm.row and not arm.row["added"]:
        spec = Spec(arm.row["path"], {**arm.row["identity_options"], **arm.options})
        place = Entry.from_json(arm.mechanism, arm.row).place
        simple = place.every == 1 and not place.strides
        at = at or (None if place == NaturalPlace("residual") else place.at if simple else ",".join(arm.place))
    return ["--mechanism", str(spec), *(["--at", at] if at else [])]


def _registering(arm: ArmResult, words: Sequence[str]) -> str:
    """Return a command line that registers the mechanism of an arm first: only its row says that it is added."""
    made = f"saccade.register(saccade.catalog.Entry.from_json({arm.mechanism!r}, {arm.row!r}))"
    code = f"import sys, saccade, saccade.cli; {made}; saccade.cli.main(sys.argv[1:])"
    return shlex.join(["python", "-c", code, *words[1:]])


def _best(results: Results) -> ArmResult | None:
    judged = judged_arms(results.arms)
    better = [(difference.mean, arm) for arm, difference in judged if difference.verdict == "better"]
    return max((one for one in better if not is_control(one[1])), key=lambda one: one[0], default=(0.0, None))[1]
