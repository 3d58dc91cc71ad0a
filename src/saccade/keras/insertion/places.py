"""Places of Keras networks: the same rules as for PyTorch, on names of layers joined by ``/``."""

from __future__ import annotations

import math

from saccade.errors import InputError
from saccade.insertion.locate import Location
from saccade.insertion.names import expression, near_names
from saccade.insertion.places import Place, Places
from saccade.insertion.trace import Call, Trace


class LayerPlaces(Places):
    """All places of a traced Keras network.

    Args:
        trace: The trace.
        within: A glob of names of layers; only places in these parts are used.
    """

    def __init__(self, trace: Trace, within: str | None = None) -> None:
        self._of_layout = {"NHWC": 1, "NCHW": 2}
        super().__init__(trace, within)

    def matching(self, pattern: str, *, option: str = "within", words: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the layers that a glob matches, in the order of the forward pass.

        Raises:
            InputError: There is no match; the hint lists the nearest names and `words`.
        """
        names = list(dict.fromkeys(call.path for call in self.trace.calls if call.path))
        fits = expression(pattern, option, "/")
        matched = tuple(name for name in names if fits.fullmatch(name))
        if not matched:
            also = ", and it is not a kind of place" if words else ""
            raise InputError(
                f"{option}={pattern!r}: no layer of {self.trace.calls[0].module.name} has that name{also}",
                near_names(pattern, names, words, separator="/", kind="layers"),
            )
        return matched

    def includes(self, path: str) -> bool:
        """Return whether a layer lies in the parts given by ``within=``."""
        return not self.within or any(path == part or path.startswith(f"{part}/") for part in self.within)

    def place(self, kind: str, location: Location, holder: Call, depth: int = 0) -> Place:
        """Build the place at a location."""
        self._side = self._of_layout.get(self.graph.layout[location.value] or "NHWC", 1)
        return super().place(kind, location, holder, depth)

    def _stride(self, sides: list[int]) -> int:
        first = next((op.inputs[0] for op in self.trace.ops if op.convolution), self.trace.inputs[0])
        image = max(self.trace.shapes[value][self._side] for value in (first, self.trace.inputs[0]))
        return int(2 ** round(math.log2(max(1.0, image / sides[-2]))))
