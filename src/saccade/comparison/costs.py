"""The costs of each arm: exact parameters, multiply-adds, latency in paired rounds, peak memory of a training step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from saccade.comparison.experiment import Experiment
from saccade.data import Arrays
from saccade.tasks.base import mean_loss
from saccade.tasks.trees import moved
from saccade.training.inputs import to_input
from saccade.training.sources import keys_at

LATENCY_BATCH = 1
_ROUNDS, _WARM_UP = 21, 3


def measure(experiment: Experiment, data: Arrays, device: str) -> dict[str, Any]:
    """Measure the costs of all arms, by arm name; run it alone, because concurrent work distorts the latencies."""
    place = torch.device(device)
    nets = {
        arm.name: experiment.network(arm, experiment.seed(arm, 0), data).to(place).to(memory_format=torch.channels_last)
        for arm in experiment.arms
    }
    height, width = data.val.images.shape[1:3]
    image = to_input(torch.zeros(LATENCY_BATCH, 3, height, width, dtype=torch.uint8), place)
    latencies = latency(nets, image)
    costs = {
        name: {
            "params": sum(p.numel() for p in net.parameters()),
            "macs": macs(net, image),
            "latency_ms": latencies[name],
            "peak_mib": peak_mib(net, step_of(net, data, experiment, place), place),
        }
        for name, net in nets.items()
    }
    return {"arms": costs, "macs_input": [1, 3, height, width], "threads": torch.get_num_threads()}


@torch.inference_mode()
def macs(net: nn.Module, image: torch.Tensor) -> int:
    """Count the multiply-adds of one image in convolutions and matrix products: half of the FLOPs that torch counts."""
    net.eval()
    with FlopCounterMode(display=False) as counter:
        net(image)
    return int(counter.get_total_flops()) // 2 // len(image)


@torch.inference_mode()
def latency(nets: dict[str, nn.Module], image: torch.Tensor) -> dict[str, float]:
    """Measure the median time of a forward pass in ms; all networks take turns, so a busy machine slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in nets}
    for net in nets.values():
        net.eval()
    for _ in range(_WARM_UP + _ROUNDS):
        for name, net in nets.items():
            started = now(image.device)
            net(image)
            times[name].append(1000 * (now(image.device) - started))
    return {name: statistics.median(values[_WARM_UP:]) for name, values in times.items()}


def step_of(net: nn.Module, data: Arrays, experiment: Experiment, device: torch.device) -> Callable[[], None]:
    """Return a function that does one training step up to the gradients, on the first batch of a run."""
    task = experiment.fitted(net, data)
    recipe = experiment.recipe(0)
    images, targets = experiment.source(data).batch(keys_at(recipe, 0, len(data.train.images)), recipe.seed)
    x, targets = to_input(images, device, task.statistics), moved(targets, device)

    def step() -> None:
        net.zero_grad(set_to_none=True)
        mean_loss(task, net(x), targets).backward()  # type: ignore[no-untyped-call]

    return step


def peak_mib(net: nn.Module, step: Callable[[], None], device: torch.device) -> float:
    """Measure the peak memory of one training step (forward, loss, backward) in MiB, above network and images.

    On a CPU it is read from the memory events of the profiler, on CUDA from the allocator.
    """
    net.train()
    if device.type == "cuda":
        step()
        net.zero_grad(set_to_none=True)
    return height_of(step, device)


def height_of(step: Callable[[], None], device: torch.device) -> float:
    """Measure the peak memory of a function in MiB, above what is allocated before the call."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    return _profiled_peak(step)


def _profiled_peak(step: Callable[[], None]) -> float:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = height = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        height = max(height, live)
    return height / 2**20


def now(device: torch.device) -> float:
    """Wait for `device` to finish its work, and return the time of a clock in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
