"""Compare the mechanisms that run in a network with those expected in it, also in copies that a conversion rewrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from saccade.errors import InputError
from saccade.insertion.attach import attachments, heads, hooks
from saccade.insertion.report import Plan, Report, listed
from saccade.insertion.wrappers import is_quantised

Expected = Plan | Report | int | Sequence[str]

_IN_GRAPH = re.compile(r"((?:^|.*?\.)(?:saccade|saccade_before)(?:\.next)*)\.(?:mechanism|g$|opening$)")


def running(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the mechanisms that a forward pass runs, as :func:`attachments` names them.

    In a network that torch.fx rewrote, these are the ones that its graph still reads.
    """
    found = [name for name, attachment in attachments(model).items() if id(attachment) in _hooked(model)]
    for path, module in model.named_modules():
        if isinstance(module, torch.fx.GraphModule):
            found += [name for name in _in_graph(module, path) if name not in found]
    return tuple(found)


def check_expected(model: nn.Module, expect: Expected) -> None:
    """Refuse a network in which other mechanisms run than expected.

    Raises:
        InputError: Some are lost, or there are more than expected.
        TypeError: `expect` is none of the possible kinds.
    """
    found = running(model)
    if isinstance(expect, int) and not isinstance(expect, bool):
        if len(found) == expect:
            return
        there = f"{len(found)} mechanisms run in it{f': {listed(found)}' if found else ''}; expected {expect}"
        more = len(found) > expect
    else:
        wanted, rest = _names(expect), list(found)
        lost = [name for name in wanted if not _taken(rest, name)]
        if not lost and not rest:
            return
        there = (
            f"{len(lost)} of {len(wanted)} expected mechanisms do not run in it: {listed(lost)}"
            if lost
            else f"{len(rest)} mechanisms run in it that are not expected: {listed(rest)}"
        )
        more = not lost
    raise InputError(
        f"{type(model).__name__}, {_kind(model)}: {there}",
        "give the expectation of this insertion"
        if more
        else "insert into this network, after any conversion; a trainer "
        "that builds its own network must be given this one, or insert in the method that builds it",
    )


def _hooked(model: nn.Module) -> set[int]:
    modules = dict(model.named_modules())
    found = [(modules[path], first) for path, first in heads(model)]
    return {id(link) for host, first in found if hooks(host, first.side) == 1 for link in first.chain()}


def _in_graph(module: torch.fx.GraphModule, path: str) -> Iterator[str]:
    """Yield the attachments whose tensors or layers the nodes of a graph read."""
    read = (node.target for node in module.graph.nodes if node.op in ("get_attr", "call_module"))
    for head in dict.fromkeys(match[1] for target in read if (match := _IN_GRAPH.match(str(target)))):
        host = re.split(r"\.?saccade(?:_before)?(?=\.|$)", head)[0]
        number = head.count(".next") + 1
        yield f"{path}{'.' if path and host else ''}{host}{f'#{number}' if number > 1 else ''}"


def _names(expect: Expected) -> list[str]:
    if isinstance(expect, (Plan, Report)):
        return [step.place.name for step in expect.steps]
    if isinstance(expect, str) or not isinstance(expect, Sequence) or not all(isinstance(n, str) for n in expect):
        raise TypeError(f"expect= takes a plan, a report, a number or a list of names of modules; received {expect!r}")
    return [name.removeprefix("before:").partition("#")[0] for name in expect]


def _taken(rest: list[str], name: str) -> bool:
    """Remove a mechanism of that module, in whatever wrappers, from `rest`; return whether there is one."""
    plain = {other: other.removeprefix("before:").partition("#")[0] for other in rest}
    found = [other for other in rest if plain[other] == name or plain[other].endswith(f".{name}")]
    found += [other for other in rest if f".{name}." in f".{plain[other]}."]  # in an adapter
    if found:
        rest.remove(found[0])
    return bool(found)


def _kind(model: nn.Module) -> str:
    """Describe what became of the network, as far as it can be seen."""
    modules = list(model.modules())
    if any(is_quantised(module) for module in modules):
        return "a quantised copy"
    if isinstance(model, torch.fx.GraphModule):
        return "rewritten by torch.fx"
    if any(isinstance(vars(module).get("saccade_report"), Report) for module in modules):
        return "in which mechanisms were inserted"
    if not any(isinstance(module, nn.modules.batchnorm._NormBase) for module in modules):
        return "fused, or a network without norms that was built anew"
    return "built anew or converted, without a report of an insertion"
