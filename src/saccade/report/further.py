"""The end of the report: the command that trains the best arm fully, and the code that loads the result."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from saccade.catalog import Spec
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
    if arm.mechanism:
        words += ["--mechanism", str(Spec(arm.mechanism, arm.options))]
        words += ["--at", arm.at] if arm.at else []
    if network.pretrained:
        words += ["--pretrained"] if network.pretrained is True else ["--pretrained", network.pretrained]
    asked = {one.name: results.settings.get(one.name) for one in declared(BalanceOptions)}
    words += [*Reading.from_json(results.settings).words(), *BalanceOptions(**asked).words()]
    words += ["--size", str(results.size), "--batch", str(results.batch), "--epochs", str(_EPOCHS)]
    name = json.dumps(str(out))
    code = f'import saccade\nnet = saccade.load({name}).eval()\nprint(saccade.predict(["photo.jpg"], {name}))'
    return Further(arm, arm is not results.reference, shlex.join([*words, "--out", str(out)]), code)


def _best(results: Results) -> ArmResult | None:
    judged = judged_arms(results.arms)
    better = [(difference.mean, arm) for arm, difference in judged if difference.verdict == "better"]
    return max((one for one in better if not is_control(one[1])), key=lambda one: one[0], default=(0.0, None))[1]
