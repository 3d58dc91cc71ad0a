"""What labelling tools export becomes images and masks, pixel by pixel; what is not written is named."""

import json

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.data.check import check_data
from saccade.data.importing import import_data
from saccade.errors import InputError
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
