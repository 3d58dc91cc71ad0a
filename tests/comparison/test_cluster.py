"""A comparison on a cluster: two nodes on this machine, which are killed, stopped, and of other versions."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

import saccade
from saccade.comparison.backends.base import failure
from saccade.comparison.progress import ComparisonProgress
from saccade.errors import InputError
from tests.comparison import folders
from tests.comparison.inline import InlinePool

ARMS = "none,se[reduction=8]"
TINY = {"seeds": 3, "steps": 4, "size": 32, "batch": 6, "backbone": "test_resnet", "progress": False}
MEASURED = ("latency_ms", "peak_mib", "train_seconds")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gpus_per_run": 1}, "gpus_per_run is for runs on a cluster"),
        ({"cpus_per_run": 2}, "cpus_per_run is for runs on a cluster"),
        ({"cluster": "auto", "device": "cuda:1"}, "--device cuda:1: on a cluster"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_of_a_cluster_belong_together(given, said, tmp_path):
    with pytest.raises(InputError, match=said):
        saccade.compare(ARMS, out=tmp_path / "out", progress=False, **given)
    assert not (tmp_path / "out").exists()


def test_failures_say_whose_fault_they_are():
    job = {"job": "run", "arm": 1, "index": 2}
    told = {"job": job, "message": "no", "hint": "do this"}
    assert str(failure(told | {"expected": True}, "log")) == "run arm 1 index 2: no\nhint: do this"
    assert str(failure(told | {"expected": False}, "a.log")) == "run arm 1 index 2: no (see a.log)"


class TestAddresses:
    """None of these starts Ray, which would take two minutes to say that nobody answers."""

    @pytest.fixture(autouse=True)
    def _needs_ray(self):
        pytest.importorskip("ray")

    def connect(self, address):
        from saccade.comparison.backends.ray import connected

        started = time.monotonic()
        with pytest.raises(InputError) as caught, connected(address):
            pass
        assert time.monotonic() - started < 10
        assert "\n" not in caught.value.message
        return caught.value.message

    @pytest.mark.parametrize("address", ["10.0.0.1", "ray://127.0.0.1:10001", "http://127.0.0.1:8265", ":6379", "a:b"])
    def test_of_another_kind(self, address):
        assert "must be auto or HOST:PORT" in self.connect(address)

    def test_where_nobody_listens(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            assert "nobody answers" in self.connect(f"127.0.0.1:{unused.getsockname()[1]}")

    @pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silence", "web"])
    def test_where_something_else_listens(self, answer, monkeypatch):
        monkeypatch.setattr("saccade.comparison.backends.ray._ANSWER_SECONDS", 0.5)
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve():
                line, _ = server.accept()
                with line:
                    line.recv(100)
                    if answer is None:
                        time.sleep(1)
                    else:
                        line.sendall(answer)

            threading.Thread(target=serve, daemon=True).start()
            said = self.connect(f"127.0.0.1:{server.getsockname()[1]}")
        assert ("nobody answers" if answer is None else "no Ray cluster") in said

    def test_auto_without_a_cluster(self, monkeypatch, tmp_path):
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        assert "belongs to no Ray cluster" in self.connect("auto")
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1\n")  # of a cluster that has ended
        assert "nobody answers at 127.0.0.1:1" in self.connect("auto")


def test_versions_are_compared_without_their_build():
    pytest.importorskip("ray")
    from saccade.comparison.backends.ray import differences, versions

    ours = versions()
    assert ours["saccade"] == saccade.__version__
    assert ours["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert differences(ours, ours) == ""
    assert differences({"torch": "2.15.0+cpu"}, {"torch": "2.15.0+cu128"}) == ""
    assert differences({"torch": "2.15.0"}, {"torch": "2.14.1"}) == "torch 2.14.1, this machine 2.15.0"
    assert differences({"timm": "1.0.20"}, {"timm": None}) == "timm none, this machine 1.0.20"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return folders.classification(tmp_path_factory.mktemp("data") / "textures")


def started(start, attempts=4):
    """Ray gives a node 30 seconds to start, which a busy machine may not have."""
    for _ in range(attempts - 1):
        with contextlib.suppress(Exception):
            return start()
    return start()


@pytest.fixture(scope="module")
def cluster():
    """A head without cores, and two nodes with one each."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_worker_niceness", "0")  # Ray's 15 leaves a busy machine to all others
        from ray.cluster_utils import Cluster

        made = started(
            lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        )
        try:
            for _ in range(2):
                started(lambda: made.add_node(num_cpus=1))
            yield made
        finally:
            made.shutdown()


def numbers(folder):
    """What two comparisons of the same have in common: all but times, memory, and the machine."""
    found = json.loads((Path(folder) / "results.json").read_text())
    for name in ("environment", "command"):
        del found[name]
    for arm in found["arms"]:
        for name in MEASURED:
            del arm[name]
    return found


