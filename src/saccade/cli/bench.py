"""``saccade bench``: time and memory of each mechanism next to its authors' formulation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from saccade.cli.answer import Answer, Given
from saccade.cli.options import default, within
from saccade.errors import InputError
from saccade.ranges import Whole


def bench(
    *mechanisms: Annotated[str, default("all")],
    task: Annotated[Literal["pose"] | None, default("mechanisms")] = None,
    size: Literal["small", "paper"] = "small",
    shape: Annotated[str | None, default("of the paper")] = None,
    device: str = "cpu",
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32",
    channels_last: bool = False,
    no_compile: bool = False,
    rounds: Annotated[int, within(Whole(1, 10**6))] = 7,
    threads: Annotated[int | None, default("as torch has it"), within(Whole(1, 1024))] = None,
    plot: Path | None = None,
    exported: Annotated[list[Path] | None, default("mechanisms")] = None,
    framework: Literal["torch", "keras"] = "torch",
    backend: Annotated[Literal["tensorflow", "jax", "torch"] | None, default("that of Keras")] = None,
    settings: Given,
) -> Answer:
    """Measure the time and memory of mechanisms against the form in which their authors' code computes them.

    All forms take turns in one process; the numbers to quote are the ratios. A small run takes about a minute without
    the compiled forms.

    Args:
        mechanisms: Names of mechanisms, or of rows such as `"non_local dot product"`.
        task: `pose`: measure the codecs of key points instead (decoding, targets, warps), next to a plain loop over
            persons and joints.
        size: Sizes of the feature maps: `paper`, as in the papers' networks (many minutes), or `small`, a quarter of
            the channels and half of each side.
        shape: One shape for all mechanisms instead, such as `1,512,64,64`.
        device: Device to run on: `cpu` or `cuda`.
        dtype: Data type of parameters and feature maps.
        channels_last: Lay feature maps channels last in memory.
        no_compile: Leave the compiled forms out.
        rounds: Number of measured rounds of all forms, after two to warm up.
        threads: Number of threads of the CPU.
        plot: File (PNG) for a drawing of memory against the number of positions, for position and channel attention.
        exported: File of `saccade export` to measure in its runtime, next to others; may be given several times.
        framework: `keras`: measure the Keras layers, next to the authors' form in Keras.
        backend: Backend of Keras: `tensorflow`, `jax` or `torch`.
    """
    if framework == "keras":
        given: dict[str, object] = {
            "--task": task,
            "--shape": shape,
            "--plot": plot,
            "--exported": exported,
            "--threads": threads,
        }
        given |= {"--channels-last": channels_last, "--no-compile": no_compile}
        unused = [name for name, value in given.items() if value] + ["--dtype"] * (dtype != "float32")
        unused += ["--device"] * (device != "cpu")
        if unused:
            raise InputError(f"bench: `--framework keras` does not use {', '.join(unused)}", "leave them out")
        return _keras(mechanisms, backend, size, rounds, settings)
    if backend is not None:
        raise InputError("bench: `--backend` is one of Keras's", "give --framework keras too")
    import torch

    from saccade.bench.measure import Setting, machine_limits, measure, why_not_compiled
    from saccade.bench.results import described, document, draw_growth, table
    from saccade.bench.sizes import cases
    from saccade.devices import find_device
    from saccade.outputs import Outputs

    if exported:
        return _exported(exported, mechanisms, _shape(shape), rounds, threads)
    where = find_device(device, ("cpu", "cuda"))
    if task is not None:
        given = {"mechanisms": mechanisms, "--shape": shape, "--plot": plot, "--channels-last": channels_last}
        unused = [name for name, value in given.items() if value] + ["--dtype"] * (dtype != "float32")
        if unused:
            raise InputError(f"bench: `--task {task}` does not use {', '.join(unused)}", "leave them out")
        return _codecs(where, rounds, threads or 1, settings)
    if plot is not None:
        Outputs(plot.parent).check([plot])
    chosen = cases(mechanisms, size, _shape(shape))
    if threads is not None:
        torch.set_num_threads(threads)
    setting = Setting(where, getattr(torch, dtype), channels_last, rounds, compiled=not no_compile)
    limits = machine_limits(setting.device, setting.dtype)
    with _progress(settings.quiet or settings.json) as progress:
        rows = []
        for done, case in enumerate(chosen):
            say = partial(progress, done, len(chosen))
            say(case.name)
            rows.append(measure(case, setting, say))
    found = document(rows, described(setting, size if shape is None else shape), limits, why_not_compiled(setting))
    if plot is not None:
        draw_growth(chosen, setting, plot)
    return Answer(found, table(found))


def _keras(mechanisms: tuple[str, ...], backend: str | None, size: str, rounds: int, settings: Given) -> Answer:
    from saccade.bench.keras import measure, table

    with _progress(settings.quiet or settings.json) as progress:
        found = measure(mechanisms, backend, size, rounds, progress)
    return Answer(found, table(found))


def _codecs(device: Any, rounds: int, threads: int, settings: Given) -> Answer:
    import torch

    from saccade.bench.pose import measure, table

    torch.set_num_threads(threads)
    with _progress(settings.quiet or settings.json) as progress:
        found = measure(device, rounds, progress)
    return Answer(found, table(found))


def _exported(
    files: list[Path], mechanisms: tuple[str, ...], shape: tuple[int, ...] | None, rounds: int, threads: int | None
) -> Answer:
    import torch

    from saccade.exporting.timing import as_text, side_by_side

    if mechanisms:
        raise InputError(f"bench: --exported measures files, not {', '.join(mechanisms)}", "leave the mechanisms out")
    if shape is not None and (len(shape) != 4 or shape[1] != 3):
        raise InputError("bench: images have a shape such as 1,3,224,224", "give --shape so, or leave it out")
    if threads is not None:
        torch.set_num_threads(threads)
    found = side_by_side(files, rounds, shape)
    return Answer(found, as_text(found))


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not 3 <= len(parts) <= 5 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"bench: `--shape` must be like 1,512,64,64; received {text!r}")
    return tuple(map(int, parts))


def _progress(quiet: bool) -> Any:
    """A context that gives a function (done, total, what)."""
    from contextlib import contextmanager

    @contextmanager
    def silent() -> Any:
        yield lambda done, total, what: None

    @contextmanager
    def shown() -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("starting")
            yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)

    return silent() if quiet else shown()
