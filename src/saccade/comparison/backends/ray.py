"""Jobs on a cluster: each is a task of Ray, done by one worker of one node, and again elsewhere if the node dies.

Ray finds a free node, and notices dead ones; saccade's own part is small. All that a job needs, and all that it makes,
is in the folder of the experiment, which every node sees: so a job that is done again resumes from its checkpoint.
Jobs and events are plain values. Events go through an actor, the mailbox, on the machine of the comparison, which also
tells running jobs to save and stop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from saccade.catalog.imports import accept, hand_on, imported, named_code
from saccade.comparison.backends.base import Backend, Event, described, failure
from saccade.comparison.mirror import NOT_HERE, Mirror, is_address
from saccade.errors import InputError, require
from saccade.files import watching, write_json
from saccade.runs.names import CACHE, CHECKPOINTS, COSTS, EXPERIMENT, LOGS, NODES, PICTURES, RUNS, START, TRIALS, TUNED
from saccade.runs.records import read_object
from saccade.version import __version__

if TYPE_CHECKING:
    from saccade.comparison.worker import Worker

PACKAGES = ("torch", "torchvision", "timm", "numpy")
"""Packages whose versions decide results, and must be those of this machine on every node."""

_ANSWER_SECONDS = 5.0  # for a connection, and again for its first answer
_LOOK_SECONDS = 300.0  # a node starts a process of Python before it answers
_TICK = 0.2
_PATIENCE = 60.0  # seconds that running jobs have to save themselves
_RETRIES = 10  # times that a job is begun again after its node has died
_CPU, _GPU = "CPU", "GPU"
_ON_ONE_NODE = ("costs", "pictures")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS_FRAME = 4


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Args:
        name: Its host name, with the beginning of its number where two have the same.
        number: Its number in Ray.
        cpus: Number of its cores.
        gpus: Number of its GPUs.
    """

    name: str
    number: str
    cpus: float
    gpus: float

    def holds(self, cpus: float, gpus: float) -> int:
        """Return the number of runs it has room for, each of `cpus` cores and `gpus` GPUs."""
        rooms = [self.cpus // cpus] + ([self.gpus // gpus] if gpus else [])
        return int(min(rooms))


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a cluster for as long as the context lasts; a connection that the caller has is used, and kept.

    Args:
        address: ``"auto"``, or host and port of the head.

    Raises:
        InputError: No cluster answers there within ten seconds, or it has other versions of Python and Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is started from here reports nothing
    ray = require("ray", extra="cluster")
    if ray.is_initialized():
        yield
        return
    place = _address(address)
    handlers = _handlers()
    try:
        _refuse_silent(place, address)
        try:
            ray.init(
                place, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False,
                _skip_env_hook=True,
            )  # fmt: skip
        except (Exception, SystemExit) as cause:  # of a head that does not answer Ray exits
            said = (str(cause) or type(cause).__name__).strip().splitlines()
            raise InputError(
                f"--cluster {address}: the cluster does not take this machine ({' '.join(said)})",
                "every node, and this machine, needs the same versions of Python and Ray",
            ) from cause
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)  # Ray has put its own in their place
        yield
    finally:
        ray.shutdown()


