"""What labelling tools export becomes images and masks, pixel by pixel; what is not written is named."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.data.check import check_data
from saccade.data.images import read_image
from saccade.data.importing import import_data
from saccade.errors import InputError
from saccade.tasks.segmentation.stored import read_mask
from tests.data import exports


def masks(folder):
    return {path.stem: np.asarray(Image.open(path)) for path in folder.rglob("masks/*.png")}


@pytest.mark.parametrize("form", exports.FORMATS)
def test_every_format_gives_the_pixels_that_it_means(form, tmp_path):
    write, sided, boxes = exports.FORMATS[form]
    write(tmp_path / "export")
    done = import_data(tmp_path / "export", tmp_path / "data", boxes=boxes)
    found = masks(tmp_path / "data")
    assert found.keys() == set(exports.SIDES)
    for name, mask in found.items():
        np.testing.assert_array_equal(mask, exports.truth(name))
        side = exports.SIDES[name] if sided else ""
        image = tmp_path / "data" / side / "images" / f"{name}{exports.SUFFIX[name]}"
        [original] = (path for path in (tmp_path / "export").rglob(image.name) if "SegmentationClass" not in path.parts)
        assert image.read_bytes() == original.read_bytes()
    assert (tmp_path / "data" / "classes.txt").read_text().split() == list(exports.NAMES)
    assert done.images == {"found": 4, "written": 4, "left_out": {}}
    assert done.objects is None or done.objects["found"] == done.objects["written"]
    assert json.loads((tmp_path / "data" / "import.json").read_text())["images"] == done.images
    checked = check_data(tmp_path / "data")
    assert checked.good
    counts = {name: sum(sides.values()) for name, sides in checked.counts.items() if name in exports.NAMES}
    assert counts == done.pixels_by_class
    assert not [path for path in tmp_path.iterdir() if path.name not in ("export", "data")]


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    exports.coco(tmp_path / "export")
    with pytest.raises(SystemExit) as left:
        main(["data", "import", str(tmp_path / "export"), str(tmp_path / "data"), "--quiet"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "coco: 4 of 4 images" in said
    assert "5 of 5 objects" in said
    assert "1 images without labels are background (d.png)" in said


def test_nothing_of_the_users_is_overwritten(tmp_path):
    exports.yolo(tmp_path / "export")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not empty"):
        import_data(tmp_path / "export", tmp_path / "data")
    with pytest.raises(InputError, match="lies in"):
        import_data(tmp_path / "export", tmp_path / "export" / "new")
    assert (tmp_path / "data" / "mine.txt").read_text() == "mine"


def test_what_a_killed_import_left_is_removed(tmp_path):
    exports.yolo(tmp_path / "export")
    left, others = tmp_path / f".data.{2**22 + 1}.tmp", tmp_path / f".data.{os.getppid()}.tmp"
    for folder in (left, others):
        (folder / "images").mkdir(parents=True)
    import_data(tmp_path / "export", tmp_path / "data")
    assert not left.exists()
    assert others.exists()  # that process runs


def lossy_coco(root):
    """An export in which most entries have something wrong; every loss by what is lost."""
    exports.coco_one_file(root)
    path = root / "result.json"
    content = json.loads(path.read_text())
    content["images"] = [row for row in content["images"] if row["id"] < 12]  # a and b; c and d are not mentioned
    for row in content["images"]:
        row["id"] = str(row["id"])  # ids as text, while annotations have numbers
    whole = {"width": exports.WIDTH, "height": exports.HEIGHT}
    content["images"] += [
        {"id": 40, "file_name": "images/gone.png", **whole},
        {"id": 41, "file_name": "../outside.png", **whole},
        {"id": 10.0, "file_name": "images/a.png", **whole},
        {"id": 43, **whole},
        {"file_name": "images/b.jpg"},
    ]
    exports.picture(root / "images", "e")
    exports.picture(root / "images", "f")
    content["images"] += [{"id": 50, "file_name": "images/e.png"}, {"id": 50, "file_name": "images/f.png"}]
    content["categories"] = [{"id": 3, "name": "cat"}, {"id": 7, "name": ""}, {"id": "x", "name": "gap"}]
    short = exports.runs(np.zeros((exports.HEIGHT, exports.WIDTH), bool))
    size = [exports.HEIGHT, exports.WIDTH]
    wrong = {
        "the polygon is empty": {"segmentation": [[]]},
        "the polygon has fewer than 3 corners": {"segmentation": [[1, 1, 5, 5]]},
        "the coordinates are damaged": {"segmentation": [[1, 1, 5, 5, 5]]},
        "it lies outside the image": {"segmentation": [[40, 1, 50, 1, 50, 9]]},
        "it covers no pixel": {"segmentation": [[1, 1, 9, 1, 5, 1]]},
        "a box without a mask": {"segmentation": [], "bbox": [1, 1, 5, 5]},
        "keypoints without a mask": {"keypoints": [1, 1, 2], "num_keypoints": 1},
        "without a mask": {},
        "their image is not listed": {"segmentation": [[1, 1, 5, 1, 5, 5]], "image_id": 99},
        "their image is left out": {"segmentation": [[1, 1, 5, 1, 5, 5]], "image_id": 40},
        "their category is not listed": {"segmentation": [[1, 1, 5, 1, 5, 5]], "category_id": 5},
        "the run lengths are of another size than the image": {"segmentation": {"size": [9, 9], "counts": [81]}},
        "the run lengths do not add up to the size of the image": {"segmentation": {"size": size, "counts": [3, 4]}},
        "the run lengths are damaged": {"segmentation": {"size": size, "counts": [-1, short[0] + 1]}},
    }
    more = [{"id": 100 + n, "image_id": 10, "category_id": 3, **one} for n, one in enumerate(wrong.values())]
    more[0]["id"] = more[1]["id"]
    outer = [[28.0, 20.0, 40.0, 20.0, 40.0, 24.0, 28.0, 24.0], [1.0, 1.0]]
    more.append({"id": 200, "image_id": 10, "category_id": 3, "segmentation": outer})
    crowd = {"segmentation": {"size": size, "counts": [0, 2 * exports.HEIGHT, 720]}, "iscrowd": 1}
    more.append({"id": 201, "image_id": 10, "category_id": 7, **crowd})
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] < 12] + more
    path.write_text(json.dumps(content))
    return set(wrong)


def test_everything_found_is_written_or_named(tmp_path):
    wrong = lossy_coco(tmp_path / "export")
    done = import_data(tmp_path / "export", tmp_path / "data")
    left = done.objects["left_out"]
    assert {reason: one["count"] for reason, one in left.items()} == dict.fromkeys(wrong, 1)
    assert done.objects["found"] == done.objects["written"] + len(wrong) == 4 + len(wrong) + 2
    assert {reason: one["names"] for reason, one in done.images["left_out"].items()} == {
        "the file is not there": ["images/gone.png"],
        "their names lead out of the folder": ["../outside.png"],
        "listed more than once; the objects of all are drawn on one": ["images/a.png"],
        "without a file name": ["without a file name"],
        "without an id": ["images/b.jpg"],
        "another image has the same id": ["images/e.png", "images/f.png"],
        "the export does not mention them": ["images/c.png", "images/d.png", "images/e.png", "images/f.png"],
    }
    assert done.images["found"] == 13
    assert done.images["written"] == 2
    assert done.classes == ["background", "cat", "class 7", "gap"]
    expected = exports.truth("a")
    expected[:, :2][expected[:, :2] == 0] = 255
    expected[20:24, 28:32] = exports.CAT
    np.testing.assert_array_equal(masks(tmp_path / "data")["a"], expected)
    assert done.notes.keys() == {
        "categories without a name are called by their id",
        "annotations with the same id are all written",
        "a part of an object is left out: the polygon has fewer than 3 corners",
        "objects that reach out of their image are cut off",
    }


def outside_names(root):
    secret = exports.picture(root.parent, "secret")
    yield "coco", "../secret.png"
    yield "coco", str(secret)
    yield "coco", "images/../../secret.png"
    yield "coco", "..\\secret.png"
    yield "coco", "images/link.png"
    yield "labelme", "../secret.png"
    yield "labelme", str(secret)
    yield "cvat", "../secret.png"
    yield "cvat", str(secret)


def test_no_name_leads_out_of_the_export(tmp_path):
    """Each export names a picture outside of it; nothing of that is written."""
    for number, (form, name) in enumerate(outside_names(tmp_path / "export")):
        root = tmp_path / f"export{number}"
        if form == "coco":
            exports.coco_one_file(root)
            content = json.loads((root / "result.json").read_text())
            content["images"][0]["file_name"] = name
            (root / "result.json").write_text(json.dumps(content))
            if "link" in name:
                (root / name).symlink_to(tmp_path / "secret.png")
        elif form == "labelme":
            exports.labelme(root)
            content = json.loads((root / "a.json").read_text())
            (root / "a.json").write_text(json.dumps(content | {"imagePath": name}))
        else:
            exports.cvat(root)
            text = (root / "annotations.xml").read_text()
            (root / "annotations.xml").write_text(text.replace('name="a.png"', f'name="{name}"'))
        done = import_data(root, tmp_path / f"data{number}", boxes=True)
        assert "secret" not in {path.stem for path in (tmp_path / f"data{number}").rglob("*")}
        left = {reason: one["names"] for reason, one in done.images["left_out"].items()}
        named = [one for names in left.values() for one in names]
        assert any(name in one for one in named), (form, name, left)
        assert done.objects["left_out"]["their image is left out"]["count"] == 2
        assert "its objects are" not in str(done)


def test_a_yaml_that_points_outside_is_looked_up_inside(tmp_path):
    exports.yolo(tmp_path / "export")
    (tmp_path / "images" / "train").mkdir(parents=True)
    exports.picture(tmp_path / "images" / "train", "secret")
    text = (tmp_path / "export" / "data.yaml").read_text().replace("path: .", f"path: {tmp_path}")
    (tmp_path / "export" / "data.yaml").write_text(text.replace("train: images", f"train: {tmp_path}/images"))
    assert import_data(tmp_path / "export", tmp_path / "data").sides == {"train": 2, "val": 2}
    assert masks(tmp_path / "data").keys() == set(exports.SIDES)


@pytest.mark.parametrize(
    ("said", "hint", "change"),
    [
        ("is not an export that is known; seen: 1 files .md", "known formats", lambda root: None),
        ("seen: 1 files .md, 1 files .xml", "VOC's boxes", lambda root: (root / "a.xml").write_text("<annotation>")),
        ("can be read as coco or as cvat", "--format coco", lambda root: [exports.coco(root), exports.cvat(root)]),
        ("6 objects left out: a box without a mask", "--boxes", lambda root: only_boxes(root)),
        ("4 objects left out: a box without a mask", "--boxes", lambda root: darknet(root)),
        ("is not valid JSON", "export it again", lambda root: (root / "a.json").write_text('{"images": [')),
        ("declares entities", "export it again", lambda root: entities(root)),
        ("the names of the classes are missing", "class_names.txt", lambda root: nameless(root)),
    ],
)
def test_what_cannot_be_imported_is_refused_and_leaves_nothing(said, hint, change, tmp_path):
    root = tmp_path / "export"
    root.mkdir()
    (root / "README.md").write_text("exported")
    change(root)
    with pytest.raises(InputError) as refused:
        import_data(root, tmp_path / "data")
    assert said in refused.value.message
    assert hint in refused.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def only_boxes(root):
    exports.yolo(root)
    for path in (root / "labels").rglob("*.txt"):
        rows = path.read_text().splitlines()
        path.write_text("".join(f"{row.split()[0]} 0.5 0.5 0.2 0.2\n" for row in rows))


def darknet(root):
    """CVAT's YOLO 1.1: boxes in files next to the images."""
    for name in exports.SIDES:
        file = exports.picture(root / "obj_train_data", name)
        file.with_suffix(".txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "obj.names").write_text("cat\ndog\n")
    (root / "train.txt").write_text("data/obj_train_data/a.png\n")


def entities(root):
    exports.cvat(root)
    text = (root / "annotations.xml").read_text()
    (root / "annotations.xml").write_text(text.replace("<annotations>", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>'))


def nameless(root):
    exports.voc(root)
    (root / "class_names.txt").unlink()


def test_options_decide_order_boxes_and_images_without_labels(tmp_path):
    exports.coco_one_file(tmp_path / "export")
    path = tmp_path / "export" / "result.json"
    content = json.loads(path.read_text())
    content["annotations"][:2] = content["annotations"][1::-1]  # the smaller dog of a comes first
    for row in content["annotations"]:
        row["area"] = 0  # areas are counted, not believed
    content["annotations"].append({"id": 9, "image_id": 12, "category_id": 7, "bbox": [10, 10, 4, 4]})
    path.write_text(json.dumps(content))
    under = import_data(tmp_path / "export", tmp_path / "order")
    over = import_data(
        tmp_path / "export", tmp_path / "area", overlap="area", boxes=True, unlabelled="leave-out", link=True
    )
    assert masks(tmp_path / "order")["a"][7, 12] == exports.CAT
    np.testing.assert_array_equal(masks(tmp_path / "area")["a"], exports.truth("a"))
    assert under.overlapping_pixels == over.overlapping_pixels == 8
    assert (masks(tmp_path / "order")["c"][10:14, 10:14] == 0).all()
    assert (masks(tmp_path / "area")["c"][10:14, 10:14] == exports.DOG).all()
    assert (under.unlabelled, over.unlabelled) == (["images/d.png"], [])
    assert over.images["left_out"] == {"without labels": {"count": 1, "names": ["images/d.png"]}}
    linked = tmp_path / "area" / "images" / "a.png"
    assert linked.samefile(tmp_path / "export" / "images" / "a.png")
    assert not (tmp_path / "order" / "images" / "a.png").samefile(linked)


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
@pytest.mark.parametrize("frame", ["stored", "turned"])
def test_masks_stand_as_turned_images_are_seen(orientation, frame, tmp_path):
    """A labelled corner of the picture is the same corner in the mask, whichever pixels the labels refer to."""
    root = tmp_path / "export"
    root.mkdir()
    stored = np.zeros((exports.HEIGHT, exports.WIDTH, 3), np.uint8)
    stored[:6, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(root / "a.png", exif=exif)
    Image.fromarray(stored).save(root / "b.png")
    seen = np.asarray(read_image(root / "a.png"))[..., 0] > 0
    pixels = seen if frame == "turned" else stored[..., 0] > 0
    (top, left), (bottom, right) = (np.argwhere(pixels).min(0), np.argwhere(pixels).max(0) + 1)
    corner = [[int(left), int(top)], [int(right), int(top)], [int(right), int(bottom)], [int(left), int(bottom)]]
    for name, points, size in (("a", corner, pixels.shape), ("b", [[0, 0], [8, 0], [8, 6], [0, 6]], stored.shape)):
        shapes = [{"label": "corner", "points": points, "shape_type": "polygon"}]
        content = {"shapes": shapes, "imagePath": f"{name}.png", "imageHeight": size[0], "imageWidth": size[1]}
        (root / f"{name}.json").write_text(json.dumps(content))
    if orientation < 5:  # the size does not tell
        with pytest.raises(InputError, match="as stored or as turned") as refused:
            import_data(root, tmp_path / "unclear")
        assert "--exif" in refused.value.hint
    import_data(root, tmp_path / "data", exif=frame if orientation < 5 else None)
    for name, expected in (("a", seen), ("b", stored[..., 0] > 0)):
        mask = tmp_path / "data" / "masks" / f"{name}.png"
        np.testing.assert_array_equal(read_mask(mask) == 1, expected)
        np.testing.assert_array_equal(np.asarray(Image.open(mask)) == 1, stored[..., 0] > 0)
    assert check_data(tmp_path / "data").good


def test_sides_and_names(tmp_path):
    """Three sides are kept; images of one name are told apart; names that read as colours or as YAML's no are kept."""
    root = tmp_path / "export"
    for side in ("train", "valid", "test"):
        for folder in ("x", "y"):
            exports.picture(root / side / "images" / folder, "a")
            (root / side / "labels" / folder).mkdir(parents=True)
            (root / side / "labels" / folder / "a.txt").write_text(
                "0 0 0 1 0 1 0.5\n1 0 1 1 1 0.5 0.5\n9 0 0 1 0 1 1\n"
            )
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: [no, car 1 2 3]\n")
    done = import_data(root, tmp_path / "data")
    assert done.sides == {"train": 2, "val": 2, "test": 2}
    assert {path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("masks/*")} == {
        f"{side}/masks/{name}.png" for side in ("train", "val", "test") for name in ("a", "y_a")
    }
    assert (tmp_path / "data" / "classes.txt").read_text().splitlines() == ["background", "no", "car_1_2_3"]
    assert done.objects["left_out"]["the number of their class has no name"]["count"] == 6
    assert check_data(tmp_path / "data").counts["no"]["train"] > 0


@pytest.mark.parametrize("form", sorted(set(exports.FORMATS) - {"roboflow-masks", "voc", "cvat-masks"}))
def test_an_export_that_is_trained_on_as_it_is_leads_to_the_import(form, tmp_path):
    exports.FORMATS[form].write(tmp_path / "export")
    with pytest.raises(InputError) as refused:
        check_data(tmp_path / "export")
    assert "saccade data import" in refused.value.hint


def test_names_of_values_are_not_taken_for_a_table_of_labels(tmp_path):
    exports.roboflow_masks(tmp_path / "export")
    assert check_data(tmp_path / "export").task == "segmentation"


def test_masks_of_voc_have_borders_to_ignore_and_a_background_anywhere(tmp_path):
    exports.cvat_masks(tmp_path / "export")
    (tmp_path / "export" / "labelmap.txt").write_text(
        "cat:250,50,83::\nbackground:0,0,0::\ndog:51,221,255::\nignore:1,2,3::\n"
    )
    colours = np.array(exports.COLOURS, np.uint8)[exports.truth("a")]
    colours[0], colours[1] = (224, 224, 192), (1, 2, 3)
    masks_of = tmp_path / "export" / "SegmentationClass"
    Image.fromarray(colours).save(masks_of / "a.png")
    places = np.array(Image.fromarray(exports.truth("b")))
    places[0] = 255
    palette = Image.fromarray(places).convert("L").convert("P")
    palette.putpalette([*np.ravel(exports.COLOURS), *[0] * 759])
    palette.putdata(places.reshape(-1).tolist())
    palette.save(masks_of / "b.png")
    wrong = colours.copy()
    wrong[5, 5] = (9, 9, 9)
    Image.fromarray(wrong).save(masks_of / "c.png")
    done = import_data(tmp_path / "export", tmp_path / "data")
    assert done.classes == list(exports.NAMES)
    found = masks(tmp_path / "data")
    for name, rows in (("a", 2), ("b", 1)):
        np.testing.assert_array_equal(found[name][:rows], 255)
        np.testing.assert_array_equal(found[name][rows:], exports.truth(name)[rows:])
    assert done.images["left_out"] == {
        "their masks hold the colour (9, 9, 9), which the export does not name": {
            "count": 1,
            "names": ["JPEGImages/c.png"],
        }
    }


def test_shapes_of_tools_cover_their_pixels(tmp_path):
    """Holes, turned boxes and ellipses, and circles: areas by their formulas, and symmetric."""
    root = tmp_path / "export"
    exports.cvat(root)
    body = (
        '<ellipse label="cat" cx="16" cy="12" rx="10" ry="4" rotation="90"></ellipse>'
        '<box label="dog" xtl="12" ytl="8" xbr="20" ybr="16" rotation="45"></box>'
        '<polyline label="cat" points="1,1;2,2"></polyline>'
    )
    head = (root / "annotations.xml").read_text().partition("<image")[0]
    image = f'<image id="0" name="a.png" width="32" height="24">{body}</image>'
    (root / "annotations.xml").write_text(f"{head}{image}</annotations>")
    done = import_data(root, tmp_path / "data", boxes=True)
    found = masks(tmp_path / "data")["a"]
    assert abs((found > 0).sum() - np.pi * 40 - 4 * 3) < 12  # the corners of the box stand out of the ellipse
    assert (found == exports.DOG).sum() == 60  # a square of 64 on its corner, by centres of pixels
    np.testing.assert_array_equal(found, found[::-1])
    np.testing.assert_array_equal(found, found[:, ::-1])
    assert done.objects["left_out"] == {"a polyline has no area": {"count": 1, "names": ["a.png: polyline 3"]}}

    exports.supervisely(tmp_path / "sly")
    path = tmp_path / "sly" / "train" / "ann" / "a.png.json"
    content = json.loads(path.read_text())
    content["objects"][0]["points"] = {
        "exterior": [[2, 2], [9, 2], [9, 9], [2, 9]],
        "interior": [[[4, 4], [6, 4], [6, 6], [4, 6]]],
    }
    content["objects"][1:] = [
        {"classTitle": "dog", "geometryType": "point", "points": {"exterior": [[1, 1]], "interior": []}}
    ]
    path.write_text(json.dumps(content))
    done = import_data(tmp_path / "sly", tmp_path / "holes")
    expected = np.zeros((exports.HEIGHT, exports.WIDTH), np.uint8)
    expected[2:10, 2:10], expected[4:7, 4:7] = exports.CAT, 0
    np.testing.assert_array_equal(masks(tmp_path / "holes")["a"], expected)
    assert done.objects["left_out"]["a point is not read"]["count"] == 1
