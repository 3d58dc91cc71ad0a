"""What the catalog says of each mechanism is so: its costs counted, its start tried, its family's views there."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from saccade.catalog import CATALOG, Entry, create
from saccade.catalog.registry import signature_options

SIZES = ((64, 6, 9), (256, 5, 4))
each = pytest.mark.parametrize("entry", CATALOG.values(), ids=lambda entry: entry.name)
each_size = pytest.mark.parametrize("size", SIZES, ids=str)


def evaluated(entry: Entry, formula: str, size: tuple[int, int, int]) -> int:
    """A formula of the catalog as the number it stands for."""
    channels, height, width = size
    letters: dict[str, Any] = {"C": channels, "H": height, "W": width, "N": height * width, "log2": math.log2}
    for definition in filter(None, entry.cost.where.split("; ")):
        name, _, value = definition.partition(" = ")
        letters[name] = eval(value, letters)
    return int(eval(formula, letters))


@each
@each_size
def test_has_the_parameters_it_says(entry: Entry, size: tuple[int, int, int]) -> None:
    params = sum(p.numel() for p in create(entry.name, size[0]).parameters())
    assert params == evaluated(entry, entry.cost.params, size)


@each
@each_size
def test_makes_the_multiply_adds_it_says(entry: Entry, size: tuple[int, int, int]) -> None:
    module, x = create(entry.name, size[0]).eval(), torch.zeros(1, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    assert counter.get_total_flops() // 2 == evaluated(entry, entry.cost.macs, size)


@each
@each_size
def test_has_the_map_entries_it_says(entry: Entry, size: tuple[int, int, int]) -> None:
    module, x = create(entry.name, size[0]).eval(), torch.zeros(1, *size)
    parts = [part for part in (module, *module.children()) if hasattr(part, "attention")]
    if entry.name == "a2":  # its forward has two maps over its descriptors in place of the one over pairs
        entries = 2 * module.gather(x).numel()
    elif entry.name == "gsop":
        entries = module.dim**2
    elif entry.name == "psa":
        entries = 2 * size[1] * size[2]
    else:
        entries = sum(part.attention(x).numel() for part in parts)
    assert entries == evaluated(entry, entry.cost.entries, size)


@each
def test_starts_as_it_says(entry: Entry) -> None:
    assert create(entry.name, 32).starts_as_identity is entry.identity


@each
def test_takes_the_options_it_says_with_these_defaults(entry: Entry) -> None:
    """What is known of options without torch is what the signature says."""
    assert entry.options is None or dict(entry.options) == signature_options(entry)


@each
def test_attends_to_what_it_says(entry: Entry) -> None:
    """Where a mechanism has gates, they are those of what it attends to."""
    module = create(entry.name, 32).eval()
    if hasattr(module, "gates") and entry.family == "gate":
        expected = {"both": {"channel", "spatial"}}.get(entry.attends, {entry.attends})
        assert set(module.gates(torch.zeros(1, 32, 5, 4))) == expected