class RayCluster(Backend):
    """Jobs as tasks of Ray; the connection is that of :func:`connected`.

    Args:
        folder: Experiment folder, which all nodes see.
        tasks: Import paths of the tasks that this process registered.
        cpus: Number of cores, and of threads, of each run.
        gpus: Number of GPUs of each run.
        at_most: Largest number of runs at a time; None: as many as the cluster has room for.
        mirror: The folder with its copy at an address, where nodes do not see the folder itself.

    Raises:
        InputError: No node has room for a run, lacks saccade, or has other versions than this machine.
    """

    def __init__(
        self,
        folder: Path,
        tasks: Iterable[str] = (),
        *,
        cpus: int = 1,
        gpus: float = 0,
        at_most: int | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        self.ray: Any = require("ray", extra="cluster")
        self.folder, self.tasks = folder.resolve(), list(tasks)
        self.cpus, self.gpus, self.at_most, self.mirror = cpus, gpus, at_most, mirror
        self.session = os.urandom(8).hex()
        self.nodes = [node for node in _nodes(self.ray) if node.holds(cpus, gpus)]
        if not self.nodes:
            there = _listed(_nodes(self.ray))
            raise InputError(
                f"--cluster: no node has {cpus} cores and {gpus:g} GPUs for a run; there are {there}",
                "ask for less with --cpus-per-run and --gpus-per-run, or wait until the nodes have joined",
            )
        self.versions = versions()
        self._refuse_others()
        self.slots: dict[int, int] = {}
        self.pending: dict[Any, tuple[int, Event]] = {}
        self.numbered = 0
        self.environments = read_object(folder / NODES) if (folder / NODES).exists() else {}

    @property
    def jobs(self) -> int:
        room = sum(node.holds(self.cpus, self.gpus) for node in self.nodes)
        return room if self.at_most is None else min(room, self.at_most)

    @property
    def device(self) -> str:
        """Device of each run; of several GPUs Ray shows a run its own alone."""
        return "cuda" if self.gpus else "cpu"

    def __enter__(self) -> Self:
        (self.folder / LOGS).mkdir(exist_ok=True)
        self._refuse_unshared()
        if self.mirror is not None:
            self.mirror.push(CACHE)
            self.mirror.push(without=NOT_HERE)
        here = self.ray.get_runtime_context().get_node_id()
        # It may be begun anew elsewhere: what is lost then is some progress that was not shown yet.
        how = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, **self._on(here, soft=True)}
        self.mailbox = self.ray.remote(_Mailbox).options(**how).remote()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell running jobs to save and stop, and wait for them; at a second Ctrl-C all are ended at once."""
        try:
            if self.pending:
                begun = set(self.ray.get(self.mailbox.stop.remote(), timeout=_PATIENCE))
                for reference, (number, _) in self.pending.items():
                    if number not in begun:
                        self.ray.cancel(reference)
                self.ray.wait(list(self.pending), num_returns=len(self.pending), timeout=_PATIENCE)
        except self.ray.exceptions.RayError:  # the cluster itself has gone
            pass
        finally:
            for reference in self.pending:
                with contextlib.suppress(Exception):
                    self.ray.cancel(reference, force=True)
            with contextlib.suppress(Exception):
                self.ray.kill(self.mailbox)
            if self.mirror is not None:
                with contextlib.suppress(Exception):
                    self._everywhere(_tidy, str(_scratch(self.session)))

    def run(self, jobs: Iterable[Event], on_event: Callable[[Event], None]) -> None:
        waiting = deque(jobs)
        looked = 0.0
        while waiting or self.pending:
            while waiting and (self.at_most is None or len(self.pending) < self.at_most):
                self._send(waiting.popleft())
            done, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=_TICK)
            if time.monotonic() - looked > _TICK or not (waiting or len(self.pending) > len(done)):
                looked = time.monotonic()
                for number, event in self.ray.get(self.mailbox.take.remote()):
                    on_event(event | {"worker": self._slot(number)})
            for reference in done:
                self._finish(reference, on_event)
        if self.mirror is not None:
            self.mirror.pull(without=NOT_HERE)

    def _send(self, job: Event) -> None:
        self.numbered += 1
        cpus, gpus, where = float(self.cpus), self.gpus, {}
        if job["job"] in _ON_ONE_NODE:  # latencies are those of one machine that does nothing else meanwhile
            node = self._measured_on()
            cpus, where = (node.cpus if job["job"] == "costs" else cpus), self._on(node.number, soft=False)
        order = {
            "job": job, "number": self.numbered, "session": self.session, "folder": str(self.folder),
            "address": self.mirror and self.mirror.address,
            "device": self.device, "threads": 1 if job["job"] == "costs" else self.cpus, "versions": self.versions,
            "tasks": self.tasks, "named": hand_on({*named_code(), *self.tasks}),
            "names": {node.number: node.name for node in _nodes(self.ray)},
        }  # fmt: skip
        made = self.ray.remote(_work).options(num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES, **where)
        self.pending[made.remote(order, self.mailbox)] = self.numbered, job

    def _finish(self, reference: Any, on_event: Callable[[Event], None]) -> None:
        number, job = self.pending[reference]
        slot = self._slot(number)
        try:
            event: Event = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as cause:
            raise RuntimeError(f"{described(job)}: {cause.cause!r}") from cause
        except self.ray.exceptions.RayError as cause:
            said = str(cause).strip().splitlines() or [type(cause).__name__]
            times = "meanwhile" if job["job"] in _ON_ONE_NODE else f"{_RETRIES + 1} times"
            raise RuntimeError(f"{described(job)}: its node or process died {times} ({said[0]})") from cause
        finally:
            del self.pending[reference]
            self.slots.pop(number, None)
        node, environment = event.pop("node"), event.pop("environment")
        if environment and self.environments.get(node) != environment:
            self.environments[node] = environment
            write_json(self.folder / NODES, self.environments)
        if job["job"] == "costs":
            self.measured_on = node
        on_event(event | {"worker": slot})
        if event["event"] == "error":
            raise failure(event, event["log"])
        if event["event"] == "stopped":
            raise RuntimeError(f"{described(job)} was stopped by its node")

    def _slot(self, number: int) -> int:
        """The smallest number that no other job has, so that progress shows a row for each job at a time."""
        if number not in self.slots:
            taken = set(self.slots.values())
            self.slots[number] = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        return self.slots[number]

    def _measured_on(self) -> Node:
        """The machine of the comparison if it can do runs, else the first by name."""
        here = self.ray.get_runtime_context().get_node_id()
        there = [node for node in _nodes(self.ray) if node.holds(self.cpus, self.gpus)]
        if not there:
            raise RuntimeError("no node with room for a run is left in the cluster; run the same command to resume")
        return next((node for node in there if node.number == here), there[0])

    def _on(self, number: str, *, soft: bool) -> dict[str, Any]:
        strategies = require("ray.util.scheduling_strategies", extra="cluster")
        return {"scheduling_strategy": strategies.NodeAffinitySchedulingStrategy(number, soft=soft)}

    def _everywhere(self, function: Callable[..., Any], *words: Any) -> list[Any]:
        """Call a function on every node.

        Raises:
            InputError: A node does not answer.
        """
        calls = {
            self.ray.remote(function).options(num_cpus=0, **self._on(node.number, soft=False)).remote(*words): node
            for node in self.nodes
        }
        _, late = self.ray.wait(list(calls), num_returns=len(calls), timeout=_LOOK_SECONDS)
        if late:
            raise InputError(
                f"--cluster: {_named([calls[one] for one in late])} did not answer within {_LOOK_SECONDS:.0f} s",
                "see `ray status`; take the node out of the cluster, or start it again",
            )
        try:
            return [self.ray.get(one) for one in calls]
        except self.ray.exceptions.RayError as cause:
            raise InputError(
                f"--cluster: a node could not be asked ({str(cause).strip().splitlines()[-1]})", "see `ray status`"
            ) from cause

    def _refuse_others(self) -> None:
        """Refuse nodes without saccade, and nodes on which results would differ."""
        for node, found in zip(self.nodes, self._everywhere(_asking(), list(PACKAGES)), strict=True):
            if found["saccade"] is None:
                raise InputError(
                    f"--cluster: node {node.name} has no saccade ({found['why']})",
                    f"install saccade-attention {__version__} for {found['executable']} there",
                )
            differing = differences(self.versions, found)
            if differing:
                raise InputError(
                    f"--cluster: node {node.name} has {differing}", "install the same versions on all machines"
                )

    def _refuse_unshared(self) -> None:
        """Refuse a folder that a node does not see, or cannot write."""
        word = self.folder / f".shared.{self.session}"
        word.write_text(self.session, encoding="utf-8")
        place = str(self.folder)
        if self.mirror is not None:
            self.mirror.push(word.name)
            place = self.mirror.address
        try:
            for node, problem in zip(self.nodes, self._everywhere(_storage, place, self.session), strict=True):
                if problem is not None:
                    raise InputError(
                        f"--cluster: node {node.name} {problem}",
                        "give with --out a folder on storage that all nodes share, and may write",
                    )
        finally:
            word.unlink(missing_ok=True)
            if self.mirror is not None:
                self.mirror.push(word.name)


def versions() -> dict[str, str | None]:
    """Return the versions that must be the same on all nodes."""
    found: dict[str, str | None] = _asking()(list(PACKAGES))
    del found["executable"], found["why"]
    return found


def differences(ours: Mapping[str, str | None], theirs: Mapping[str, str | None]) -> str:
    """Say which versions differ, with both; empty if none does. The build, as in ``2.15.0+cpu``, may differ."""
    said = [
        f"{name} {_public(theirs[name])}, this machine {_public(version)}"
        for name, version in ours.items()
        if _public(theirs[name]) != _public(version)
    ]
    return "; ".join(said)


def _public(version: str | None) -> str:
    return "none" if version is None else version.partition("+")[0]


def _asking() -> Callable[[Sequence[str]], dict[str, str | None]]:
    """Return a function that tells a node's versions; Ray sends its code, since a node may have no saccade."""

    def ask(packages):  # type: ignore[no-untyped-def]
        import platform
        from importlib import metadata

        found: dict[str, str | None] = {"python": platform.python_version(), "executable": sys.executable, "why": ""}
        try:
            from saccade.version import __version__ as version

            found["saccade"] = version
        except Exception as cause:
            found["saccade"], found["why"] = None, str(cause)
        for package in packages:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                found[package] = None
        return found

    return cast("Callable[[Sequence[str]], dict[str, str | None]]", ask)


