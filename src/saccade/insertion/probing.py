"""Try a new mechanism of the user's on a small map, with its weights, to see whether it has an effect at the start."""

from __future__ import annotations

import torch

from saccade.catalog import Spec
from saccade.insertion.places import Place

_SIDE = 16


def adds_nothing(place: Place, chosen: Spec) -> bool:
    """Return whether a new mechanism returns its input bit by bit, or zeros if its output is added to the input.

    It needs no factor then. One that starts at 0 would even hold it back for good: the gradient of the factor is a
    multiple of the mechanism's effect, which is 0, and that of the mechanism a multiple of the factor.
    If the mechanism does not run on a small map, or learns nothing, the answer is no.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.randn(2, place.channels, *(min(side, _SIDE) for side in place.sides))
        try:
            mechanism = chosen.entry.make(place.channels, **chosen.options).eval()
            if not any(True for _ in mechanism.parameters()):  # nothing to hold back
                return False
            with torch.no_grad():
                y = mechanism(x.clone())
        except Exception:  # a module from outside may raise anything
            return False
    return torch.equal(y, torch.zeros_like(x) if chosen.entry.added else x)
