"""Fit weights to a network by their order and shapes, where two libraries name the same layers differently."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, get_args

from saccade.errors import InputError, SaccadeWarning

if TYPE_CHECKING:
    from torch import Tensor

Match = Literal["names", "order"]
"""What decides which tensor of a file a network's tensor is: its name, or its place in the order."""

_COUNTER = "num_batches_tracked"  # older files have none
_ALIKE = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_KINDS = frozenset(("weight", "bias", "running_mean", "running_var"))


def check_match(match: str) -> None:
    """Refuse a word that is neither ``"names"`` nor ``"order"``.

    Raises:
        InputError: Naming both.
    """
    if match not in get_args(Match):
        raise InputError(f"match={match!r}: unknown", "expected 'names' or 'order'")


def in_order(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], who: str, *, outputs: Collection[str] = ()
) -> dict[str, str]:
    """Pair the names of a network's tensors with those of given ones, in order.

    Each pair must have the same shape and, where both names end in a usual word for a kind of tensor (weight, bias,
    running mean, running variance), the same kind. Counters of batches are paired only if both sides have them.

    Args:
        given: Tensors in the order in which their network defines them.
        own: Tensors of the network, likewise.
        who: Name of the file or the source in messages.
        outputs: Own names of the output layer, which may be wider or narrower, or absent at the end of `given`.

    Returns:
        The given names by the network's own.

    Raises:
        InputError: The numbers of tensors differ, or a pair does not fit; the message names the first.
    """
    (theirs, their_counters), (ours, our_counters) = _without_counters(given), _without_counters(own)
    if len(theirs) == len(ours) - sum(name in outputs for name in ours):
        ours = [name for name in ours if name not in outputs]
    pairs = list(zip(theirs, ours, strict=False))
    misfit = next((pair for pair in pairs if not _fits(pair, given, own, outputs)), None)
    if misfit is not None or len(theirs) != len(ours):
        at = len(pairs) if misfit is None else pairs.index(misfit)
        raise InputError(
            f"{who} does not fit in order: it has {len(theirs)} tensors, the network {len(ours)}; "
            f"the first that does not fit is number {at + 1}, {_described(theirs, at, given)} where the network has "
            f"{_described(ours, at, own)}",
            "the order must be that of the same network; give a file with its names, or leave match='order' out",
        )
    if len(their_counters) == len(our_counters):
        pairs += zip(their_counters, our_counters, strict=True)
    return {mine: name for name, mine in pairs}


def say_how_far(pairs: Mapping[str, str], who: str) -> None:
    """Warn how many names of a file are the network's own, since order and shapes alone cannot prove that it fits.

    Args:
        pairs: The result of :func:`in_order`.
        who: Name of the file or the source.
    """
    equal = sum(mine == theirs for mine, theirs in pairs.items())
    alike = sum(_kind(mine) == _kind(theirs) for mine, theirs in pairs.items())
    warnings.warn(
        f"{who}: {len(pairs)} tensors fit in order and shape; {equal} of their names are the network's own, {alike} "
        "end alike. Look at what the network says of a few images before relying on it",
        SaccadeWarning,
        stacklevel=3,
    )


def _without_counters(tensors: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    counters = [name for name in tensors if name.endswith(_COUNTER)]
    return [name for name in tensors if not name.endswith(_COUNTER)], counters


def _fits(
    pair: tuple[str, str], given: Mapping[str, Tensor], own: Mapping[str, Tensor], outputs: Collection[str]
) -> bool:
    theirs, mine = pair
    kinds = {_kind(theirs), _kind(mine)}
    if len(kinds) > 1 and kinds <= _KINDS:
        return False
    first, second = given[theirs].shape, own[mine].shape
    return first == second or (mine in outputs and first[1:] == second[1:] and len(first) == len(second))


def _kind(name: str) -> str:
    word = name.rpartition(".")[2]
    return _ALIKE.get(word, word)


def _described(names: list[str], at: int, tensors: Mapping[str, Tensor]) -> str:
    return f"{names[at]} {tuple(tensors[names[at]].shape)}" if at < len(names) else "nothing"
