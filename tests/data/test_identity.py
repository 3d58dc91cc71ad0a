"""Data are the same as long as names, sides, classes, masks and contents are, whatever the times say."""

import json
import os
import shutil

import pytest

from saccade import InputError
from saccade.data import identity as identity_module
from saccade.data.folder import folder_identity, load_folder
from saccade.data.identity import identify_samples
from saccade.runs.names import DATA
from saccade.tasks.segmentation.mask_folder import find_files
from tests.tasks.classification.test_cifar import record as cifar_record
from tests.tasks.segmentation import trees

from .conftest import crops, save

PHOTO = crops("chelsea", 1)[0]


@pytest.fixture
def reads(monkeypatch):
    """Names of the files whose content is read."""
    names, read = [], identity_module._content

    def content(path):
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(identity_module, "_content", content)
    return names


def aged(folder):
    """Files that lie there for a while: fresh times are not trusted."""
    for path in folder.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))
    return folder


def digest(folder):
    return folder_identity(folder).digest


def overwrite(path):
    save(path, 255 - PHOTO[(13 if path.stem == "new" else int(path.stem)) :, 5:])


def appended(path):
    path.write_bytes(path.read_bytes() + b"\n")


CHANGES = {
    "an image overwritten": lambda data: overwrite(data / "images" / "0.jpg"),
    "a mask overwritten": lambda data: shutil.copy(data / "masks" / "1.png", data / "masks" / "0.png"),
    "classes.txt": lambda data: appended(data / "classes.txt"),
    "renamed": lambda data: [
        (data / k / f"0.{e}").rename(data / k / f"9.{e}") for k, e in (("images", "jpg"), ("masks", "png"))
    ],
    "removed": lambda data: [(data / "images" / "0.jpg").unlink(), (data / "masks" / "0.png").unlink()],
    "classes.txt gone": lambda data: (data / "classes.txt").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_decides_what_is_learned_changes_it(masked, change):
    (masked / "classes.txt").write_text("dark\nbright\nvery bright\n")
    before = digest(masked)
    aged(masked)
    (masked / "remarks.txt").write_text("not of the data")
    assert digest(masked) == before == digest(shutil.copytree(masked, masked.parent / "copy"))
    change(masked)
    assert digest(masked) != before


def test_sides_and_classes_count(two_sides):
    before = digest(two_sides)
    file = two_sides / "train" / "coffee" / "0.jpg"
    moved = file.rename(two_sides / "valid" / "coffee" / "0b.jpg")
    other = digest(two_sides)
    moved.rename(two_sides / "train" / "chelsea" / "0b.jpg")
    assert len({before, other, digest(two_sides)}) == 3


@pytest.mark.parametrize(
    "made",
    [
        trees.cityscapes,
        trees.voc,
        trees.ade20k,
        lambda root: trees.voc(root, "SegmentationClassContext", "SegmentationContext"),
    ],
)
def test_every_published_layout(tmp_path, made):
    root = made(tmp_path / "data")
    before = digest(root)
    assert digest(aged(root)) == before
    layout = find_files(root)
    trees.write(layout.val[0].target, trees.np.full(trees.SHAPE, 255, dtype="uint8"))
    after = digest(root)
    trees.picture(layout.train[0].image, shape=(5, 7))
    assert len({before, after, digest(root)}) == 3


def test_sbd_that_is_added_to_voc_counts(tmp_path):
    root = trees.voc(tmp_path / "data")
    before = digest(root)
    trees.sbd(root / "sbd")
    assert digest(root) != before


def test_the_files_of_cifar(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "fine_label_names.txt").write_text("apple\nbear\n")
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes(cifar_record(0, 1) * 2)

    before = folder_identity(tmp_path)
    assert set(before.files) == {f"cifar-100-binary/{n}" for n in ("train.bin", "test.bin", "fine_label_names.txt")}
    (folder / "test.bin").write_bytes(cifar_record(0, 1) + cifar_record(0, 0))
    assert folder_identity(tmp_path).digest != before.digest


def test_samples_without_files():
    one = identify_samples(("a", "b"), 10, 4)
    assert one == identify_samples(("a", "b"), 10, 4)
    assert one.digest not in {identify_samples(("b", "a"), 10, 4).digest, identify_samples(("a", "b"), 10, 5).digest}


def test_a_second_look_reads_what_was_touched_only(class_folders, tmp_path, reads):
    aged(class_folders)
    record, calls = tmp_path / DATA, []
    before = folder_identity(class_folders, record, on_progress=lambda *call: calls.append(call))
    assert calls[-1] == (15, 15, "checking files")
    assert len(reads) == 15
    before.write(record)
    reads.clear()
    assert folder_identity(class_folders, record) == before
    assert reads == []
    (class_folders / "coffee" / "03.jpg").touch()
    assert folder_identity(class_folders, record).digest == before.digest
    assert reads == ["03.jpg"]


def test_a_time_that_is_fresh_is_not_trusted(class_folders, tmp_path, reads):
    """An overwritten file may keep time and size on a coarse clock."""
    record, file = tmp_path / DATA, class_folders / "coffee" / "03.jpg"
    aged(class_folders)
    file.touch()
    before = folder_identity(class_folders, record)
    before.write(record)
    stat, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert folder_identity(class_folders, record).digest != before.digest


def test_hashes_of_another_folder_are_not_taken(class_folders, tmp_path):
    record, other = tmp_path / DATA, shutil.copytree(class_folders, tmp_path / "other")
    file = other / "coffee" / "03.jpg"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    aged(class_folders), aged(other)
    before = folder_identity(class_folders, record)
    before.write(record)
    assert folder_identity(other, record).digest != before.digest


def test_what_changed_is_named(class_folders, tmp_path):
    record = tmp_path / DATA
    before = folder_identity(class_folders, record)
    before.write(record)
    for number in (1, 2, 3, 4):
        overwrite(class_folders / "coffee" / f"0{number}.jpg")
    overwrite(class_folders / "chelsea" / "new.jpg")
    (class_folders / "chelsea" / "00.jpg").unlink()
    expected = (
        r"data: its files have changed since the run started \(changed: coffee/0\d.jpg, coffee/0\d.jpg, coffee/0\d.jpg "
        r"and 1 more; added: chelsea/new.jpg; removed: chelsea/00.jpg\)[\s\S]*put them back"
    )
    with pytest.raises(InputError, match=expected):
        folder_identity(class_folders).check(before.digest, record, data="data", hint="put them back")


def test_a_record_of_another_version_names_nothing(class_folders, tmp_path):
    found, record = folder_identity(class_folders), tmp_path / DATA
    found.write(record)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format": 0}))
    found.check(found.digest, record, data="data", hint="")
    with pytest.raises(InputError, match="data: the run has no record of the content of its files"):
        found.check("names only", record, data="data", hint="")


def test_a_file_that_cannot_be_read_is_named(class_folders, monkeypatch):
    def fails(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(identity_module.hashlib, "file_digest", fails)
    with pytest.raises(InputError, match=r"\.jpg cannot be read \(Permission denied\)"):
        folder_identity(class_folders)


def test_a_data_set_has_it(class_folders, tmp_path):
    found = load_folder(class_folders, tmp_path / "cache", size=32)
    assert found.identity.digest == folder_identity(class_folders).digest
