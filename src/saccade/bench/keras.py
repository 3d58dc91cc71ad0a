"""``saccade bench --framework keras``: our Keras layers next to their authors' form in Keras, on one backend.

The authors' form uses the same weights and the same operations of Keras: tables over all pairs of positions are stored,
and values that are pooled away are computed. Both forms take turns in one process, as a compiled program where the
backend has one (``tf.function``, ``jax.jit``). Memory is resident memory above that before the step.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saccade.errors import InputError, near, require

if TYPE_CHECKING:
    from rich.table import Table

BACKENDS = ("tensorflow", "jax", "torch")
MODES = ("forward", "forward_backward")
_DOT = {"pairwise": "dot_product", "sub_sample": False}
CASES: Mapping[str, tuple[str, tuple[int, ...], Mapping[str, Any]]] = {
    "pam": ("pam", (1, 64, 64, 512), {}),
    "sagan": ("sagan", (16, 32, 32, 64), {"variant": "popular"}),
    "sagan official": ("sagan", (1, 64, 64, 512), {}),
    "non_local gaussian": ("non_local", (1, 64, 64, 512), {"sub_sample": False}),
    "non_local dot product": ("non_local", (1, 64, 64, 512), _DOT),
    "psa": ("psa", (1, 96, 96, 512), {}),
    "dual": ("dual", (1, 64, 64, 512), {}),
    "cs": ("cs", (1, 64, 64, 512), {}),
}
"""Cases: the mechanism, the shape (B, H, W, C) of its input, and its options."""
_WARM_UP = 1


def measure(
    names: Sequence[str], backend: str | None, size: str, rounds: int, on_progress: Callable[[int, int, str], None]
) -> dict[str, Any]:
    """Measure cases on a backend.

    Args:
        names: Names of cases or of mechanisms; empty means all.
        backend: ``"tensorflow"``, ``"jax"`` or ``"torch"``; None means the one that Keras is set to.
        size: ``"paper"``, or ``"small"``: a quarter of the channels, half of each side.
        rounds: Number of rounds over both forms, after one to warm up.
        on_progress: Called with the number of finished cases, that of all, and what runs.

    Returns:
        For each case, mode and form ``{"ms": median, "ratio": median of the authors' time divided by it, "peak_mib":
        memory, "memory_ratio": the authors' memory divided by it}``.

    Raises:
        InputError: An unknown case or backend, or Keras already runs on another one.
    """
    chosen = _chosen(names)
    used = _use(backend)
    import keras

    on_progress(0, len(chosen), chosen[0])
    prepared = [_prepare(name, _smaller(name) if size == "small" else CASES[name][1]) for name in chosen]
    _return_memory()
    peaks = [_peaks(steps) for _, steps in prepared]
    _keep_memory()
    rows = []
    for done, (row, steps) in enumerate(prepared):
        on_progress(done, len(chosen), row["name"])
        rows.append(row | _times(steps, peaks[done], rounds))
    versions = {"keras": keras.__version__, used: sys.modules[used].__version__}
    return {"schema": 1, "framework": "keras", "backend": used, "versions": versions, "size": size, "rows": rows}


def table(found: Mapping[str, Any]) -> Table:
    """Return the table for the terminal."""
    from rich.table import Table

    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    drawn = Table(
        title=versions,
        caption="Each cell: forward / forward and backward. Ratios are to the authors' form in Keras on this backend, "
        "above 1 is faster or leaner.",
    )
    for heading in (
        "case",
        "shape",
        "authors ms",
        "saccade ms",
        "ratio",
        "MiB authors",
        "MiB saccade",
        "ratio of memory",
    ):
        drawn.add_column(heading, justify="left" if heading in ("case", "shape") else "right")
    for row in found["rows"]:
        cells = [
            " / ".join(format(row[mode][form][key], shown) for mode in MODES)
            for form, key, shown in (
                ("authors", "ms", ".4g"), ("saccade", "ms", ".4g"), ("saccade", "ratio", ".2f"),
                ("authors", "peak_mib", ".4g"), ("saccade", "peak_mib", ".3g"), ("saccade", "memory_ratio", ".1f"),
            )
        ]  # fmt: skip
        drawn.add_row(row["name"], "x".join(map(str, row["shape"])), *cells)
    return drawn


def _chosen(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        own = [case for case, (mechanism, _, _) in CASES.items() if name in (case, mechanism)]
        if not own:
            raise InputError(f"bench: no case {name!r} of a Keras layer", near(name, CASES))
        found += [case for case in own if case not in found]
    return found or list(CASES)


def _use(backend: str | None) -> str:
    """Make Keras run on the backend; return its name."""
    if backend is not None:
        if backend not in BACKENDS:
            raise InputError(f"bench: unknown backend {backend!r}", f"one of {', '.join(BACKENDS)}")
        if "keras" not in sys.modules:
            os.environ["KERAS_BACKEND"] = backend
    keras = require("keras", extra="keras")
    used = str(keras.backend.backend())
    if backend not in (None, used):
        raise InputError(
            f"bench: Keras already runs on {used} in this process, not on {backend}",
            f"start the process with KERAS_BACKEND={backend}",
        )
    return used


def _smaller(name: str) -> tuple[int, ...]:
    batch, height, width, channels = CASES[name][1]
    return batch, height // 2, width // 2, max(32, channels // 4)


_Steps = dict[str, dict[str, Callable[[], None]]]
"""Actions by mode and form."""


def _prepare(name: str, shape: tuple[int, ...]) -> tuple[dict[str, Any], _Steps]:
    """Return what identifies a case, and its steps."""
    from keras import ops

    from saccade.keras import layer

    mechanism, _, options = CASES[name]
    random = np.random.default_rng(0)
    made = layer(mechanism, **options, data_format="channels_last")
    made.build((None, *shape[1:]))
    for variable in made.variables:  # no weight at 0, so that the attention counts
        if not np.any(ops.convert_to_numpy(variable.value)):
            variable.assign(np.full(variable.shape, 0.7 if variable.name == "gamma" else 0.01))
    x, over = (random.normal(size=shape).astype("float32") for _ in range(2))
    forms: dict[str, Callable[[Any], Any]] = {"authors": _as_authors(mechanism, made), "saccade": made}
    row: dict[str, Any] = {"name": name, "mechanism": mechanism, "options": dict(options), "shape": list(shape)}
    steps = {
        mode: {form: _step(made, function, x, over if mode != "forward" else None) for form, function in forms.items()}
        for mode in MODES
    }
    return row, steps


def _peaks(steps: _Steps) -> dict[str, dict[str, float]]:
    """Return the memory of every step, which has run before: a first one compiles."""
    for own in steps.values():
        for step in own.values():
            step()
    return {mode: {form: _peak(step) for form, step in own.items()} for mode, own in steps.items()}


def _times(steps: _Steps, peaks: Mapping[str, Mapping[str, float]], rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for mode, own in steps.items():
        times: dict[str, list[float]] = {form: [] for form in own}
        for _ in range(_WARM_UP + rounds):
            for form, step in own.items():
                started = time.perf_counter()
                step()
                times[form].append(1000 * (time.perf_counter() - started))
        authors, memory = times["authors"][_WARM_UP:], peaks[mode]
        found[mode] = {
            form: {
                "ms": statistics.median(taken[_WARM_UP:]),
                "ratio": statistics.median(a / b for a, b in zip(authors, taken[_WARM_UP:], strict=True)),
                "peak_mib": memory[form],
                "memory_ratio": memory["authors"] / max(memory[form], 1e-3),
            }
            for form, taken in times.items()
        }
    return found


def _as_authors(mechanism: str, made: Any) -> Callable[[Any], Any]:
    """Return the authors' form of a layer, with its weights."""
    from saccade.keras import definitions

    def form(x: Any) -> Any:
        if mechanism == "psa":
            return _psa(made, x)
        with definitions():
            return made(x)

    return form


def _psa(made: Any, x: Any) -> Any:
    """DeLightCMU/PSA, parallel: values of all positions, and two products with the map."""
    from keras import ops

    batch, height, width, channels = x.shape
    positions = ops.reshape(x, (batch, height * width, channels))
    one, two = made.channel, made.spatial
    weights = ops.transpose(ops.softmax(one.query(positions), axis=1), (0, 2, 1))
    context = ops.matmul(weights, one.value(positions))
    of_channels = x * ops.reshape(ops.sigmoid(one.up[0](context)), (batch, 1, 1, channels))
    query = ops.mean(two.query(positions), axis=1, keepdims=True)
    logits = ops.matmul(query, ops.transpose(two.value(positions), (0, 2, 1)))
    gate = ops.sigmoid(ops.softmax(logits, axis=-1))
    return of_channels + x * ops.reshape(gate, (batch, height, width, 1))


def _step(made: Any, function: Callable[[Any], Any], x: np.ndarray, over: np.ndarray | None) -> Callable[[], None]:
    """Return an action that computes the outputs; with `over`, their gradient, also the gradients of all weights."""
    import keras

    return _STEPS[keras.backend.backend()](made, function, x, over)


def _in_torch(made: Any, function: Callable[[Any], Any], x: np.ndarray, over: np.ndarray | None) -> Callable[[], None]:
    import torch

    leaf = torch.from_numpy(x)
    weights = [variable.value for variable in made.trainable_variables]

    def forward() -> None:
        with torch.no_grad():
            function(leaf)

    def both() -> None:
        given = leaf.detach().requires_grad_()
        torch.autograd.grad(function(given), [given, *weights], torch.from_numpy(over), allow_unused=True)

    return forward if over is None else both


def _in_tensorflow(
    made: Any, function: Callable[[Any], Any], x: np.ndarray, over: np.ndarray | None
) -> Callable[[], None]:
    import tensorflow as tf

    weights = [variable.value for variable in made.trainable_variables]
    leaf = tf.constant(x)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def forward(given: Any) -> Any:
        return function(given)

    @tf.function  # type: ignore[untyped-decorator]
    def both(given: Any, cotangent: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(given)
            found = function(given)
        return tape.gradient(found, [given, *weights], cotangent)

    if over is None:
        return lambda: forward(leaf)
    cotangent = tf.constant(over)
    return lambda: both(leaf, cotangent)


def _in_jax(made: Any, function: Callable[[Any], Any], x: np.ndarray, over: np.ndarray | None) -> Callable[[], None]:
    import jax
    import keras

    weights = made.trainable_variables

    def stateless(values: Any, given: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return function(given)

    def gradients(values: Any, given: Any, cotangent: Any) -> Any:
        return jax.vjp(stateless, values, given)[1](cotangent)

    leaf, values = jax.numpy.asarray(x), [variable.value for variable in weights]
    forward, both = jax.jit(stateless), jax.jit(gradients)
    if over is None:
        return lambda: jax.block_until_ready(forward(values, leaf))
    cotangent = jax.numpy.asarray(over)
    return lambda: jax.block_until_ready(both(values, leaf, cotangent))


_STEPS = {"torch": _in_torch, "tensorflow": _in_tensorflow, "jax": _in_jax}


def _return_memory() -> None:
    """Make the allocator give large blocks back at once, so that resident memory tells what is in use."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD


def _keep_memory() -> None:
    """Let the allocator reuse large blocks, as it comes to do by itself: asking the system each time takes longer."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-3, 1 << 25)
        ctypes.CDLL(None).mallopt(-1, 1 << 26)  # M_TRIM_THRESHOLD


def _peak(step: Callable[[], None]) -> float:
    """Return the largest resident memory during a step above that before it, in MiB; NaN if the system cannot tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return float("nan")
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5", encoding="ascii")
    before = _kib(status, "VmRSS")
    step()
    return max(0.0, _kib(status, "VmHWM") - before) / 1024


def _kib(status: Path, name: str) -> float:
    (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(f"{name}:"))
    return float(line.split()[1])
