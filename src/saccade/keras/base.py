"""Base of every Keras mechanism: a function of a feature map that can also report its attention."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import keras
from keras import ops

from saccade.catalog.table import CATALOG
from saccade.errors import InputError
from saccade.keras.watching import watch
from saccade.mechanisms.rules import choose

_AXES = {1: "T", 2: "H, W", 3: "T, H, W"}


class Mechanism(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A feature map in, a feature map of the same shape out; the mirror of the PyTorch mechanism of the same name.

    Subclasses build the sublayers of C channels in `assemble` and compute in `compute`, both for channels last. The
    views are those of :class:`saccade.mechanisms.base.Mechanism`, in the same shapes.

    Attributes:
        key: Its name in the catalog.
        label: Prefix of its error messages.
        options: Its options as they were given.
        channels: C; None until it is built.
        dims: Number of axes of positions.
        data_format: ``"channels_last"`` or ``"channels_first"``.
    """

    key: ClassVar[str]
    label: ClassVar[str]

    def __init__(
        self, options: Mapping[str, Any], data_format: str | None, layer: Mapping[str, Any], dims: int = 2
    ) -> None:
        try:
            super().__init__(**layer)
        except ValueError as cause:
            raise InputError(
                f"{self.label}: {cause}", f"options: {', '.join(self.option_names()) or 'none of its own'}"
            ) from cause
        has_dims = "dims" in self.option_names()
        choose(self.label, "dims", dims, (1, 2, 3) if has_dims else (2,))
        self.dims = dims
        options = {**options, "dims": dims} if has_dims else options
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        choose(self.label, "data_format", self.data_format, ("channels_last", "channels_first"))
        self.options = MappingProxyType({name: _frozen(value) for name, value in options.items()})
        self.channels: Any = None

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return the names of its options."""
        return tuple(CATALOG[cls.key].options or ())

    @classmethod
    def options_of(cls, module: Any) -> dict[str, Any]:
        """Return the options of a PyTorch module of this mechanism that neither its attributes nor its shapes state."""
        return {}

    def torch_options(self) -> dict[str, Any]:
        """Return the options from which the PyTorch module is made."""
        return dict(self.options)

    @property
    def starts_as_identity(self) -> bool:
        """True if a new layer returns its input exactly (a branch that starts at zero)."""
        return False

    def start_open(self) -> None:
        """Give the weights that start at zero the value they have in a layer of its own; insertion calls it."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the sublayers for maps of this shape, of which only the channels count."""
        self.channels = self._channels_of(tuple(input_shape))
        self.assemble(self.channels)

    def assemble(self, channels: int) -> None:
        """Make the sublayers for C channels."""

    def compute(self, x: Any, training: bool) -> Any:
        """Compute the output, of a map with channels last."""
        raise NotImplementedError

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Compute the output, in the layout of `x`."""
        watch(self, x, bool(training))
        return self.back(self.compute(self.read(x, bool(training)), bool(training)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options, "data_format": self.data_format}

    def read(self, x: Any, training: bool = False) -> Any:
        """Check a map, and return it with channels last."""
        channels = self._channels_of(tuple(x.shape))
        if self.channels is not None and channels != self.channels:
            raise self._refused(tuple(x.shape))
        if self.data_format == "channels_first":
            x = ops.moveaxis(x, 1, -1)
        self.check(tuple(x.shape), training)
        return x

    def back(self, y: Any) -> Any:
        """Return a map with channels last in this layer's layout."""
        return ops.moveaxis(y, -1, 1) if self.data_format == "channels_first" else y

    def check(self, shape: tuple[int | None, ...], training: bool) -> None:
        """Refuse a shape, (B, H, W, C), that the mechanism cannot take; unknown sizes are None."""

    def part(self, made: type[Mechanism], name: str) -> Mechanism:
        """Return a built mechanism that is a part of this one, for maps with channels last."""
        dims = {"dims": self.dims} if "dims" in made.option_names() else {}
        options: dict[str, Any] = {**dims, "data_format": "channels_last", "name": name, "dtype": self.dtype_policy}
        layer: Mechanism = made(**options)
        layer.build((None, *(None,) * self.dims, self.channels))
        return layer

    def view(self, x: Any) -> Any:
        """Return a map for a view: a tensor of this layer's precision, checked, with channels last."""
        if not self.built:
            self.build(tuple(x.shape))
        return self.read(ops.convert_to_tensor(x, dtype=self.compute_dtype))

    def _channels_of(self, shape: tuple[int | None, ...]) -> int:
        """Return the channels of a shape in this layer's layout."""
        if len(shape) != self.dims + 2:
            raise self._refused(shape)
        channels = shape[1 if self.data_format == "channels_first" else -1]
        if channels is None:
            raise InputError(
                f"{self.label}: the number of channels must be known to build it; received shape {shape}",
                "give the input a shape with its channels, keras.Input((None, None, 64))",
            )
        return channels

    def _refused(self, shape: tuple[int | None, ...]) -> InputError:
        count = "C" if self.channels is None else self.channels
        axes = _AXES[self.dims]
        expected = f"(B, {count}, {axes})" if self.data_format == "channels_first" else f"(B, {axes}, {count})"
        return InputError(
            f"{self.label}: expected a feature map {expected}, {self.data_format}; received shape {shape}",
            "make the mechanism for the channels, the axes and the data_format of the map it is to read",
        )


def _frozen(value: Any) -> Any:
    """Return lists, as those of a file, as tuples."""
    return tuple(value) if isinstance(value, list) else value
