"""Shards of WebDataset are read as the folder of the same files would be, and what is wrong in them is named."""

import io
import json
import os
import pickle
import tarfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade.data.check import check_data
from saccade.data.folder import folder_identity, load_folder
from saccade.data.members import Member
from saccade.data.reading import Reading
from saccade.data.shard_names import is_shards, name_of, plain_data
from saccade.data.shards import list_shards
from saccade.errors import InputError
from saccade.runs.options import RunSpec
from saccade.tasks import find_task, recognise
from saccade.training import order
from saccade.training.order import batch_at, shard_order
from saccade.training.recipe import Recipe
from saccade.training.sources import LoaderSource, Share

pytest.importorskip("webdataset")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def picture(value, side=16, kind="PNG"):
    opened = io.BytesIO()
    Image.fromarray(np.full((side, side), value, dtype=np.uint8)).save(opened, kind)
    return opened.getvalue()


def write(path, files, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **how) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def labelled(folder, counts=(("train", 3), ("train", 3), ("val", 3)), label=lambda n: f"{n % 3}"):
    """Shards with three classes; every image is another grey."""
    number = 0
    for shard, (side, count) in enumerate(counts):
        files = []
        for _ in range(count):
            files += [(f"{number:04d}.png", picture(4 * number)), (f"{number:04d}.cls", label(number).encode())]
            number += 1
        write(folder / f"{side}-{shard:03d}.tar", files)
    return folder / f"{{{','.join(f'{side}-{shard:03d}' for shard, (side, _) in enumerate(counts))}}}.tar"


def unpacked(folder, shards):
    """The same files, as a folder per class."""
    for one in list_shards(shards):
        for sample in one.samples:
            place = folder / one.side / sample.label / f"{one.shard.name}-{sample.image[0]}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(one.shard.read(*sample.image[1:]))
    return folder


def files_of(shards, **reading):
    task, found = recognise(shards, Reading(**reading))
    return task.files(shards, found)


def test_arrays_are_those_of_the_folder(tmp_path):
    shards = labelled(tmp_path / "shards")
    ours = load_folder(shards, tmp_path / "a", size=16)
    theirs = load_folder(unpacked(tmp_path / "folder", shards), tmp_path / "b", size=16)
    assert (
        ours.note
        == "classification, from 3 shards, the sides of the folder: 3 classes, 6 training and 3 validation images"
    )
    assert ours.classes == theirs.classes == ("0", "1", "2")
    for side in ("train", "val"):
        one, other = getattr(ours, side), getattr(theirs, side)
        files = [name.rpartition("/")[2].rpartition("-")[2] for name in other.names]
        places = [files.index(name.rpartition("/")[2]) for name in one.names]
        np.testing.assert_array_equal(one.images, other.images[places])
        np.testing.assert_array_equal(one.targets, other.targets[places])
    assert ours.val.names == ("val-002.tar/0006.png", "val-002.tar/0007.png", "val-002.tar/0008.png")


def test_a_mask_for_each_image(tmp_path):
    for number, side in enumerate(("train", "train", "val")):
        files = []
        for key in ("a", "b"):
            mask = np.zeros((16, 16), dtype=np.uint8)
            mask[:, 8:] = 1
            opened = io.BytesIO()
            Image.fromarray(mask).save(opened, "PNG")
            end = "seg.png" if number else "mask.png"
            files += [
                (f"{key}{number}.jpg", picture(40 * number + 20 * (key == "a"), kind="JPEG")),
                (f"{key}{number}.{end}", opened.getvalue()),
            ]
        write(tmp_path / "shards" / f"{side}{number}.tar", [*files, ("README", b"hello")])
    data = load_folder(tmp_path / "shards", tmp_path / "cache", size=32)
    assert (data.task, len(data.train.images), len(data.val.images)) == ("segmentation", 4, 2)
    assert set(np.unique(data.train.targets[0])) == {0, 1}
    found = check_data(tmp_path / "shards")
    assert not found.bad
    assert "3 files left out: neither image, class nor mask of a sample" in str(found.statement)
    (tmp_path / "shards" / "classes.txt").write_text("road\nsky\n")
    assert load_folder(tmp_path / "shards", tmp_path / "cache", size=32).classes == ("road", "sky")