def _storage(folder: str, word: str) -> str | None:
    """Return what is wrong with a folder as a node sees it; None if it is that of the other machines, and writable."""
    if is_address(folder):
        return _storage_at(folder, word)
    there = Path(folder)
    try:
        same = (there / f".shared.{word}").read_text(encoding="utf-8") == word
    except OSError:
        same = False
    if not same:
        return f"does not see {folder} of this machine"
    own = there / f".shared.{word}.{os.urandom(4).hex()}"
    try:
        own.write_text(word, encoding="utf-8")
        own.unlink()
    except OSError as cause:
        return f"cannot write {folder} ({cause.strerror or cause})"
    return None


def _storage_at(address: str, word: str) -> str | None:
    """Return what is wrong with an address as a node sees it; None if it can be read and written."""
    try:
        mirror = Mirror(address, Path())
        if mirror.system.cat_file(f"{mirror.root}/.shared.{word}") != word.encode():
            return f"does not see {address} of this machine"
        own = f"{mirror.root}/.shared.{word}.{os.urandom(4).hex()}"
        mirror.system.pipe_file(own, word.encode())
        mirror.system.rm_file(own)
    except Exception as cause:  # each kind of storage has errors of its own
        said = str(cause).strip().splitlines() or [type(cause).__name__]
        return f"cannot read or write {address} ({said[0]})"
    return None


