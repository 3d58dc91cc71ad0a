"""Outputs, gradients and new statistics of a Keras layer, as arrays, on whichever backend this process runs."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

Arrays = list[np.ndarray]


def array(x: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x))


def differentiate(
    layer: keras.layers.Layer, function: Callable[[Any], Sequence[Any]], x: np.ndarray, cotangents: Arrays
) -> tuple[Arrays, np.ndarray, Arrays]:
    """Outputs of ``function(x)``, and the gradients of x and of the layer's trainable variables, in their order.

    Args:
        layer: Built layer that the function calls; its other variables are updated as by a call.
        function: From x to the outputs.
        x: Input.
        cotangents: Gradient of each output.
    """
    return _BACKENDS[keras.backend.backend()](layer, function, x, cotangents)


def _torch(layer: Any, function: Any, x: Any, cotangents: Any) -> Any:
    import torch

    variables = [variable.value for variable in layer.trainable_variables]
    given = torch.from_numpy(x).requires_grad_()
    outputs = list(function(given))
    over = [torch.from_numpy(cotangent) for cotangent in cotangents]
    found = torch.autograd.grad(outputs, [given, *variables], over, allow_unused=True)
    gradients = [
        np.zeros(tuple(of.shape), x.dtype) if gradient is None else gradient.numpy()
        for gradient, of in zip(found, [given, *variables], strict=True)
    ]
    return [output.detach().numpy() for output in outputs], gradients[0], gradients[1:]


def _tensorflow(layer: Any, function: Any, x: Any, cotangents: Any) -> Any:
    import tensorflow as tf

    variables = [variable.value for variable in layer.trainable_variables]
    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        outputs = list(function(given))
    gradients = tape.gradient(
        outputs, [given, *variables], [tf.constant(cotangent) for cotangent in cotangents], unconnected_gradients="zero"
    )
    return list(map(array, outputs)), array(gradients[0]), list(map(array, gradients[1:]))


def _jax(layer: Any, function: Any, x: Any, cotangents: Any) -> Any:
    import jax

    trainable, others = layer.trainable_variables, layer.non_trainable_variables

    def stateless(values: Any, given: Any) -> Any:
        state = [*zip(trainable, values, strict=True), *((variable, variable.value) for variable in others)]
        with keras.StatelessScope(state_mapping=state) as scope:
            outputs = list(function(given))
        return outputs, [scope.get_current_value(variable) for variable in others]

    @jax.jit  # as one program: one by one, every operation would be compiled for every shape
    def whole(values: Any, given: Any, over: Any) -> Any:
        outputs, backward, updated = jax.vjp(stateless, values, given, has_aux=True)
        return outputs, *backward(over), updated

    values = [variable.value for variable in trainable]
    over = [jax.numpy.asarray(cotangent) for cotangent in cotangents]
    outputs, of_variables, of_x, updated = whole(values, jax.numpy.asarray(x), over)
    for variable, value in zip(others, updated, strict=True):
        variable.assign(value)
    return list(map(array, outputs)), array(of_x), list(map(array, of_variables))


_BACKENDS = {"torch": _torch, "tensorflow": _tensorflow, "jax": _jax}