@pytest.mark.parametrize(
    ("label", "names", "classes"),
    [
        (lambda n: f"{n % 3:02d}\n", None, ("0", "1", "2")),
        (lambda n: "cba"[n % 3], None, ("a", "b", "c")),
        (lambda n: f"{n % 3}", "ant,bee,cat", ("ant", "bee", "cat")),
        (lambda n: ("cat", "ant", "dog")[n % 3], "cat,ant", ("cat", "ant")),
    ],
    ids=["numbers", "names", "numbers-of-names", "some-names"],
)
def test_classes_are_numbers_or_names(label, names, classes, tmp_path):
    shards = labelled(tmp_path / "shards", label=label)
    files = files_of(shards, classes=names)
    assert files.classes == classes
    kept = 2 if len(classes) == 2 else 3
    assert len(files.train) == 2 * kept
    assert sum(one.count for one in files.left_out) == 3 * (3 - kept)


@pytest.mark.parametrize("content", [{"cls": 1}, {"class_name": "x"}, {"width": 3, "label": 2}, 1, "x"], ids=str)
def test_a_class_in_json(content, tmp_path):
    files = [("a.png", picture(1)), ("a.json", json.dumps(content).encode())]
    write(tmp_path / "x.tar", files)
    ((listed,),) = [one.samples for one in list_shards(tmp_path / "x.tar")]
    expected = content if not isinstance(content, dict) else list(content.values())[-1]
    assert listed.label == str(expected)


def test_those_that_webdataset_writes(tmp_path):
    """By its own writer, which encodes images and classes itself; its own reader finds the same samples."""
    import webdataset

    with webdataset.TarWriter(str(tmp_path / "train.tar")) as writer:
        for number in range(4):
            image = np.full((16, 16, 3), 10 * number, dtype=np.uint8)
            writer.write({"__key__": f"d/{number:03d}", "png": image, "cls": number % 2, "json": {"width": 16}})
    (ours,) = list_shards(tmp_path / "train.tar")
    with (tmp_path / "train.tar").open("rb") as opened:
        files = webdataset.tariterators.tar_file_iterator(opened)
        theirs = list(webdataset.tariterators.group_by_keys(one | {"__url__": ""} for one in files))
    assert [(one.key, one.label) for one in ours.samples] == [(one["__key__"], one["cls"].decode()) for one in theirs]
    assert [ours.shard.read(*one.image[1:]) for one in ours.samples] == [one["png"] for one in theirs]


def test_without_sides_each_class_is_split_by_the_seed(tmp_path):
    shards = labelled(tmp_path / "s", [("part", 30), ("part", 30)])
    files = files_of(shards)
    assert (len(files.train), len(files.val), files.drawn) == (48, 12, True)
    places = [(item.image.shard.number, item.image.offset) for item in files.train]
    assert places == sorted(places)
    assert {item.target for item in files.val} == {0, 1, 2}
    named = tmp_path / "val.txt"
    named.write_text("part-000.tar/0003.png\n")
    assert len(files_of(shards, layout="shards", split=str(named)).val) == 1


def batches(source, first=0, share=None):
    recipe = Recipe(steps=6, batch=4, seed=3, learning_rate=0.1)
    return [
        (batch.images.flatten(1)[:, 0].tolist(), batch.targets.tolist())
        for parts in source.steps(recipe, first, share or Share())
        for batch in parts
    ]


def source_of(shards):
    spec = RunSpec(data=str(shards), network="test_resnet", size=16, augment="imagenet")
    side = find_task("classification").load(spec).train
    return LoaderSource(side.samples, name=side.name, groups=shard_order(side.shards))


