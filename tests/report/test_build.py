"""The page says what the results say, in both languages, whole and safe; and it stands when something is missing."""

import base64
import csv
import io
import json
import re
import shlex
import sys
from dataclasses import replace
from html.parser import HTMLParser
from inspect import getsource
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import saccade
from saccade.catalog import NaturalPlace
from saccade.cli import main
from saccade.comparison import statistics
from saccade.comparison.arms import resolve_arms
from saccade.comparison.experiment import Experiment
from saccade.comparison.results import ShownImage, read_results
from saccade.comparison.settings import Settings
from saccade.comparison.statistics import Verdict
from saccade.data import PADDING
from saccade.errors import InputError
from saccade.outputs import RECORD
from saccade.report import build_report, scenes, table
from saccade.report.further import further
from saccade.report.texts import TEXTS
from saccade.tasks.segmentation.task import Segmentation
from tests.catalog.code import BLOCKS
from tests.report.fixture import write_comparison
from tests.training.tiny import dataset

VOID = {"meta", "link", "img", "br", "hr", "wbr"}
LOADING = {"src", "href", "srcset", "data", "action", "poster"}


def json_of(value):
    return json.loads(json.dumps(value))


class Reader(HTMLParser):
    """Checks that tags nest, and collects text, ids, and whatever a browser could load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.text, self.ids, self.loads, self.images = [], [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.loads += [value for name, value in attrs if name in LOADING]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.images += [attributes] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """SVG shapes that close themselves."""

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        self.text.append(data)


def build(folder: Path, **options) -> tuple[str, Reader]:
    page = build_report(write_comparison(folder, **options)).read_text("utf-8")
    return page, Reader(page)


def section(page: str, name: str) -> bool:
    return f'aria-labelledby="{name}"' in page


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_is_one_well_formed_file_that_loads_nothing(tmp_path, task):
    page, reader = build(tmp_path, task=task)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert [load[:40] for load in reader.loads if not load.startswith(("data:", "#"))] == []
    assert not re.search(r"https?://|@import|url\((?!data:)", page)
    assert all(image["alt"] and image["data-zh-alt"] for image in reader.images)
    assert len(page) < 3_000_000
    for name in ("differences", "pictures", "cost", "seeds", "curves", "table", "how", "repeat"):
        assert section(page, name), name
    assert section(page, "kinds") == section(page, "task") == (task == "segmentation")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [RECORD]


def test_numbers_are_those_of_the_results(tmp_path):
    page, _ = build(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    arm = results["arms"][3]
    low, high = arm["difference"]["interval"]
    row = re.search(r'<tr><th scope="row">[^\n]*non_local<small>[^\n]*</th>.*?</tr>', page, re.S).group()
    for text in (
        f"{arm['mean']:.3f}",
        f"{arm['difference']['mean']:+.3f}",
        f"{low:+.3f} … {high:+.3f}",
        "102,747",
        "15.4 M",
    ):
        assert text in row
    assert re.search(r"<h1[^>]*>.*non_local\xa0\(\+0\.1\d\d\), cbam\xa0.* helped\.", page)
    assert results["command"] in page
    assert "after 300 steps" in page
    assert "says nothing about your own data" in page


def test_the_sentence_groups_arms_by_verdict(tmp_path):
    arms = ("none", "se", "cbam", "non_local", "conv3x3")
    folder = write_comparison(tmp_path, arms=arms, pictures=False, logs=False)
    results = json.loads((folder / "results.json").read_text())
    given = (("can't tell", 0.01), ("worse", -0.02), ("better", 0.1), ("better", 0.09))
    for arm, (verdict, mean) in zip(results["arms"][1:], given, strict=True):
        arm["difference"] |= {"verdict": verdict, "mean": mean}
    (folder / "results.json").write_text(json.dumps(results))
    page = build_report(folder).read_text("utf-8")
    assert "non_local\xa0(+0.100) helped; cbam\xa0(−0.020) hurt; se: can&#x27;t tell." in page
    assert "non_local\xa0(+0.100) 有帮助；cbam\xa0(−0.020) 有损害；se：无法判断。" in page
    assert "that part may come from parameters alone" in page


def test_one_seed_gives_no_interval_and_no_verdict(tmp_path):
    page, reader = build(tmp_path, seeds=(3,))
    assert reader.open == []
    assert "Can&#x27;t tell yet: 1 of the 3 seeds" in page
    assert "fewer than 3 seeds" in page
    assert '<line class="interval"' not in page
    assert '<line class="bar' not in page
    assert not re.search(r"\b(nan|None)\b", " ".join(reader.text))


def test_names_from_outside_stay_text(tmp_path):
    name = "<script>alert(1)</script>&\"'"
    data = {"name": name, "demo": False, "note": name, "classes": [name] * 11, "train": 1, "val": 1}
    page, reader = build(tmp_path, data=data, command=f"saccade compare '{name}'")
    assert reader.open == []
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert any(name in text for text in reader.text)


def test_many_arms_with_options(tmp_path):
    arms = ("none", "none-2", *(f"psa[variant={k},parts=channel]" for k in range(10)))
    page, reader = build(tmp_path, arms=arms)
    assert reader.open == []
    assert "and 8 more helped" in page
    assert all(arm in page for arm in arms)


@pytest.mark.parametrize(("missing", "gone"), [("pictures", "pictures"), ("logs", "curves")])
def test_leaves_out_what_is_missing(tmp_path, missing, gone):
    page, reader = build(tmp_path, **{missing: False})
    assert reader.open == []
    assert not section(page, gone)
    assert section(page, "table")


def test_curves_are_means_over_the_seeds(tmp_path):
    from saccade.report.logs import read_curves

    folder = write_comparison(tmp_path, seeds=(0, 1), pictures=False)
    results = read_results(folder)
    steps, mean, low, high = read_curves(folder, results, "score")[2]
    by_hand = []
    for seed in (0, 1):
        with (folder / "runs" / "cbam" / str(seed) / "log.csv").open() as file:
            by_hand.append([float(row["score"]) for row in csv.DictReader(file) if row["score"]])
    assert steps == [50, 100, 150, 200, 250, 300]
    np.testing.assert_allclose(mean, np.mean(by_hand, axis=0))
    np.testing.assert_allclose([low, high], [np.min(by_hand, axis=0), np.max(by_hand, axis=0)])


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no results.json"), ("{", "is not valid JSON"), ('{"schema": 1}', "schema 1"), ("[]", "schema None")],
)
def test_names_what_is_wrong(tmp_path, text, message):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=message):
        build_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_wrong_pixels_are_striped_and_only_those(tmp_path):
    from saccade.report.pictures import region_overlay

    classes, wrong = np.full((96, 96), 10, np.uint8), np.zeros((96, 96), bool)
    classes[8:40, 8:40], wrong[24:40, 8:40] = 3, True
    uri = region_overlay(classes, wrong, ground=10)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA")).astype(int)
    assert pixels.shape == (384, 384, 4)
    assert (pixels[200:, :, 3] == 0).all()  # the ground stays clear
    striped = (pixels[..., :3].max(axis=-1) < 40) & (pixels[..., 3] > 200)
    assert striped[100:156, 40:156].mean() > 0.3
    assert not striped[40:90, 40:150].any()


def test_regions_agree_with_scikit_image():
    from skimage.measure import label

    from saccade.report.pictures import components

    rng = np.random.default_rng(0)
    classes = np.kron(rng.integers(0, 3, (12, 12)), np.ones((4, 4))).astype(np.uint8)
    found = components(classes, ground=0)
    expected = label(classes, background=0, connectivity=1)
    assert len(found) == expected.max()
    for number, mask in found:
        assert len(set(expected[mask])) == 1
        assert (classes[mask] == number).all()
        assert mask.sum() == (expected == expected[mask][0]).sum()


def test_bright_means_much_weight():
    from saccade.report.pictures import heat_overlay, heat_palette

    weights = np.full((6, 6), 0.2)
    weights[1, 4] = 1.0
    uri = heat_overlay(weights, 0.0, 1.0)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA")).astype(float)
    luma = pixels[..., :3] @ (0.299, 0.587, 0.114) * pixels[..., 3] / 255
    row, column = np.unravel_index(luma.argmax(), luma.shape)
    assert (row // 16, column // 16) == (1, 4)
    colours = np.array(heat_palette(clear=True), float)
    assert (np.diff(colours[:, :3] @ (0.299, 0.587, 0.114)) > 0).all()  # told apart without colour
    assert (np.diff(colours[:, 3]) >= 0).all()


def test_the_query_and_its_sources_stand_where_they_are(tmp_path):
    folder = write_comparison(tmp_path, arms=("none", "non_local"), logs=False)
    index = json.loads((folder / "pictures" / "index.json").read_text())["images"]
    with np.load(folder / "pictures" / "non_local.npz") as stored:
        weights = stored["block2|weights"][0]
    page = build_report(folder).read_text("utf-8")
    down, across = (100 * (value + 0.5) / 96 for value in index[0]["query"])
    assert f'<i class="query" style="top:{down:.2f}%;left:{across:.2f}%">' in page
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    assert f'<i class="source" style="top:{100 * (row + 0.5) / 12:.2f}%;left:{100 * (column + 0.5) / 12:.2f}%' in page


def test_every_text_says_the_same_in_both_languages():
    for key, texts in TEXTS.items():
        english, chinese = (set(re.findall(r"{(\w+)}|(<b>)", text)) for text in texts)
        assert key == "joined_more" or english == chinese, key
        assert not re.search(r"[\u4e00-\u9fff][,;:?()]|[,;:?()][\u4e00-\u9fff]", texts[1]), key  # Chinese has its own


def test_a_page_without_a_failure_does_not_speak_of_one(tmp_path):
    page = tmp_path / "with"
    write_comparison(page, task="segmentation")
    assert "A failure shows the limit" in build_report(page).read_text(encoding="utf-8")
    assert "right pixels on this image, non_local against none: −20.0%" in (page / "report.html").read_text(
        encoding="utf-8"
    )
    index = json.loads((page / "pictures" / "index.json").read_text())
    index["images"] = [image for image in index["images"] if image["role"] != "failure"]
    (page / "pictures" / "index.json").write_text(json.dumps(index))
    assert "A failure shows the limit" not in build_report(page).read_text(encoding="utf-8")


def test_products_that_are_no_shares_are_not_called_so(tmp_path):
    page = tmp_path
    write_comparison(page, task="segmentation")
    for path in (page / "pictures").glob("*.npz"):
        arrays = dict(np.load(path))
        signed = {key: value - value.mean() for key, value in arrays.items() if key.endswith("|weights")}
        np.savez(path, **(arrays | signed))
    text = build_report(page).read_text(encoding="utf-8")
    assert "products with the query point" in text
    assert "of the weight (if even" not in text.partition('id="live"')[0]


def test_says_what_each_mechanism_attends_to(tmp_path):
    write_comparison(tmp_path, arms=("none", "se", "cbam", "non_local", "conv3x3"), pictures=False)
    text = build_report(tmp_path).read_text(encoding="utf-8")
    told = re.findall(r"attends to ([a-z ]+)", text)
    assert told == ["channels", "channels and positions", "positions"]


def test_maps_of_rows_and_columns_are_called_their_mean(tmp_path):
    write_comparison(tmp_path, task="segmentation", arms=("none", "fla"))
    (path,) = (tmp_path / "pictures").glob("fla*.npz")
    arrays = {key: value for key, value in np.load(path).items() if "|" not in key}
    np.savez(path, **arrays, **{"block2|strip_weights": np.full((len(arrays["predictions"]), 4, 4), 0.25)})
    assert "4 channels, mean of all rows and columns" in build_report(tmp_path).read_text(encoding="utf-8")


def test_every_verdict_and_reason_has_both_languages():
    for phrase in (
        *get_args(Verdict),
        *re.findall(r'"((?:identical|fewer|no spread|same)[^"]*)"', getsource(statistics)),
    ):
        english, chinese = TEXTS[phrase]
        assert english
        assert chinese != english


def test_a_tie_says_how_many_images_could_show_a_difference(tmp_path):
    write_comparison(tmp_path, task="classification", arms=("none", "se"), test_images=24)
    results = read_results(tmp_path)
    none, se = results.arms
    tied = replace(
        se, scores=none.scores, mean=none.mean, difference=statistics.differences([none.scores] * 2, images=24)[0]
    )
    results = replace(results, arms=(none, tied))
    (tmp_path / "results.json").write_text(json.dumps(results.to_json()), encoding="utf-8")
    sentence = (
        "on 24 validation images one image is 0.0417 of the accuracy, and a difference of 0.02 could show from 300"
    )
    assert sentence in table.text(results)
    assert "can't tell (same score on every seed)" in table.text(results)
    assert sentence in build_report(tmp_path).read_text(encoding="utf-8")


def test_no_absolute_path_of_the_machine_stands_on_the_page(tmp_path):
    data, weights, out = (tmp_path / name for name in ("my photos", "weights.pth", "out"))
    command = f"saccade compare '{data}' --pretrained={weights} --out {out} --seeds 5"
    settings = {"data": str(data), "pretrained": str(weights), "seeds": 5, "mechanisms": ["none", "se"]}
    write_comparison(tmp_path / "c", task="classification", command=command, settings=settings)
    results = read_results(tmp_path / "c")
    described = results.to_json()
    described["data"]["path"], described["network"]["pretrained"] = str(data), str(weights)
    (tmp_path / "c" / "results.json").write_text(json.dumps(described), encoding="utf-8")
    page = build_report(tmp_path / "c").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    assert "saccade compare &#39;my photos&#39; --pretrained=weights.pth --out out --seeds 5" in page
    assert "saccade train &#39;my photos&#39; --network resnet18" in page


def test_padding_is_not_shown(tmp_path):
    """An image 24 high and 48 wide in a square of 48: the page shows its upper half, all of its width."""
    image, target = np.full((48, 48, 3), PADDING, np.uint8), np.full((48, 48), 255, np.uint8)
    image[:24], target[:24] = 7, 1
    target[0] = 255  # ignored, but seen
    task = Segmentation(("a", "b"), size=48, longer_side=True)
    assert task.extent(image, target) == (24, 48)
    assert Segmentation(("a", "b"), size=48).extent(image, target) == (48, 48)
    entry = ShownImage(index=0, name="a.png", role="typical", query=None)
    case = scenes._Reader(0, entry, image, task, target).case(None)
    assert case.frame == "--aspect:2.0000;--down:2.0000;--across:1.0000"


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_terms_are_explained_before_they_are_needed(tmp_path, task):
    page = build_report(write_comparison(tmp_path, task=task)).read_text(encoding="utf-8")
    explained = page.index("An arm is the network with one mechanism")
    for term in ("Simultaneous interval", "Select a picture", "Paired.</b>", "All arms"):
        assert page.index(term) > explained


class TestGoingOn:
    """The page ends with the command that trains the best arm, which the command line takes."""

    def command(self, folder, arms):
        results = read_results(write_comparison(folder, task="classification", arms=arms, size=64, batch=8))
        options = {arm.name: {"reduction": 8} if "[" in arm.name else {} for arm in results.arms}
        arms = tuple(replace(arm, at="stage:1-3", options=options[arm.name]) for arm in results.arms)
        return further(replace(results, arms=arms))

    def test_the_best_arm_is_trained_with_the_same_options(self, tmp_path):
        from saccade.cli.app import app
        from saccade.cli.compare import complete_pretrained

        found = self.command(tmp_path, arms=("none", "se", "cbam[reduction=8]", "conv3x3"))
        words = complete_pretrained(shlex.split(found.command)[1:])
        _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        assert found.better
        assert bound.args == ("/photos of shapes",)
        given = bound.kwargs
        assert (given["network"], given["mechanism"], given["at"]) == ("resnet18", found.arm.name, "stage:1-3")
        assert (given["size"], given["batch"], given["pretrained"]) == (64, 8, "timm")
        arms = read_results(tmp_path).arms
        assert found.arm.difference.mean == max(arm.difference.mean for arm in arms[1:] if arm.name != "conv3x3")
        compile(found.code, "page", "exec")

    def test_without_a_better_one_it_is_the_network_as_it_is(self, tmp_path):
        found = self.command(tmp_path, arms=("none", "none-2"))
        assert not found.better
        assert "--mechanism" not in found.command
        assert "--at" not in found.command

    @pytest.mark.parametrize("at", [None, "backbone.layer3.*.bn2, backbone.layer4.*.bn2"])
    def test_the_command_makes_the_network_of_the_arm_again(self, tmp_path, at):
        """For masks too: the same names, and from the same seed the same outputs."""
        from saccade.cli.app import app
        from saccade.networks.make import make_network

        found = read_results(write_comparison(tmp_path, arms=("none", "pam")))
        found = replace(
            found, data=replace(found.data, path="/scenes"), arms=tuple(replace(arm, at=at) for arm in found.arms),
            network=replace(found.network, name="test_resnet", pretrained=False),
        )  # fmt: skip
        _, bound, _ = app.parse_args(shlex.split(further(found).command)[1:], exit_on_error=False, print_error=False)
        words = {name: bound.kwargs.get(name) for name in ("network", "backbone", "mechanism", "at")}
        assert list(words.values()) == ["fcn", "test_resnet", "pam", at]
        settings = Settings(
            data="/scenes", mechanisms=("none", "pam"), backbone="test_resnet", pretrained=False, at=at, seeds=3,
            steps=None, epochs=None, size=48, batch=4, device="cpu", control_params=False, fresh_start=False,
        )  # fmt: skip
        arm = resolve_arms("none,pam", None, at)[1]
        experiment = Experiment(tmp_path, settings, (arm,), 1, 4, 1e-3, 0)
        compared = experiment.network(arm, 0, dataset(k=3)).eval()
        torch.manual_seed(0)
        trained = make_network(num_classes=3, **words).eval()
        assert list(compared.state_dict()) == list(trained.state_dict())
        assert [str(p) for p in compared.saccade_report.places] == [str(p) for p in trained.saccade_report.places]
        x = torch.randn(1, 3, 48, 48)
        torch.testing.assert_close(compared(x), trained(x), rtol=0, atol=0)

    @pytest.mark.parametrize(
        ("given", "place", "added"),
        [
            ("own_for_report", "stage:1-3", False),
            ("own_for_report", NaturalPlace("stage", every=1, strides=(8, 16)), False),
            ("own_for_report", "residual", True),
            ("blocks_of_report:Mixer", None, False),
        ],
    )
    def test_a_mechanism_of_ones_own_is_inserted_alike_by_a_process_without_its_name(
        self, tmp_path, monkeypatch, capsys, given, place, added
    ):
        """The command is carried out as far as ``saccade plan``, which takes the same words."""
        (tmp_path / "blocks_of_report.py").write_text(BLOCKS)
        monkeypatch.syspath_prepend(tmp_path)
        path = "blocks_of_report:Mixer"
        saccade.catalog.name_code(path)
        if place is not None:
            saccade.register(given, path, place=place, added=added, identity_options={"kernel_size": 5})
        try:
            spec = resolve_arms([given], None, None)[1]
            compared = saccade.plan(timm.create_model("test_resnet"), spec.spec)
        finally:
            if place is not None:
                saccade.catalog.unregister(given)
        found = read_results(write_comparison(tmp_path, task="classification", arms=("none", "cam")))
        names = tuple(str(one) for one in compared.places)
        arm = replace(
            found.arms[1], mechanism=spec.mechanism, options=dict(spec.options), row=json_of(spec.row), place=names
        )
        network = replace(found.network, name="test_resnet", pretrained=False)
        found = further(replace(found, arms=(found.arms[0], arm), network=network))
        assert found.better
        words = shlex.split(found.command)
        inserted = (
            words[words.index("--mechanism") + 1],
            *(words[words.index("--at") : words.index("--at") + 2] if "--at" in words else ()),
        )
        planning = ["plan", "test_resnet", *inserted, "--json"]
        assert (words[:2] == ["python", "-c"]) == added
        monkeypatch.setattr(sys, "argv", ["saccade", *planning])
        with pytest.raises(SystemExit) as left:
            exec(words[2], {}) if added else main()
        assert left.value.code == 0
        if added:
            saccade.catalog.unregister(given)
        printed = json.loads(capsys.readouterr().out)
        assert [str(one["name"]) for one in printed["places"]] == [one.name for one in compared.places]
        assert (printed["params"], printed["macs"]) == (compared.params, compared.macs)
        assert f'trust=["{path}"]' in found.code

    def test_it_stands_on_the_page(self, tmp_path):
        page, _ = build(tmp_path, task="classification")
        assert section(page, "further")
        assert "saccade train &#39;photos of shapes&#39; --network resnet18" in page
        assert not section(build(tmp_path / "demo")[0], "further")


@pytest.mark.parametrize("damage", ["other arrays", "fewer images"])
def test_pictures_that_do_not_fit_the_results_are_named(tmp_path, damage):
    folder = write_comparison(tmp_path, task="classification", arms=("none", "se"), seeds=(0, 1), logs=False)
    arrays = folder / "pictures" / "images.npz"
    with np.load(arrays) as opened:
        stored = dict(opened)
    if damage == "other arrays":
        np.savez(arrays, photographs=stored["images"])
    else:
        np.savez(arrays, **{name: values[:1] for name, values in stored.items()})
    with pytest.raises(InputError, match=r"pictures: its arrays, .*index.json and .*results.json do not fit together"):
        build_report(folder)