def _scratch(session: str) -> Path:
    """Return the folder of a node in which runs work whose results are kept at an address."""
    return Path(tempfile.gettempdir()) / f"saccade-{session}"


def _tidy(folder: str) -> None:
    """Delete that folder of a node."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _working(order: dict[str, Any]) -> Iterator[Path]:
    """A context of a folder of a node, with what the job needs; what it made is at the address at the end."""
    if order["address"] is None:
        yield Path(order["folder"])
        return
    from saccade.comparison.experiment import Experiment

    folder, job = _scratch(order["session"]), order["job"]
    mirror = Mirror(order["address"], folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".pull").open("w") as lock:  # several processes of a node share what does not change
        _alone(lock.fileno())
        if not (folder / EXPERIMENT).exists():
            mirror.pull(CACHE)
            mirror.pull(without=(RUNS, TRIALS, TUNED, START, *NOT_HERE))
        mirror.pull(START, without=(CHECKPOINTS,))
    (folder / LOGS).mkdir(exist_ok=True)
    experiment = Experiment.load(folder)
    made = experiment.job_folder(job) or folder
    own = made.relative_to(folder).as_posix()
    if made is folder:
        own = {"costs": COSTS, "pictures": PICTURES}[job["job"]]
        mirror.pull(RUNS, without=(CHECKPOINTS,))
    else:
        shutil.rmtree(made, ignore_errors=True)  # of an attempt on this node, since when others may have gone further
        mirror.pull(own)

    def copy(path: Path) -> None:
        if path.parent.name == CHECKPOINTS and path.is_relative_to(made):
            mirror.push(own)

    with watching(copy):
        yield folder
    mirror.push(own)


def _alone(descriptor: int) -> None:
    if os.name != "nt":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


class _Mailbox:
    """On the machine of the comparison: events of running jobs, and the word that they are to stop."""

    def __init__(self) -> None:
        self.events: list[tuple[int, Event]] = []
        self.begun: set[int] = set()
        self.stopped = False

    def put(self, number: int, event: Event) -> None:
        self.events.append((number, event))

    def take(self) -> list[tuple[int, Event]]:
        taken, self.events = self.events, []
        return taken

    def stopping(self, number: int) -> bool:
        """Return whether jobs are to stop; the one with that number has begun."""
        self.begun.add(number)
        return self.stopped

    def stop(self) -> list[int]:
        """Tell all jobs to stop, and return those that have begun."""
        self.stopped = True
        return sorted(self.begun)


class _Post:
    """The stream that a worker writes its events to: those on the way go to the mailbox, the last one is kept."""

    def __init__(self, mailbox: Any, number: int) -> None:
        self.mailbox, self.number = mailbox, number
        self.last: Event = {}

    def write(self, line: str) -> None:
        import json

        event = json.loads(line)
        if event["event"] == "step":
            self.mailbox.put.remote(self.number, event)
        else:
            self.last = event

    def flush(self) -> None:
        pass


_WORKERS: dict[str, Worker] = {}  # on a node: the worker of this process, by session and device


def _work(order: dict[str, Any], mailbox: Any) -> Event:
    """Do one job on a node, and return its last event with the name and the environment of the node."""
    import ray

    job, number = order["job"], order["number"]
    node = order["names"].get(ray.get_runtime_context().get_node_id(), socket.gethostname())
    told = {"node": node, "environment": {}, "job": job}
    with ThreadPoolExecutor(1) as aside:  # to wait in the main thread would lend the cores of this run to another one
        stopping = aside.submit(lambda: ray.get(mailbox.stopping.remote(number))).result()
    if stopping:
        return {"event": "stopped", **told}
    differing = differences(order["versions"], versions())  # of a node that has joined since
    if differing:
        message = f"--cluster: node {node} has {differing}"
        hint = "install the same versions on all machines"
        return {"event": "error", "message": message, "hint": hint, "expected": True, "log": "", **told}
    from saccade.environment import environment

    post = _Post(mailbox, number)
    try:
        with _working(order) as folder:
            log = folder / LOGS / f"worker-{node}-{os.getpid()}.log"
            with log.open("a", encoding="utf-8") as opened, contextlib.redirect_stderr(opened):
                worker = _worker(order, folder, post)
                ended = threading.Event()
                threading.Thread(target=_heed, args=(mailbox, number, worker, ended), daemon=True).start()
                worker.do(job)
                ended.set()
    except InputError as cause:
        return {"event": "error", "message": cause.message, "hint": cause.hint, "expected": True, "log": "", **told}
    return post.last | told | {"log": f"{log} of {node}", "environment": environment(order["device"])}


def _worker(order: dict[str, Any], folder: Path, post: _Post) -> Worker:
    """The worker of this process, which keeps the data from one job to the next."""
    import torch

    from saccade.comparison.worker import Worker
    from saccade.tasks import register

    session = order["session"]
    torch.set_num_threads(order["threads"])
    if session not in _WORKERS:
        with contextlib.suppress(RuntimeError):  # it has been decided already
            torch.set_num_interop_threads(1)
        accept(order["named"])
        for task in order["tasks"]:
            register(cast(Any, imported(task)))
        _WORKERS.clear()
        _WORKERS[session] = Worker(folder, order["device"], cast(Any, post))
    worker = _WORKERS[session]
    worker.events, worker.stop = cast(Any, post), threading.Event()
    return worker


def _heed(mailbox: Any, number: int, worker: Worker, ended: threading.Event) -> None:
    """Stop a worker after its step once the mailbox says so, or has gone with the comparison."""
    import ray

    stop = worker.stop
    while not ended.wait(0.5):
        try:
            asked = ray.get(mailbox.stopping.remote(number), timeout=30)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnavailableError):
            continue
        except Exception:  # the comparison itself has gone
            asked = True
        if asked:
            stop.set()
            return


def _address(asked: str) -> str:
    """Return host and port of the head.

    Raises:
        InputError: It is of another kind, or this machine belongs to no cluster.
    """
    if asked == "auto":
        record = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray" / "ray_current_cluster"
        with contextlib.suppress(OSError):
            return os.environ.get("RAY_ADDRESS") or record.read_text(encoding="utf-8").strip()
        raise InputError(
            "--cluster auto: this machine belongs to no Ray cluster",
            "start one: RAY_USAGE_STATS_ENABLED=0 ray start --head; or give the address of its head",
        )
    host, colon, port = asked.rpartition(":")
    if not colon or not host or not port.isdigit() or "/" in asked:
        raise InputError(
            f"--cluster must be auto or HOST:PORT of the head of a Ray cluster; received {asked!r}",
            "run saccade on a machine of the cluster; `ray status` names the head",
        )
    return asked


def _refuse_silent(place: str, asked: str) -> None:
    """Refuse an address at which no server of gRPC answers; Ray itself would try for two minutes.

    The head of a cluster speaks HTTP/2, whose first word is a frame of settings.
    """
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return
    host, _, port = place.rpartition(":")
    problem = f"--cluster {asked}: nobody answers" + (f" at {place}" if asked == "auto" else "")
    hint = "start a cluster: RAY_USAGE_STATS_ENABLED=0 ray start --head; `ray status` shows whether one runs"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS) as line:
            line.settimeout(_ANSWER_SECONDS)
            line.sendall(_PREFACE)
            answer = line.recv(9)
    except (OSError, OverflowError) as cause:
        raise InputError(f"{problem} ({cause})", hint) from cause
    if len(answer) < 4 or answer[3] != _SETTINGS_FRAME:
        raise InputError(f"--cluster {asked}: what answers there is no Ray cluster", hint)


def _nodes(ray: Any) -> list[Node]:
    """Nodes that are alive, in order of their names."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    hosts = [node["NodeManagerHostname"] for node in alive]
    found = [
        Node(
            host if hosts.count(host) == 1 else f"{host}-{node['NodeID'][:8]}",
            node["NodeID"],
            node["Resources"].get(_CPU, 0.0),
            node["Resources"].get(_GPU, 0.0),
        )
        for node, host in zip(alive, hosts, strict=True)
    ]
    return sorted(found, key=lambda node: node.name)


def _named(nodes: Sequence[Node]) -> str:
    return f"node {nodes[0].name}" + (f" and {len(nodes) - 1} more" if len(nodes) > 1 else "")


def _listed(nodes: Sequence[Node]) -> str:
    shown = [f"{node.name} ({node.cpus:g} cores, {node.gpus:g} GPUs)" for node in nodes[:5]]
    return ", ".join(shown) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "") if shown else "none"


def _handlers() -> dict[int, Any]:
    """Handlers of signals, where this thread can put them back."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
