"""What `record` shows of a mechanism is what the authors' code computed: every recorded map, through every query."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

import saccade
from saccade.inspection.records import Record
from saccade.official import load_official
from tests.golden import dense, gates
from tests.golden import test_modules as modules
from tests.golden.cases import Case
from tests.golden.test_modules import below, close, make, numbered

pytestmark = pytest.mark.filterwarnings("ignore::saccade.errors.SaccadeWarning")

CASES = [
    case
    for case in modules.CASES
    if case.mechanism in gates.MECHANISMS | dense.MECHANISMS
    and (case.entry.get("activations_saved") or case.entry["outputs"] == 2)
]


def every_row(seen: Record) -> Tensor:
    """The whole map (B, N, M), asked for position by position."""
    return seen.weights(list(product(*map(range, seen.input.shape[2:])))).flatten(2)


def views(case: Case, maps: dict[str, Record]) -> dict[str, Tensor]:
    """The recorded maps, from the records alone."""
    seen = maps[""]
    if case.entry["outputs"] == 2:  # the code returns its map
        return {"output.1": every_row(seen)}
    if "position" in maps:
        return {"act.sa.softmax.0": every_row(maps["position"]), "act.sc.softmax.0": maps["channel"].channel_weights()}
    if seen.has("column_weights"):
        found = {"act.softmax.0": seen.column_weights(), "act.softmax.1": seen.row_weights()}
        return {name: weights.flatten(0, 1) for name, weights in found.items()}
    if seen.has("gates"):
        return {"act.sigmoid.0": seen.gates["channel"], "act.sigmoid.1": seen.gates["spatial"]}
    (name,) = case.entry["activations_saved"]
    if seen.has("channel_weights"):
        return {name: seen.channel_weights(range(seen.mechanism.channels))}
    return {name: seen.context_map.flatten(1)[:, None] if seen.has("context_map") else every_row(seen)}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_records_equal_the_recorded_maps(case: Case) -> None:
    recorded = case.tensors()
    mechanism = make(case)
    given = below("param.", recorded)
    if given:
        load_official(mechanism, given)
    inputs = numbered("input", recorded)
    with torch.no_grad(), saccade.record(mechanism) as maps:
        mechanism(*inputs)
        found = views(case, maps)  # inside, and with the state before: a recorded norm is that of the forward
    for name, view in found.items():
        close(name, view, recorded[name], case.tolerance)


def test_there_are_cases_of_every_kind() -> None:
    kinds = {case.mechanism for case in CASES}
    assert {"danet_pam", "danet_cam", "dual_nl", "cs_nl", "fla", "sagan"} <= kinds, sorted(kinds)
    assert len(CASES) > 30