def test_a_training_goes_on_at_a_step_and_shares_without_repeats(tmp_path, monkeypatch):
    monkeypatch.setattr(order, "_TOGETHER", 4)
    source = source_of(labelled(tmp_path / "s", [("train", 4), ("train", 5), ("train", 3), ("val", 3)]))
    every = batches(source)
    assert batches(source, first=4) == every[4:]
    epoch = [value for images, _ in every[:3] for value in images]
    assert len(set(epoch)) == 12  # every image once
    halves = [batches(source, share=Share(index, 2)) for index in range(2)]
    assert [sorted(a[0] + b[0]) for a, b in zip(*halves, strict=True)] == [sorted(images) for images, _ in every]


def test_the_order_is_by_shards_and_another_one_each_epoch(monkeypatch):
    monkeypatch.setattr(order, "_TOGETHER", 8)
    counts = (5, 5, 5, 5)
    shards = shard_order(counts)
    epochs = [batch_at(step, count=20, batch=20, seed=1, groups=shards)[0] for step in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(20))
        for start in (0, 10):  # of ten in a row, all are in two shards
            assert len({place // 5 for place in epoch[start : start + 10].tolist()}) == 2
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(epochs[2], batch_at(2, count=20, batch=20, seed=1, groups=shard_order(counts))[0])
    assert shard_order(()) is None


@pytest.mark.full
def test_train_and_compare_take_them(tmp_path):
    shards = labelled(tmp_path / "s", [("train", 9), ("val", 6)])
    trained = saccade.train(
        shards, "test_resnet", steps=2, batch=4, size=32, workers=0, out=tmp_path / "run", progress=False
    )
    assert trained.results["steps"] == 2
    assert saccade.evaluate(shards, trained.folder, progress=False).results["images"] == 6


def corrupt(path, how):
    whole = path.read_bytes()
    if how == "in a file":
        path.write_bytes(whole[: 512 + 40])
    elif how == "in a header":
        path.write_bytes(whole[: 1024 + 100])
    elif how == "before the end":
        with tarfile.open(path) as tar:
            last = tar.getmembers()[-1]
        path.write_bytes(whole[: last.offset_data + 512])
    elif how == "damaged":
        with tarfile.open(path) as tar:
            second = tar.getmembers()[1]
        path.write_bytes(whole[: second.offset] + b"x" * 100 + whole[second.offset + 100 :])
    elif how == "compressed":
        import gzip

        path.write_bytes(gzip.compress(whole))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "no archive":
        path.write_bytes(b"this is a text" * 100)
    elif how == "gone":
        path.unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("in a file", "ends early"),
        ("in a header", "ends early"),
        ("before the end", "ends early"),
        ("damaged", "is damaged"),
        ("compressed", "is compressed"),
        ("empty", "is empty"),
        ("no archive", "is damaged"),
        ("gone", "no such shard"),
    ],
)
@pytest.mark.parametrize("which", ["train-000", "train-001"])
def test_a_shard_that_is_cut_or_damaged_is_named(how, said, which, tmp_path):
    shards = labelled(tmp_path / "s")
    corrupt(tmp_path / "s" / f"{which}.tar", how)
    with pytest.raises(InputError, match=said) as caught:
        files_of(shards)
    assert f"{which}.tar" in caught.value.message


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.png", "a.cls", "b.cls"], "1 of 2 samples have no image: x.tar: b"),
        (["a.png", "a.cls", "b.png"], r"1 of 2 samples have no class \(.cls or .json\): x.tar: b"),
        (["a.png", "a.cls", "b.png", "b.cls", "a.jpg"], "the files of sample a do not follow each other"),
        (["a.png", "a.cls", "a.cls"], "two files are called a.cls"),
        (["a.png", "a.jpg", "a.cls"], "sample a has 2 images: .png, .jpg"),
        (["d/a.png", "d/a.cls", "d/b.png"], "no class .*: x.tar: d/b"),
    ],
    ids=["image", "class", "apart", "twice", "two-images", "in-a-folder"],
)
def test_samples_that_are_not_whole_are_named(files, said, tmp_path):
    write(tmp_path / "x.tar", [(name, b"1" if name.endswith("cls") else picture(1)) for name in files])
    with pytest.raises(InputError, match=said):
        files_of(tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("label", "reading", "said"),
    [
        (lambda n: f"{n}", {"classes": "a,b,c"}, "is of class 3, and there are 3: a, b, c"),
        (lambda n: "1", {}, "only one class"),
        (lambda n: "", {}, "says no class"),
        (lambda n: "0" if n < 6 else "1", {}, "no training images of 1"),
        (lambda n: f"{n % 3}", {"split": "x:y"}, "on no side|no training side|sides"),
    ],
    ids=["too-large", "one", "none", "untrained", "no-such-sides"],
)
def test_classes_that_do_not_fit_are_refused(label, reading, said, tmp_path):
    shards = labelled(tmp_path / "s", label=label)
    with pytest.raises(InputError, match=said):
        files_of(shards, **reading)


