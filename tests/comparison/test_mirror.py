"""A folder that is kept at an address: whole files, the results last, and what is deleted here goes there too."""

import json
import os
from threading import Event

import pytest

import saccade
from saccade.addresses import is_telling, state_of
from saccade.comparison import claim
from saccade.comparison.mirror import CLAIM, NOT_HERE, Mirror, folder_of, is_address
from saccade.errors import InputError
from saccade.files import watching, write_json

pytest.importorskip("fsspec")


@pytest.fixture(params=["file", pytest.param("s3", marks=[pytest.mark.full])])
def address(request, tmp_path):
    if request.param == "file":
        yield f"file://{tmp_path}/there"
        return
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        bucket = f"bucket-{os.urandom(4).hex()}"  # the server keeps them for as long as this process lasts
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
        yield f"s3://{bucket}/name"
    server.stop()


def files(mirror):
    return sorted(mirror.names())


def test_both_ways(address, tmp_path):
    here = Mirror(address, tmp_path / "here")
    run = tmp_path / "here" / "runs" / "se" / "0"
    write_json(run / "checkpoints" / "000000001.safetensors", 1)
    write_json(run / "config.json", {"arm": "se"})
    here.push("runs/se/0")
    assert files(here) == ["runs/se/0/checkpoints/000000001.safetensors", "runs/se/0/config.json"]
    (run / "checkpoints" / "000000001.safetensors").unlink()
    write_json(run / "checkpoints" / "000000002.safetensors", 2)
    here.push("runs/se/0")
    assert files(here) == ["runs/se/0/checkpoints/000000002.safetensors", "runs/se/0/config.json"]

    other = Mirror(address, tmp_path / "other")  # another machine goes on
    other.pull("runs/se/0")
    assert json.loads((tmp_path / "other/runs/se/0/checkpoints/000000002.safetensors").read_text()) == 2
    write_json(tmp_path / "other/runs/se/0/config.json", {"arm": "other"})
    write_json(tmp_path / "other/runs/se/0/result.json", {"score": 1})
    other.push("runs/se/0")
    here.pull(without=NOT_HERE)
    assert json.loads((run / "config.json").read_text()) == {"arm": "other"}
    assert (run / "result.json").exists()
    here.push(without=NOT_HERE)
    assert "runs/se/0/checkpoints/000000002.safetensors" in files(here), "what is not copied here is not deleted there"
    here.clear()
    assert files(here) == []


def test_results_are_copied_last(tmp_path, monkeypatch):
    mirror = Mirror(f"file://{tmp_path}/there", tmp_path / "here")
    for name in ("result.json", "evidence.npz", "a.json", "results.json"):
        write_json(tmp_path / "here" / name, 1)
    order = []
    put = mirror.system.put_file
    monkeypatch.setattr(mirror.system, "put_file", lambda a, b: (order.append(b.rpartition("/")[2]), put(a, b)))
    mirror.push()
    assert order == ["a.json", "evidence.npz", "result.json", "results.json"]
    mirror.push()
    assert len(order) == 4, "what is the same is not copied again"


def test_files_of_others_are_refused(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="is not empty and does not hold a comparison"):
        Mirror(f"file://{tmp_path}/there", tmp_path / "here").refuse_foreign()
    (tmp_path / "there" / "settings.json").write_text("{}")
    Mirror(f"file://{tmp_path}/there", tmp_path / "here").refuse_foreign()


@pytest.mark.parametrize("address", ["nothing://x/y", "s3://"])
def test_addresses_that_cannot_be_used(address, tmp_path):
    with pytest.raises(InputError, match="cannot be"):
        Mirror(address, tmp_path).names()


def test_an_address_is_for_a_cluster(tmp_path):
    with pytest.raises(InputError, match="s3://bucket/name: an address is for runs on a cluster"):
        saccade.compare("none,se", out="s3://bucket/name", progress=False)
    assert is_address("s3://bucket/name")
    assert not is_address("C:/results")
    assert folder_of("s3://bucket/name") != folder_of("s3://other/name")


