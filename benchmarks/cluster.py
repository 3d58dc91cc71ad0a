"""The price of a cluster: 200 cheap runs by the pool of this machine, and by Ray on a cluster of one node on it.

``python -m benchmarks.cluster [--runs 200 --jobs 2]``: each run does a few steps on the smallest network, so that what
is measured is what comes on top of the training: sending jobs, events, results. The time counts from the first job to
the last, after the workers have loaded torch, as a long comparison does once for each worker.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from tests.comparison import folders

from saccade.comparison.arms import resolve_arms
from saccade.comparison.backends.base import Backend
from saccade.comparison.backends.local import Pool
from saccade.comparison.compare import _prepare
from saccade.comparison.options import CompareOptions
from saccade.comparison.settings import Settings


def prepared(folder: Path, data: Path, runs: int, steps: int) -> list[dict[str, Any]]:
    """Make the folder of an experiment with that number of runs, and return its jobs."""
    options = CompareOptions(
        data=str(data), mechanisms="none,se", backbone="test_resnet", seeds=runs // 2 + 1, steps=steps, size=32,
        batch=8, device="cpu", progress=False,
    )  # fmt: skip
    arms = resolve_arms(options.mechanisms, None, None, ())
    settings = Settings.decide(options, tuple(arm.label for arm in arms), "cpu")
    folder.mkdir()
    _prepare(settings, arms, folder, overwrite=False, shown=False)
    return [{"job": "run", "arm": number % 2, "index": number // 2} for number in range(runs + 2)]


def seconds(backend: Backend, jobs: list[dict[str, Any]], first: int) -> float:
    """The time of all jobs but the first, which only load the workers."""
    with backend as pool:
        pool.run(jobs[:first], lambda event: None)
        started = time.perf_counter()
        pool.run(jobs[first:], lambda event: None)
        return time.perf_counter() - started


@contextlib.contextmanager
def one_node(jobs: int) -> Iterator[str]:
    """A cluster of this machine alone, with that number of cores."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (as the workers of the pool)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": jobs, "include_dashboard": False})
    try:
        yield made.address
    finally:
        made.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    from saccade.comparison.backends.ray import RayCluster, connected

    found: dict[str, list[float]] = {"local": [], "ray": []}
    with tempfile.TemporaryDirectory(prefix="saccade-cluster-") as scratch, one_node(given.jobs) as address:
        data = folders.classification(Path(scratch) / "data")
        for turn in range(given.rounds):
            for name in found:
                folder = Path(scratch) / f"{name}-{turn}"
                jobs = prepared(folder, data, given.runs, given.steps)
                with contextlib.ExitStack() as stack:
                    if name == "ray":
                        stack.enter_context(connected(address))
                    made = Pool(folder, ["cpu"] * given.jobs) if name == "local" else RayCluster(folder)
                    found[name].append(seconds(made, jobs, given.jobs))
                print(f"{name}: {given.runs} runs in {found[name][-1]:.2f} s", flush=True)
    local, ray = (statistics.median(found[name]) for name in ("local", "ray"))
    each = 1000 * (ray - local) * given.jobs / given.runs
    print(f"local {local:.2f} s, Ray {ray:.2f} s: {100 * (ray / local - 1):+.1f}%, {each:+.1f} ms a run of each worker")


if __name__ == "__main__":
    main()