def test_both_classes_and_masks_ask_which(tmp_path):
    write(tmp_path / "x.tar", [("a.png", picture(1)), ("a.seg.png", picture(1)), ("a.cls", b"1")])
    with pytest.raises(InputError, match="can be read in 2 ways"):
        recognise(tmp_path / "x.tar")


def test_archives_are_listed_once(tmp_path, monkeypatch):
    shards = labelled(tmp_path / "s")
    first = list_shards(shards)
    from saccade.data import shards as module

    module._index.cache_clear()
    monkeypatch.setattr(module, "_list", lambda *_: pytest.fail("listed again"))
    again = list_shards(shards)
    assert [one.samples for one in again] == [one.samples for one in first]
    module._index.cache_clear()
    path = tmp_path / "s" / "val-002.tar"
    os.utime(path, ns=(1, 1))
    with pytest.raises(pytest.fail.Exception):
        list_shards(shards)


def test_another_content_is_another_data_set(tmp_path):
    shards = labelled(tmp_path / "s")
    before = folder_identity(shards)
    assert folder_identity(shards).digest == before.digest
    path = tmp_path / "s" / "train-000.tar"
    state = path.stat()
    with tarfile.open(path) as tar:
        place = tar.getmembers()[1].offset_data
    with path.open("r+b") as opened:
        opened.seek(place)
        opened.write(b"2")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert folder_identity(shards).digest != before.digest


