"""The layer that mixes a mechanism into a Keras network, and the search for such layers in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
from keras import ops

from saccade.keras.watching import watch

OPENING = 0.1
STEEPNESS = 1e4


@keras.saving.register_keras_serializable(package="saccade")
class Attachment(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    r"""A mechanism A at a place of a network, the layer of :class:`saccade.insertion.Attachment`'s equation.

    .. math:: y = x + f\,(A(x) - x) \quad\text{or, for a branch added to the map,}\quad y = x + f\,A(x)

    f is made of the weight `g`, which starts at 0: the map then passes unchanged as long as A(x) is finite. Without
    `g`, :math:`y = A(x)` or :math:`y = x + A(x)`.

    Args:
        mechanism: A, a layer for feature maps of one shape.
        place: The place and the mechanism as a plan states them, for those who read a file.
        wrapped: If True, there is a `g`.
        added: If True, A(x) is added to the map; otherwise it replaces the map.
        turned: If True, the network keeps channels where the mechanism does not: the axes are exchanged around it.
        layer: Arguments of every Keras layer: ``name``, ``dtype``, ``trainable``.
    """

    def __init__(
        self,
        mechanism: keras.layers.Layer,
        *,
        place: Mapping[str, Any],
        wrapped: bool,
        added: bool = False,
        turned: bool = False,
        **layer: Any,
    ) -> None:
        super().__init__(**{**layer, "autocast": False})
        self.mechanism = mechanism
        self.wrapped, self.added, self.turned = wrapped, added, turned
        self._place = dict(place)
        self.supports_masking = True

    @property
    def place(self) -> Mapping[str, Any]:
        """Name, side and kind of its place, its channels, and the mechanism as written."""
        return dict(self._place)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make g, and the mechanism for maps of this shape."""
        if not self.mechanism.built:
            shape = tuple(input_shape)
            self.mechanism.build(_axes_exchanged(shape, self._first) if self.turned else shape)
        if self.wrapped and hasattr(self.mechanism, "start_open"):
            self.mechanism.start_open()
        self.g = self.add_weight(shape=(1,), initializer="zeros", name="g") if self.wrapped else None

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Return y, of the dtype of x."""
        read = _turn(x, self._first) if self.turned else x
        watch(self, x, bool(training))
        y = self.mechanism(read, training=training) if self._takes_training else self.mechanism(read)
        y = ops.cast(_turn(y, not self._first) if self.turned else y, x.dtype)
        factor = self.factor()
        if factor is None:
            return x + y if self.added else y
        return x + ops.cast(factor, x.dtype) * (y if self.added else y - x)

    def factor(self) -> Any:
        """Return f, of shape (1,); None if the mechanism is not mixed in by a factor."""
        if self.g is None:
            return None
        g = ops.convert_to_tensor(self.g)
        still = ops.stop_gradient(g)
        return g + (OPENING * ops.tanh(still * STEEPNESS) - ops.clip(still, -OPENING, OPENING))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        own = {"place": self.place, "wrapped": self.wrapped, "added": self.added, "turned": self.turned}
        return {**config, "mechanism": keras.saving.serialize_keras_object(self.mechanism), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Attachment:
        config = dict(config)
        mechanism = keras.saving.deserialize_keras_object(config.pop("mechanism"))
        return cls(mechanism, **config)

    @property
    def _first(self) -> bool:
        """True if the network keeps channels first."""
        return self._place.get("layout") == "NCHW"

    @property
    def _takes_training(self) -> bool:
        return bool(getattr(self.mechanism, "_call_has_training_arg", False))


def attachments(model: keras.Model) -> dict[str, Attachment]:
    """Return the attachments in a Keras network, those of its sub-models included, by the name of their layer.

    Example:
        >>> import keras, saccade.keras
        >>> image = keras.Input((16, 16, 3))
        >>> x = keras.layers.Conv2D(8, 3, name="conv")(image)
        >>> model = saccade.keras.insert(keras.Model(image, keras.layers.Conv2D(8, 3)(x)), "se", at="conv")
        >>> list(saccade.keras.attachments(model))
        ['conv_saccade']
    """
    return dict(_walk(model, ""))


def _walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, Attachment]]:
    for layer in model.layers:
        if isinstance(layer, Attachment):
            yield f"{prefix}{layer.name}", layer
        elif isinstance(layer, keras.Model):
            yield from _walk(layer, f"{prefix}{layer.name}/")


def _turn(x: Any, first: bool) -> Any:
    return ops.moveaxis(x, 1, -1) if first else ops.moveaxis(x, -1, 1)


def _axes_exchanged(shape: tuple[int | None, ...], first: bool) -> tuple[int | None, ...]:
    return (shape[0], *shape[2:], shape[1]) if first else (shape[0], shape[-1], *shape[1:-1])
