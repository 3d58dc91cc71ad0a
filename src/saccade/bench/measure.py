"""Time and memory of one mechanism in four forms: its authors' and ours, each eager and compiled.

All forms take turns in one process, so a slow machine slows them alike: quote the ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.bench.authors import AsAuthors
from saccade.bench.sizes import Case
from saccade.catalog import create
from saccade.comparison.costs import height_of, now
from saccade.devices import has_compiler

FORMS = ("authors", "authors compiled", "saccade", "saccade compiled")
MODES = ("forward", "forward_backward")
_GAMMA, _WARM_UP = 0.7, 2


@dataclass(frozen=True)
class Setting:
    """Settings of a measurement.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        dtype: Type of parameters and feature maps.
        channels_last: If True, maps lie channels last in memory.
        rounds: Number of rounds over all forms, after the warm-up.
        compiled: If True, the compiled forms are measured too.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    rounds: int = 7
    compiled: bool = True


def why_not_compiled(setting: Setting) -> str | None:
    """Return the reason why compiled forms are not measured; None if they are."""
    if not setting.compiled:
        return "not requested"
    if not has_compiler(setting.device):
        return "no compiler"
    return None


def measure(case: Case, setting: Setting, on_progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure one row of results.

    Returns:
        For each mode and form ``{"ms": median, "ratio": median of the authors' time divided by it, "spread": [low,
        high], "peak_mib": memory above input, parameters and incoming gradient}``, or None if it was not measured.
    """
    torch.manual_seed(0)
    module = _module(case, setting)
    x = torch.randn(case.shape, device=setting.device, dtype=setting.dtype).relu_()
    if setting.channels_last and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    forms: dict[str, nn.Module] = {"authors": AsAuthors(case.mechanism, module), "saccade": module}
    if why_not_compiled(setting) is None:
        torch._dynamo.reset()
        for name, form in list(forms.items()):
            forms[f"{name} compiled"] = torch.compile(form)  # type: ignore[assignment]
    results: dict[str, Any] = {"name": case.name, "mechanism": case.mechanism, "options": dict(case.options)}
    results["without"] = list(case.without)
    results["shape"] = list(case.shape)
    for mode in MODES:
        steps = {name: _step(mode, form, module, x) for name, form in forms.items()}
        times = _in_turns(steps, setting, lambda what, mode=mode: on_progress(f"{case.name}, {mode}: {what}"))  # type: ignore[misc]
        peaks = {name: height_of(step, setting.device) for name, step in steps.items()}
        results[mode] = {name: _summary(times, peaks, name) if name in steps else None for name in FORMS}
    return results


def growth(case: Case, sides: tuple[int, ...], setting: Setting) -> dict[str, list[list[float]]]:
    """Measure memory of forward and backward against the number of positions, authors' and ours: [[N, MiB], ...]."""
    found: dict[str, list[list[float]]] = {"authors": [], "saccade": []}
    module = _module(case, setting)
    for side in sides:
        x = torch.randn(1, case.shape[1], side, side, device=setting.device, dtype=setting.dtype)
        for name, form in (("authors", AsAuthors(case.mechanism, module)), ("saccade", module)):
            step = _step("forward_backward", form, module, x)
            found[name].append([side * side, height_of(step, setting.device)])
    return found


def _module(case: Case, setting: Setting) -> nn.Module:
    """Create the module with no parameter at zero, so that the attention path counts."""
    module = create(case.mechanism, case.shape[1], **case.options)
    for layer in case.without:
        setattr(module, layer, nn.Identity())
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.rpartition(".")[2] == "gamma":
                parameter.fill_(_GAMMA)
            elif not parameter.any():
                parameter.normal_(std=0.01)
    return module.to(setting.device, setting.dtype)


def _step(mode: str, form: nn.Module, module: nn.Module, x: Tensor) -> Callable[[], None]:
    if mode == "forward":

        def forward() -> None:
            module.eval()
            with torch.no_grad():
                form(x)

        return forward
    leaf = x.clone().requires_grad_()
    with torch.no_grad():
        module.train()
        grad = torch.randn_like(x)

    def both() -> None:
        module.train()
        module.zero_grad(set_to_none=True)
        leaf.grad = None
        form(leaf).backward(grad)

    return both


def _in_turns(
    steps: Mapping[str, Callable[[], None]], setting: Setting, on_progress: Callable[[str], None]
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(_WARM_UP + setting.rounds):
        on_progress("warming up" if turn < _WARM_UP else f"round {turn - _WARM_UP + 1} of {setting.rounds}")
        for name, step in steps.items():
            started = now(setting.device)
            step()
            times[name].append(1000 * (now(setting.device) - started))
    return {name: measured[_WARM_UP:] for name, measured in times.items()}


def _summary(times: Mapping[str, list[float]], peaks: Mapping[str, float], name: str) -> dict[str, Any]:
    ratios = sorted(theirs / ours for theirs, ours in zip(times["authors"], times[name], strict=True))
    cut = len(ratios) // 4
    return {
        "ms": statistics.median(times[name]),
        "ratio": statistics.median(ratios),
        "spread": [ratios[cut], ratios[-1 - cut]],
        "peak_mib": peaks[name],
        "memory_ratio": peaks["authors"] / peaks[name] if peaks[name] else None,
    }


def machine_limits(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Measure the machine's limits for floors: GFLOP/s of a convolution, GB/s of a copy out of the cache."""
    side, channels = 48, 512
    x = torch.randn(1, channels, side, side, device=device, dtype=dtype)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    source = torch.randn(32 << 20, device=device)
    target = torch.empty_like(source)
    products = 2 * 9 * channels**2 * side**2
    with torch.no_grad():
        return {
            "gflops": products / _fastest(lambda: torch.nn.functional.conv2d(x, weight, padding=1), device) / 1e9,
            "gb_per_s": 2 * source.nbytes / _fastest(lambda: target.copy_(source), device) / 1e9,
        }


def _fastest(action: Callable[[], Any], device: torch.device) -> float:
    durations = []
    for _ in range(5):
        started = now(device)
        action()
        durations.append(now(device) - started)
    return min(durations)


def stamp() -> str:
    """Return the time of day in UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime())