def test_shards_at_an_address_are_fetched_once(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    shards = labelled(tmp_path / "s")
    memory = fsspec.filesystem("memory")
    for path in (tmp_path / "s").iterdir():
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    data = Path(f"memory://bucket/{shards.name}")  # a path keeps one slash only
    assert plain_data(str(data)) == f"memory://bucket/{shards.name}"
    assert recognise(data)[1].layout == "shards"
    ours = load_folder(data, tmp_path / "a", size=16)
    theirs = load_folder(shards, tmp_path / "b", size=16)
    np.testing.assert_array_equal(ours.train.images, theirs.train.images)
    memory.rm("/bucket/val-002.tar")
    with pytest.raises(InputError, match=r"memory://bucket/val-002\.tar: the shard cannot be fetched"):
        load_folder(data, tmp_path / "c", size=16)


@pytest.fixture
def server(tmp_path):
    """An ordinary web server of this machine, which counts what it sends; without dates if told so."""
    pytest.importorskip("aiohttp")

    class Handler(SimpleHTTPRequestHandler):
        sent, dated = [], True

        def __init__(self, *words):
            super().__init__(*words, directory=str(tmp_path / "there"))

        def do_GET(self):
            self.sent.append(self.path.rpartition("/")[2])
            super().do_GET()

        def send_header(self, name, value):
            if self.dated or name != "Last-Modified":
                super().send_header(name, value)

        def log_message(self, *_):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_shards_of_a_web_server_are_fetched_once_and_again_when_they_change(server, tmp_path, monkeypatch):
    shards = labelled(tmp_path / "there")
    data = f"http://127.0.0.1:{server.server_port}/{shards.name}"
    handler, names = server.RequestHandlerClass, sorted(path.name for path in (tmp_path / "there").glob("*.tar"))
    assert is_shards(data)
    ours, theirs = (load_folder(path, tmp_path / str(n), size=16) for n, path in enumerate((Path(data), shards)))
    np.testing.assert_array_equal(ours.train.images, theirs.train.images)
    assert sorted(handler.sent) == names
    monkeypatch.setattr("saccade.data.shards._FETCHED", set())  # as in another process
    before = folder_identity(Path(data)).digest
    assert sorted(handler.sent) == names
    path = tmp_path / "there" / "train-000.tar"
    with tarfile.open(path) as tar:
        place = tar.getmembers()[1].offset_data
    with path.open("r+b") as opened:  # another class, of the same size
        opened.seek(place)
        opened.write(b"2")
    os.utime(path, (1, 10**9))
    assert folder_identity(Path(data)).digest != before
    assert handler.sent.count("train-000.tar") == 2
    assert len(handler.sent) == len(names) + 1
    handler.dated = False
    monkeypatch.setattr("saccade.data.shards._FETCHED", set())
    folder_identity(Path(data))
    assert len(handler.sent) == 2 * len(names) + 1, "of these only the size is known"
    folder_identity(Path(data))
    assert len(handler.sent) == 2 * len(names) + 1
    (tmp_path / "there" / "val-002.tar").unlink()
    with pytest.raises(InputError, match=r"/val-002\.tar: the shard cannot be fetched \(there is no such file"):
        folder_identity(Path(data))


@pytest.mark.parametrize(
    ("data", "yes", "name"),
    [
        ("x/train-{000..127}.tar", True, "train"),
        ("s3://bucket/imagenet-{000..127}.tar", True, "imagenet"),
        ("a/one.tar::b/two-{1..3}.tar", True, "one"),
        ("{0..9}.tar", True, "shards"),
        ("photos", False, "photos"),
        ("x/train.tar.gz", False, "train.tar.gz"),
        ("one.tar::photos", False, "one.tar::photos"),
    ],
)
def test_names_of_shards(data, yes, name):
    assert is_shards(data) is is_shards(Path(data)) is yes
    assert name_of(data) == name
    if yes:
        assert plain_data(plain_data(data)) == plain_data(data)


@pytest.mark.parametrize("data", ["a-{0..2.tar", "x/{}.tar"])
def test_names_that_cannot_be_read_are_refused(data):
    with pytest.raises(InputError, match=r"not the names of shards|no such shard"):
        files_of(Path(data))


def test_a_member_is_a_path_that_other_processes_read(tmp_path):
    listed = list_shards(labelled(tmp_path / "s"))[0]
    member = Member.of(tmp_path / "s.tar" / "x.tar", "d/a.png", listed.shard, *listed.samples[0].image[1:])
    there = pickle.loads(pickle.dumps(member))
    assert (there, hash(there), there.read_bytes()) == (member, hash(member), picture(0))
    assert there.open("rb").read() == picture(0)
    assert (there.stat().st_size, there.is_file(), there.exists(), there.is_dir()) == (
        len(picture(0)),
        True,
        True,
        False,
    )
    assert there.stat().st_mtime_ns == listed.shard.path.stat().st_mtime_ns
    assert there.relative_to(tmp_path).as_posix() == "s.tar/x.tar/d/a.png"
    assert not isinstance(there.parent, Member)
    assert not isinstance(there.resolve(), Member)
    with pytest.raises(OSError, match="read only"):
        there.open("wb")
    torch.testing.assert_close(there.shard.number, 0)