def test_files_put_in_place_are_told(tmp_path):
    told = []
    with watching(told.append):
        write_json(tmp_path / "a.json", 1)
    write_json(tmp_path / "b.json", 1)
    assert told == [tmp_path / "a.json"]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(claim, "BEAT", 0.05)
    monkeypatch.setattr(claim, "PATIENCE", 0.5)


def test_a_second_machine_at_an_address_is_refused(address, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(claim, "PATIENCE", 60.0)  # it ends with the first change
    first, second = (Mirror(address, tmp_path / name) for name in ("a", "b"))
    said = []
    with claim.claimed(first):
        with (
            pytest.raises(InputError, match=r"another comparison is running at .*: process \d+ of ") as refused,
            claim.claimed(second, say=said.append),
        ):
            pass
        assert "choose another --out" in refused.value.hint
        assert "is claimed by process" in said[0]
        assert files(first) == [], "a claim is no file of the comparison"
        first.clear()
    with claim.claimed(second, say=said.append):
        pass
    assert len(said) == 1, "a claim that was given up is not there"
    assert not second.system.exists(f"{second.root}/{CLAIM}")


@pytest.mark.parametrize("content", [b'{"token": "of a machine that has died", "beat": 7}', b"", b"[1]", b"\xff"])
def test_the_claim_of_a_machine_that_has_died_is_taken_over(tmp_path, quick, content):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / CLAIM).write_bytes(content)
    mirror = Mirror(f"file://{tmp_path}/there", tmp_path / "here")
    with claim.claimed(mirror):
        assert json.loads((tmp_path / "there" / CLAIM).read_text())["process"] == os.getpid()


def test_who_loses_a_claim_stops(tmp_path, quick, capfd):
    """A machine that was asleep finds another one in its place."""
    mirror = Mirror(f"file://{tmp_path}/there", tmp_path / "here")
    other = {"token": "another", "host": "elsewhere", "process": 1}

    def sleep():
        with claim.claimed(mirror):
            write_json(tmp_path / "there" / CLAIM, other)
            Event().wait(20)

    with pytest.raises(KeyboardInterrupt):
        sleep()
    assert "was taken over by process 1 of elsewhere: this process stops" in capfd.readouterr().err
    assert json.loads((tmp_path / "there" / CLAIM).read_text()) == other, "it is not removed"


def test_two_claims_at_once_have_one_winner(tmp_path, quick, monkeypatch):
    """Between looking and writing, another machine has written."""
    mirror = Mirror(f"file://{tmp_path}/there", tmp_path / "here")
    write, other = mirror.system.pipe_file, b'{"token": "another", "host": "elsewhere"}'

    def late(path, content, **how):
        write(path, other)
        write(path, content, **how)

    monkeypatch.setattr(mirror.system, "pipe_file", late)
    with pytest.raises(InputError, match="another comparison is running"), claim.claimed(mirror):
        pass


@pytest.mark.parametrize(
    ("info", "state", "telling"),
    [
        ({"size": 3, "Last-Modified": "Sat", "ETag": None}, {"size": "3", "lastmodified": "Sat"}, True),
        ({"size": 3, "LastModified": 7, "ETag": "x"}, {"size": "3", "etag": "x", "lastmodified": "7"}, True),
        ({"size": 3, "last_modified": 7}, {"size": "3", "lastmodified": "7"}, True),
        ({"size": 3, "generation": "5", "md5Hash": "a=="}, {"size": "3", "generation": "5", "md5hash": "a=="}, True),
        ({"size": 3, "mtime": 1.5, "name": "x"}, {"size": "3", "mtime": "1.5"}, True),
        ({"size": 0, "name": "x", "type": "file"}, {"size": "0"}, False),
    ],
)
def test_what_tells_that_a_file_has_changed(info, state, telling):
    assert state_of(info) == state
    assert is_telling(state) is telling
