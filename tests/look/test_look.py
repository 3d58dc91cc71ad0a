"""Pages of look: what is refused and how, what a page states, and that it stays small."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from safetensors.torch import load_file

import saccade
from saccade.errors import InputError
from saccade.inspection.grids import SIDE
from saccade.look.images import check_queries, read_picture
from saccade.look.look import located, look
from saccade.look.networks import Inspected, make_network, open_model
from saccade.look.views import BUDGET, look_into
from saccade.networks.notes import NotesNet
from saccade.saving.store import header_of
from saccade.training.checkpoint import save_weights
from tests.comparison import folders
from tests.comparison.inline import InlinePool
from tests.look.networks import EXAMPLE, picture, saved


def page_of(folder, network, **options):
    (found,) = look([picture(folder)], network, folder / "out", **options)
    return found, found.page.read_text(encoding="utf-8")


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page)[1])


def untrained(*mechanisms):
    net = NotesNet()
    for mechanism, at in mechanisms:
        saccade.insert(net, mechanism, at=at, **EXAMPLE)
    return Inspected(net.eval(), "notes", "run")


@pytest.mark.parametrize("query", [(60, 0), (0, 80), (-1, 3)])
def test_a_query_outside_the_image_is_refused_with_its_size(tmp_path, query):
    shown = read_picture(picture(tmp_path), None)
    with pytest.raises(
        InputError, match=r"outside scene.png, which is 60 pixels high and 80 wide\nhint: give Y,X with 0"
    ):
        check_queries([(3, 3), query], shown)


def test_a_pixel_lies_in_the_cell_that_covers_it(tmp_path):
    shown = read_picture(picture(tmp_path), None)
    assert shown.cell((0, 0), (8, 10)) == (0, 0)
    assert shown.cell((59, 79), (8, 10)) == (7, 9)
    assert shown.cell((30, 39), (8, 10)) == (4, 4)


def test_images_of_every_kind_are_turned_into_8_bit_rgb(tmp_path):
    grey = Image.fromarray(np.tile(2000 * np.arange(30), (20, 1)).astype(np.uint16))
    grey.save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png", None).read[0, 29, 0] == round(58000 / 257)
    Image.new("CMYK", (30, 20), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    red = read_picture(tmp_path / "cmyk.jpg", None).read[10, 10]
    assert red[0] > 200 > 60 > max(red[1:])
    turned = Image.new("RGB", (30, 20))
    exif = turned.getexif()
    exif[ExifTags.Base.Orientation] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg", None).size == (30, 20)
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    moving = read_picture(tmp_path / "moving.gif", None)
    assert moving.frames == 2
    assert tuple(moving.read[5, 5]) == (255, 0, 0)


def test_a_page_says_that_it_shows_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (found,) = look([tmp_path / "moving.gif"], untrained(("se", "block2.bn2")), tmp_path)
    assert "The file has 2 frames or pages; this is the first." in found.page.read_text()


def test_broken_and_missing_images_are_named_before_anything_is_written(tmp_path):
    good, out = picture(tmp_path), tmp_path / "out"
    (tmp_path / "broken.png").write_bytes(good.read_bytes()[:200])
    network = untrained(("se", "block2.bn2"))
    for name, said in (("broken.png", "broken.png: it cannot be decoded"), ("no.png", "no.png: no such image")):
        with pytest.raises(InputError, match=said):
            look([good, tmp_path / name], network, out)
    with pytest.raises(InputError, match=r"outside scene\.png"):
        look([good], network, out, queries=[(99, 0)])
    with pytest.raises(InputError, match=r"no place 'block2.bn1'\nhint: .*block2.bn2"):
        look([good], network, out, place="block2.bn1")
    assert not out.exists()


def test_a_size_a_network_cannot_take_is_refused(tmp_path):
    class Picky(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.se = saccade.create("se", channels=3)

        def forward(self, x):
            return self.se(x.view(1, 3, 10, 10))

    with pytest.raises(InputError, match=r"the network cannot work on 60 x 80 pixels .*\nhint: choose another --size"):
        look([picture(tmp_path)], Inspected(Picky(), "picky", "run"), tmp_path)


def test_a_network_without_attention_is_refused_with_its_places(tmp_path):
    saccade.save(NotesNet(), tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match=r"NotesNet has no attention mechanism.*\nhint: .*places for se.*block1.bn2"):
        open_model(tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="nothing of Conv3x3 can be shown"):
        look_into(untrained(("conv3x3", "block2")).net, read_picture(picture(tmp_path), None), [])


def test_files_that_are_no_network_are_refused(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        open_model(tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match="no such file"):
        open_model(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no network in this folder"):
        open_model(tmp_path / "empty")


def test_a_saved_network_opens_from_its_file_or_folder(tmp_path):
    file = saved(tmp_path, ("pam", "block2"))
    assert open_model(file).trained == "run"
    file.rename(tmp_path / "model.safetensors")
    torch.testing.assert_close(open_model(tmp_path).net.block2.saccade.mechanism.gamma, torch.tensor([0.5]))


def test_a_run_of_training_opens_with_its_classes_and_size(tmp_path):
    net = saccade.load(saved(tmp_path, ("pam", "block2")))
    reading = {"task": "classification", "classes": ["cat", "dog"], "size": 64, "crop": 0.875}
    save_weights(net, tmp_path / "best.safetensors", header_of(net) | {"reading": reading})
    network = open_model(tmp_path)
    assert (network.classes, network.size, network.trained) == (("cat", "dog"), 64, "run")
    _, page = page_of(tmp_path, network)
    assert "the network read it at 48 × 64" in page


@pytest.mark.full
def test_a_run_of_a_comparison_opens_by_run_or_arm(tmp_path, monkeypatch):
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    how = {"seeds": 1, "steps": 2, "size": 32, "batch": 6, "jobs": 1, "device": "cpu", "progress": False}
    out = tmp_path / "out"
    saccade.compare(folders.classification(tmp_path / "textures"), "none,se", backbone="resnet10t", out=out, **how)
    for given in ("runs/se", "runs/se/0", "runs/se/0/model.safetensors"):
        network = open_model(out / given)
        assert (network.name, network.trained, network.size) == ("resnet10t + se", "run", 32)
    assert network.classes == folders.TEXTURES
    stored = load_file(out / "runs" / "se" / "0" / "model.safetensors")
    torch.testing.assert_close(dict(network.net.state_dict()), stored)
    with pytest.raises(InputError, match="has no attention mechanism"):
        open_model(out / "runs" / "none")
    (out / "results.json").unlink()
    assert open_model(out / "runs" / "se").classes == folders.TEXTURES  # each run says how it is to be read
    damaged = out / "runs" / "se" / "0" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        open_model(out / "runs" / "se")


@pytest.mark.parametrize(
    ("pretrained", "said"), [(False, "untrained weights"), (True, "untrained weights of the mech")]
)
def test_random_weights_are_said_to_be_random(tmp_path, pretrained, said):
    network = make_network("se", "notes")
    network = Inspected(network.net, network.name, "backbone" if pretrained else network.trained)
    _, page = page_of(tmp_path, network)
    assert "<mark title=" in page
    assert said in page.partition("<mark")[2].partition("</mark>")[0]
    _, page = page_of(tmp_path, Inspected(network.net, "notes", "run"))
    assert "<mark" not in page


def test_weights_of_a_backbone_come_from_a_file(tmp_path):
    import timm

    state = timm.create_model("resnet10t").state_dict()
    torch.save(state, tmp_path / "weights.pth")
    network = make_network("eca", "resnet10t", pretrained=str(tmp_path / "weights.pth"))
    assert network.trained == "backbone"
    torch.testing.assert_close(network.net.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    assert len(network.classes) == 1000


def test_a_backbone_reads_images_as_its_weights_expect(tmp_path):
    import timm

    name = "tf_efficientnet_lite0"  # 0.5 and 0.5, unlike most
    torch.save(timm.create_model(name).state_dict(), tmp_path / "weights.pth")
    network = make_network("eca", name, at="stage:-1", pretrained=str(tmp_path / "weights.pth"))
    seen, kept = [], network.net.forward
    network.net.forward = lambda x: seen.append(x) or kept(x)
    look([picture(tmp_path)], network, tmp_path / "out", size=32)
    torch.testing.assert_close((seen[0] + 1) * 127.5, ((seen[0] + 1) * 127.5).round(), rtol=0, atol=1e-4)


def test_a_network_of_torchvision_is_untrained():
    network = make_network("gc", "torchvision/resnet18", at="layer3")
    assert (network.trained, network.name, network.size) == ("none", "torchvision/resnet18 + gc", 224)
    with pytest.raises(InputError, match="for networks of timm only"):
        make_network("gc", "torchvision/resnet18", pretrained=True)


def test_names_from_outside_stay_text(tmp_path):
    network = Inspected(untrained(("pam", "block2")).net, "<b>net</b>", "run", ("</script><script>alert(1)",) * 11)
    (found,) = look([picture(tmp_path, name="<i>&amp;.png")], network, tmp_path / "out")
    page = found.page.read_text()
    assert "<i>&amp;" not in page
    assert "<b>net" not in page
    assert "<script>alert" not in page
    assert page.count("<script>") == 1


@pytest.mark.full
def test_a_page_stays_below_10_mb_whatever_the_maps(tmp_path):
    """Nine places of 96 x 96 positions: the grid of queries gives way, no place does."""
    net = torch.nn.Sequential(*(saccade.create("pam", channels=8) for _ in range(9)))
    shown = read_picture(picture(tmp_path, 96, 96), None)
    widened = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), net).eval()
    seen = look_into(widened, shown, [(3, 3)])
    assert len(seen.places) == 9
    assert 16 < seen.side < SIDE
    assert sum(view.grid.nbytes for view in seen.places) <= BUDGET * 1.05
    assert all(0 < view.grid.moved < 1 and view.grid.rounding < 0.0021 for view in seen.places)
    (found,) = look([tmp_path / "scene.png"], Inspected(widened, "many", "run"), tmp_path / "out", queries=[(3, 3)])
    page = found.page.read_text()
    assert len(page.encode()) < 10_000_000
    assert f"what {seen.side} × {seen.side} queries attend to on 32 × 32 sources" in page
    assert "that moves" in page


def test_what_is_stored_is_stated_with_its_error(tmp_path):
    network = untrained(("pam", "block2"))
    found, page = page_of(tmp_path, network, queries=[(10, 20)])
    assert "Every query is stored." in page
    assert "Points given with --query are exact." in page
    worst = float(re.search(r"largest rounding error is ([\d.]+)%", page)[1])
    assert 0 < worst <= 0.2
    stored = data_of(page)["places"][0]["weights"]
    assert stored["queries"] == stored["size"] == [8, 10]
    (exact,) = stored["exact"]
    assert exact["at"] == [1, 2]
    assert found.places[0]["query_dependence"] > 0


@pytest.mark.full
def test_every_mechanism_makes_a_page(tmp_path):
    shown = picture(tmp_path)
    for name in saccade.list_mechanisms():
        network = make_network(name, "notes")
        (found,) = look([shown], network, tmp_path / name, queries=[(5, 5)], png=True)
        assert found.pictures
        for path in found.pictures:
            Image.open(path).verify()
        assert all("NaN" not in text for text in (found.page.read_text(),))


def test_two_images_of_one_name_make_two_pages(tmp_path):
    (tmp_path / "other").mkdir()
    images = [picture(tmp_path), picture(tmp_path / "other")]
    found = look(images, untrained(("se", "block2.bn2")), tmp_path / "out")
    assert [one.page.name for one in found] == ["scene.html", "scene-2.html"]


class Peaks(NotesNet):
    """Heat maps whose highest pixels are known: (3, 5) and (0, 0) of the first two joints, none of the third."""

    def forward(self, x):
        maps = 0 * super().forward(x)[:, :3] - 1
        maps[:, 0, 3, 5] = maps[:, 1, 0, 0] = 1
        return maps


def test_a_key_point_is_a_query_where_the_network_finds_it(tmp_path):
    net = saccade.insert(Peaks().eval(), "pam", at="block2", **EXAMPLE)
    network = Inspected(net.eval(), "peaks", "run", joints=("beak", "tail", "left_wing"))
    shown = read_picture(picture(tmp_path), None)
    assert located(["tail", (7, 9), "beak"], network, shown) == [(2, 2), (7, 9), (14, 22)]
    _, page = page_of(tmp_path, network, queries=["beak"])
    assert "Points given with --query are exact." in page
    for query, message in (("wing", "'wing' is not a key point"), ("left_wing", "finds no left_wing")):
        with pytest.raises(InputError, match=message):
            located([query], network, shown)
