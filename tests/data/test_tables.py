"""Tables of labels: every form of them is read rightly, or refused with the readings that are possible."""

import numpy as np
import pytest
from PIL import Image

from saccade.data.reading import Reading
from saccade.errors import InputError
from saccade.tasks import recognise

NAMES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Six small pictures, all different."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(NAMES):
        pixels = np.full((8, 8, 3), 40 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def make(images, tmp_path):
    """Lay the pictures out at paths, and write tables."""

    def made(tables, paths=tuple(f"{name}.png" for name in NAMES)):
        root = tmp_path / "data"
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes((images / path.rpartition("/")[2]).read_bytes())
        tables = {"labels.csv": tables} if isinstance(tables, (str, bytes)) else tables
        for name, text in tables.items():
            (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return made


def read(root, **how):
    """Name of the task, and the classes of each image by name."""
    task, reading = recognise(root, Reading(**how))
    files = task.files(root, reading)
    found = {}
    for item in (*files.train, *files.val):
        labels = item.target if isinstance(item.target, tuple) else [item.target]
        found[item.image.stem] = "".join(files.classes[label] for label in labels)
    return task.name, found, files


MANY = {"a": "xy", "b": "x", "c": "", "d": "y", "e": "xy", "f": "y"}
SEVERAL = {
    "plain": "a.png,x,y\nb.png,x\nc.png\nd.png,y\ne.png,x,y\nf.png,y\n",
    "header": "file,class,class\na.png,x,y\nb.png,x,\nc.png,,\nd.png,y,\ne.png,y,x\nf.png,y,\n",
    "ragged header": "image,labels\na.png,x,y\nb.png,x\nc.png\nd.png,y\ne.png,x,y\nf.png,y",
    "semicolons": "filename;label\na.png;x;y\nb.png;x\nc.png;\nd.png;y\ne.png;x;y\nf.png;y\n",
    "tabs, mark, CRLF": b"\xef\xbb\xbfa.png\tx\ty\r\nb.png\tx\r\nc.png\r\nd.png\ty\r\n\r\ne.png\tx\ty\r\nf.png\ty\r\n",
    "quoted": '"a.png", "x", "y"\n"b.png","x"\n"c.png"\n"d.png","y"\n"e.png","x","y"\n"f.png","y"\n',
    "without suffixes": "id,tag\na,x,y\nb,x\nc\nd,y\ne,x,y\nf,y\n",
    "one column per class": "filename, x, y\n"
    "a.png, 1, 1\nb.png, 1, 0\nc.png, 0, 0\nd.png, 0, 1\ne.png, 1, 1\nf.png, 0, 1\n",
    "files in another column": "label,class,filename\nx,y,a.png\nx,,b.png\n,,c.png\ny,,d.png\nx,y,e.png\n,y,f.png\n",
    "an id as well": "id;image;class;class\n1;a.png;x;y\n2;b.png;x;\n3;c.png;;\n4;d.png;y;\n5;e.png;x;y\n6;f.png;y;\n",
    "written by Excel": "sep=;\r\nimage;class;class\r\n"
    "a.png;x;y\r\nb.png;x\r\nc.png\r\nd.png;y\r\ne.png;x;y\r\nf.png;y\r\n",
    "paths from above": "data/a.png,x,y\n./b.png,x\n/home/me/data/c.png\ndata\\d.png,y\ne.png,x,y\nf.png,y\n",
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_classes_per_image(name, make):
    root = make(SEVERAL[name])
    task, found, files = read(root)
    assert (task, found, files.classes) == ("multi-label", MANY, ("x", "y"))
    assert files.drawn
    assert len(files.val) >= 1
    assert sum(row.count for row in files.left_out if not row.folders) == 0
    assert "from labels.csv" in files.note


@pytest.mark.parametrize(
    "text",
    [
        "a.png,x\nb.png,x\nc.png,y\nd.png,y\ne.png,x\nf.png,y\n",
        "file,label\na.png,x\nb.png,x\nc.png,y\nd.png,y\ne.png,x\nf.png,y\n",
        "id,breed\na,x\nb,x\nc,y\nd,y\ne,x\nf,y\n",
        ",file,label\n0,a.png,x\n1,b.png,x\n2,c.png,y\n3,d.png,y\n4,e.png,x\n5,f.png,y\n",
        "filename,x,y\na.png,1,0\nb.png,1,0\nc.png,0,1\nd.png,0,1\ne.png,1,0\nf.png,0,1\n",
    ],
)
def test_one_class_per_image_is_plain_classification(text, make):
    task, found, files = read(make(text))
    assert (task, files.layout) == ("classification", "table")
    assert found == {"a": "x", "b": "x", "c": "y", "d": "y", "e": "x", "f": "y"}
    task, found, _ = read(make(text), layout="multi-label")
    assert task == "multi-label"


def test_numbers_are_names_of_classes_in_a_column_of_labels(make):
    _, found, files = read(make("file,label\na.png,0\nb.png,1\nc.png,0\nd.png,1\ne.png,0\nf.png,1\n"))
    assert files.classes == ("0", "1")
    assert found["b"] == "1"


ROWS = "a.png,{}x,y\nb.png,{}x\nc.png,{}y\nd.png,{}y\ne.png,{}x,y\nf.png,{}y\n"


def test_sides_come_from_a_column(make):
    text = "file,split,class\n" + ROWS.format("train,", "train,", "training,", "val,", "valid,", "test,")
    _, _, files = read(make(text))
    assert [item.image.stem for item in files.train] == ["a", "b", "c"]
    assert [item.image.stem for item in files.val] == ["d", "e"]
    assert not files.drawn
    assert "the column 'split' of labels.csv" in files.note
    (left,) = files.left_out
    assert (left.count, left.example) == (1, "f.png")


SPLIT = ("train/a.png", "train/b.png", "train/deep/c.png", "valid/d.png", "valid/e.png", "valid/f.png")


@pytest.mark.parametrize(
    "tables",
    [
        {"labels.csv": ROWS.replace("{}", "")},
        {"train/_classes.csv": "filename, x, y\na.png, 1, 1\nb.png, 1, 0\nc.png, 0, 1\n",
         "valid/_classes.csv": "filename, x, y\nd.png, 0, 1\ne.png, 1, 1\nf.png, 0, 1\n"},
    ],
    ids=["one table", "a table of each side"],
)  # fmt: skip
def test_sides_come_from_folders(tables, make):
    task, found, files = read(make(tables, SPLIT))
    assert (task, found) == ("multi-label", {**MANY, "c": "y"})
    assert [item.image.stem for item in files.train] == ["a", "b", "c"]
    assert not files.drawn
    assert files.left_out == ()


def test_classes_are_chosen_and_images_left_out_are_counted(make):
    root = make("a.png,x\nb.png,x\nc.png,y\nd.png,y\ne.png,z\n")
    _, found, files = read(root, classes="y,x")
    assert files.classes == ("y", "x")
    assert set(found) == set("abcd")
    assert {(row.reason, row.count) for row in files.left_out} == {
        ("of a class that is not in --classes", 1), ("not in labels.csv", 1)
    }  # fmt: skip


def test_an_image_with_none_of_the_chosen_classes_stays_where_several_are_possible(make):
    _, found, _ = read(make(ROWS.replace("{}", "")), classes=["x"])
    assert found == {"a": "x", "b": "x", "c": "", "d": "", "e": "x", "f": ""}


REFUSED = {
    "missing": ("a.png,x\nb.png,y\nz.png,x\n", "1 of 3 lines name an image that is not there: z.png"),
    "twice": ("a.png,x\nb.png,y\na.png,y\n", "lines 1 and 3 both name a.png"),
    "no header, no image": ("nothing,x\na.png,x\nb.png,y\n", "line 1: 'nothing' is neither an image here"),
    "several in a cell": ('a.png,"x,y"\nb.png,x\n', "'x,y' may be one class or the 2 classes x, y"),
    "several by a bar": ("a.png,x|y\nb.png,x\n", r"'x\|y' may be one class or the 2 classes x, y"),
    "a header of other words": ("file,colour,form\na.png,red,x\nb.png,blue,y\n", "'colour' holds 'red'; expected"),
    "uncertain": ("file,x,y\na.png,1,-1\nb.png,0,1\n", "the column 'y' holds '-1'; expected 0 or 1"),
    "short": ("file,x,y\na.png,1\nb.png,0,1\n", "line 2: 2 cells, and the header has 3"),
    "0 and 1 without a header": ("a.png,0,1\nb.png,1,0\n", "its columns hold 0 and 1: a class per column, or"),
    "0 and 1 in columns of names": ("file,class,class\na.png,0,1\nb.png,1,0\n", "its columns hold 0 and 1: a class"),
    "a column without a name": (",file,class\n7,a.png,x\n9,b.png,y\n", "column 1 has no name"),
    "numbers, not classes": ("file,age\na.png,34\nb.png,51.5\n", "the column 'age' holds '34'; expected 0 or 1"),
    "two columns of files": ("file,image,class\na.png,a.png,x\nb.png,b.png,y\n", "both 'file' and 'image' may"),
    "a class is missing": ("a.png,x\nb.png,\nc.png,y\nd.png,x\n", "(?s)can be read in 2 ways.*but line 2 has none"),
    "boxes": ("filename,width,class\na.png,500,x\nb.png,400,y\n", "the column 'width' holds '500'; expected 0 or 1"),
    "sides without a header": ("a.png,train,x\nb.png,val,y\n", "column 2 holds 'train' and the like: a side, or"),
    "no side": ("file,split,class\na.png,train,x\nb.png,attic,y\n", "line 3: 'attic' is not a side"),
    "two columns": ("file,x,x\na.png,1,0\nb.png,0,1\n", "two columns are called x"),
    "case": ("a.png,x\nb.png,X\nc.png,x\nd.png,X\n", "X, x differ in case only"),
    "empty": ("\n\n", "labels.csv is empty"),
    "header alone": ("file,class\n", "a header and no rows"),
    "one column": ("a.png\nb.png\n", "no line has two cells"),
    "one class": ("a.png,x\nb.png,x\n", "only one class"),
    "not text": (b"a.png,\xff\xfe\nb.png,y\n", "cannot be read"),
    "quote": ('a.png,"x\nb.png,y\n', "labels.csv"),
    "never trained": ("file,split,class\na.png,train,x\nb.png,train,y\nc.png,val,z\n", "no training images of z"),
    "no class at all": ("file,x,y\na.png,0,0\nb.png,0,0\nc.png,1,0\n", "no training images of y"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_or_in_none_is_refused(name, make):
    text, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as refused:
        read(make(text))
    assert refused.value.hint


def test_the_same_name_in_two_folders_is_refused(make):
    root = make("a.png,x\nb.png,y\nc.png,x\nd.png,y\n", ("one/a.png", "one/b.png", "c.png", "d.png"))
    assert read(root)[1] == {"a": "x", "b": "y", "c": "x", "d": "y"}
    (root / "two").mkdir()
    (root / "two" / "a.png").write_bytes((root / "one" / "b.png").read_bytes())
    with pytest.raises(InputError, match=r"2 images may be meant by 'a.png'"):
        read(root)


FOLDERS = ("p/a.png", "p/b.png", "p/c.png", "q/d.png", "q/e.png", "q/f.png")


@pytest.mark.parametrize(
    ("table", "layout"),
    [
        ("other.png,x\n", "table"),  # no such image
        ("p/a.png,x\np/b.png,y\n", "table"),  # two of six
        ("p/a.png,x,y\np/b.png,y\n", "multi-label"),
        ("a,x\nb,y\nc,x\nd,y\ne,x\nf,y\n", "table"),  # other classes than the folders say
    ],
)
def test_a_table_that_leaves_doubt_competes_with_folders_of_classes(table, layout, make):
    root = make(table, FOLDERS)
    with pytest.raises(InputError, match=rf"(?s)can be read in 2 ways.*--layout {layout}.*--layout classes") as refused:
        recognise(root)
    assert "--layout" in refused.value.hint
    assert recognise(root, Reading(layout="classes"))[0].files(root, Reading(layout="classes")).classes == ("p", "q")


def test_a_list_of_classes_is_not_taken_for_a_table_of_images(make):
    task, found, files = read(make("ClassId,Name\n0,stop\n1,yield\n", FOLDERS))
    assert (task, files.classes) == ("classification", ("p", "q"))
    assert found["a"] == "p"
    assert [(row.count, row.example) for row in files.left_out] == [(1, "labels.csv")]


@pytest.mark.parametrize(
    ("table", "task"),
    [
        ("a,p\nb,p\nc,p\nd,q\ne,q\nf,q\n", "classification"),  # what the folders say
        ("a,x,y\nb,x\nc\nd,y\ne,x,y\nf,y\n", "multi-label"),
    ],
)
def test_a_table_of_every_image_says_how_folders_are_read(table, task, make):
    found = read(make(table, FOLDERS))
    assert found[0] == task
    assert found[2].layout in ("table", "multi-label")


def test_one_class_is_asked_for_and_an_image_has_two(make):
    with pytest.raises(InputError, match=r"a\.png has 2 classes") as refused:
        read(make(SEVERAL["plain"]), layout="table")
    assert "--layout multi-label" in refused.value.hint
