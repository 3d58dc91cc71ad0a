"""Find the places at a named module of any kind: shared, a container, or one that returns several maps."""

from __future__ import annotations

from saccade.errors import InputError
from saccade.insertion.locate import Location, locate, reader, usable
from saccade.insertion.places import Place, Places
from saccade.insertion.trace import Call


def named(places: Places, path: str, side: str) -> tuple[Place, ...]:
    """Return the places at one side of a module.

    For an ordinary module the place is the module itself. For a container, which iterates its children, it is at its
    last (or first) value; for a module that returns several maps, at the children that make them; for a module that is
    called several times, at the readers of its maps.

    Raises:
        InputError: The module is not called, its values there are not maps, or no module reaches them.
    """
    calls = [call for call in places.trace.calls if call.path == path]
    if not calls:
        raise InputError(f"{path}: it is called 0 times in one forward{_ended(places)}", "name a module that is called")
    maps = [[v for v in (c.inputs if side == "before" else c.outputs) if places.graph.is_map(v)] for c in calls]
    if not any(maps):
        raise InputError(*_no_map(places, calls[0], side))
    if len(calls) == 1 and usable(places.graph, calls[0]) and maps[0] == _own(calls[0], side):
        return (places.place("named", Location(path, side, maps[0][0]), calls[0]),)
    found = [
        places.place("named", location, call)
        for call, values in zip(calls, maps, strict=True)
        for value in values
        if (location := _reach(places, call, value, side, shared=len(calls) > 1)) is not None
    ]
    if not found:
        times = f"it is called {len(calls)} times in one forward" if len(calls) > 1 else "it cannot hold a child"
        raise InputError(
            f"{path} ({type(calls[0].module).__name__}): {times}, and no module that is called once makes or reads its "
            "maps alone",
            "name the module around it, or one inside it",
        )
    return tuple(found)


def _own(call: Call, side: str) -> list[int]:
    """Return the value that a hook on the module itself would be given."""
    if side == "before":
        return [] if call.first is None else [call.first]
    return list(call.outputs) if call.single else []


def _reach(places: Places, call: Call, value: int, side: str, *, shared: bool) -> Location | None:
    graph = places.graph
    if shared:
        return (reader(graph, value, 0) if side == "after" else None) or locate(graph, value, 0)
    if side == "after":
        return locate(graph, value, call.index)
    inside = [c for c in places.trace.calls if places.trace.inside(c.index, call.index) and usable(graph, c)]
    first = next((c for c in inside if c.first == value), None)
    return Location(first.path, "before", value) if first else None


def _ended(places: Places) -> str:
    return f", as far as it could be traced ({places.trace.ended})" if places.trace.ended else ""


def _no_map(places: Places, call: Call, side: str) -> tuple[str, str]:
    shapes = [places.trace.shapes[value] for value in (call.inputs if side == "before" else call.outputs)]
    what = "input" if side == "before" else "output"
    axes = {1: "B, C, L", 2: "B, C, H, W", 3: "B, C, D, H, W"}[places.graph.dims]
    return (
        f"{call.path} ({type(call.module).__name__}): its {what} is not a feature map ({axes}) of more than one "
        f"position; its tensors have the shapes {', '.join(map(str, shapes)) or 'none'}",
        "name a module that returns a map",
    )