def checkpoints(folder):
    return list(Path(folder).glob("runs/*/*/checkpoints/[0-9]*.safetensors"))


@pytest.fixture
def ctrl_c():
    """Heeds Ctrl-C, which what a shell starts in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.full
@pytest.mark.processes
class TestTwoNodes:
    def test_numbers_are_those_of_this_machine_though_nodes_die(self, cluster, pictures, tmp_path, monkeypatch):
        """Two nodes are killed, one after the other, each with a run that has a checkpoint; others take over."""
        monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
        long = TINY | {"steps": 40, "seeds": 2}
        here = saccade.compare(pictures, ARMS, out=tmp_path / "here", jobs=1, **long)
        out, killed = tmp_path / "there", []
        show = ComparisonProgress.on_event

        def shown(showing, event):
            done = len(list(out.glob("runs/*/*/result.json")))
            if len(killed) < 2 and done >= 2 * len(killed) and checkpoints(out):
                node = next(iter(cluster.worker_nodes))
                killed.append(node)
                cluster.remove_node(node, allow_graceful=False)
                started(lambda: cluster.add_node(num_cpus=1))
            show(showing, event)

        monkeypatch.setattr(ComparisonProgress, "on_event", shown)
        there = saccade.compare(pictures, ARMS, out=out, cluster=cluster.address, checkpoint_seconds=0, **long)
        assert len(killed) == 2
        assert numbers(there.folder) == numbers(here.folder)
        found = there.results.environment
        assert found["jobs"] == 2
        assert found["measured_on"] in found["nodes"]
        assert {one["torch"] for one in found["nodes"].values()} == {here.results.environment["torch"]}
        assert not checkpoints(out)

    def test_results_at_an_address(self, cluster, pictures, tmp_path, monkeypatch):
        """Nodes work in folders of their own; a second call finds the finished comparison at the address."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
        here = saccade.compare(pictures, ARMS, out=tmp_path / "here", jobs=1, **TINY | {"seeds": 1})
        call = {"out": f"file://{tmp_path}/bucket/name", "cluster": cluster.address, **TINY, "seeds": 1}
        there = saccade.compare(pictures, ARMS, **call)
        assert numbers(there.folder) == numbers(here.folder) == numbers(tmp_path / "bucket" / "name")
        kept = {path.name for path in (tmp_path / "bucket" / "name").iterdir()}
        assert {"runs", "report.html", "settings.json", "nodes.json"} <= kept
        assert not {"cache", ".lock"} & kept
        shutil.rmtree(there.folder)
        assert numbers(saccade.compare(pictures, ARMS, **call).folder) == numbers(here.folder)

    @pytest.mark.usefixtures("ctrl_c")
    def test_ctrl_c_saves_and_other_settings_are_refused(self, cluster, pictures, tmp_path, monkeypatch):
        def interrupted(showing, event):
            if event["event"] == "step":
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(ComparisonProgress, "on_event", interrupted)
        out = tmp_path / "out"
        call = {"out": out, "cluster": cluster.address, "checkpoint_seconds": 1000, **TINY, "steps": 2000}
        with pytest.raises(KeyboardInterrupt):
            saccade.compare(pictures, ARMS, **call)
        assert checkpoints(out), "running jobs have saved themselves"
        with pytest.raises(InputError, match="other settings"):
            saccade.compare(pictures, ARMS, **call | {"batch": 5})

    def test_nodes_must_be_like_this_machine(self, cluster, pictures, tmp_path, monkeypatch):
        """A node with another version, one without the package, and one that does not see the folder."""
        import ray

        other = tmp_path / "other" / "saccade"
        other.mkdir(parents=True)
        (other / "__init__.py").write_text("")
        (other / "version.py").write_text('__version__ = "0.0.1"\n')
        none = tmp_path / "none"
        none.mkdir()
        (none / "saccade.py").write_text("raise ImportError('not here')\n")
        for path, said in ((other.parent, "has saccade 0.0.1, this machine"), (none, "has no saccade")):
            node = started(lambda at=path: cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(at)}))
            try:
                with pytest.raises(InputError, match=said):
                    saccade.compare(pictures, ARMS, out=tmp_path / "out", cluster=cluster.address, **TINY)
                assert not (tmp_path / "out").exists()
                assert not ray.is_initialized()
            finally:
                cluster.remove_node(node)
        with pytest.raises(InputError, match="no node has 99 cores"):
            saccade.compare(pictures, ARMS, out=tmp_path / "out", cluster=cluster.address, cpus_per_run=99, **TINY)


def test_storage_that_a_node_does_not_see_or_cannot_write(tmp_path):
    pytest.importorskip("ray")
    from saccade.comparison.backends.ray import _storage

    assert "does not see" in _storage(str(tmp_path), "abc")
    (tmp_path / ".shared.abc").write_text("abc")
    assert _storage(str(tmp_path), "abc") is None
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert "cannot write" in _storage(str(tmp_path), "abc")
        tmp_path.chmod(0o700)
