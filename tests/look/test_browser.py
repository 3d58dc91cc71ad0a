"""The page in a real browser: what is drawn for a point is what the mechanism computed for it."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade.inspection.colours import ramp
from saccade.inspection.pictures import drawn_range, strongest
from saccade.look.images import read_picture
from saccade.look.look import look
from saccade.look.networks import open_model
from tests.look.networks import picture, saved

pytestmark = pytest.mark.browser

POINTS = [(10, 12), (31, 70), (55, 40)]
ASKED = (20, 33)
PLACES = ("block1.bn2", "block1", "block2")  # as they run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page, and the exact arrays it shows."""
    folder = tmp_path_factory.mktemp("look")
    run = saved(folder, ("non_local[sub_sample=false]", "block1"), ("pam", "block2"), ("cbam", "block1.bn2"))
    network, image = open_model(run), picture(folder)
    (found,) = look([image], network, folder / "pages", queries=[ASKED])
    shown = read_picture(image, None)
    with torch.no_grad(), saccade.record(network.net) as maps:
        network.net(shown.input)
    return found.page, maps, shown


@pytest.fixture
def opened(open_page, made):
    def opened(**options):
        page = open_page(made[0].as_uri(), **({"viewport": {"width": 1280, "height": 900}} | options))
        page.set_default_timeout(5000)
        return page

    return opened


def click(page, y, x, size):
    """On the middle of a pixel of the image."""
    box = page.locator("#stage").bounding_box()
    page.locator("#stage").click(
        position={"x": (x + 0.5) / size[1] * box["width"], "y": (y + 0.5) / size[0] * box["height"]}
    )
    page.wait_for_function(f"document.getElementById('stage').dataset.y === '{y}'")


def drawn(page, place):
    """The weights that the canvas of a place shows, from the colours of its pixels."""
    canvas = page.locator(f".tile[data-place='{place}'] canvas")
    url = canvas.evaluate("c => c.toDataURL('image/png')")
    low, high = (float(canvas.get_attribute(f"data-{side}")) for side in ("low", "high"))
    import base64

    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA")).astype(int)
    colours = ramp(clear=True).astype(int)
    # A canvas keeps colours multiplied by their opacity, which costs digits where they are nearly clear.
    alpha = colours[:, 3]
    levels = np.abs(pixels[..., 3][..., None] - alpha).argmin(axis=-1)
    return low + (high - low) * levels / 255


@pytest.mark.parametrize(("y", "x"), [*POINTS, ASKED])
def test_what_is_drawn_for_a_point_is_what_it_attends_to(opened, made, y, x):
    page, (_, maps, shown) = opened(), made
    click(page, y, x, shown.size)
    for place in ("block1", "block2"):
        exact = maps[place].weights([shown.cell((y, x), maps[place].input.shape[-2:])])[0, 0].numpy()
        seen = drawn(page, place)
        assert seen.shape == exact.shape
        low, high = drawn_range(exact)
        # Half a step of the stored 8 bits and of the 256 colours, of which some share their opacity.
        assert np.abs(seen - exact).max() <= 0.02 * (high - low), place
        assert (np.argmax(seen), float(exact.max())) == (np.argmax(exact), pytest.approx(seen.max(), rel=0.02))
    gate = maps["block1.bn2"].gates["spatial"][0, 0].numpy()
    at = shown.cell((y, x), gate.shape)
    caption = page.locator(".tile[data-place='block1.bn2'] .caption .en").inner_text()
    assert f"gate here {gate[at]:.3f}"[:-1] in caption or abs(float(caption.split()[2]) - gate[at]) < 0.003


def test_the_strongest_sources_are_marked_with_their_weights(opened, made):
    page, (_, maps, shown) = opened(), made
    page.locator(".tile[data-place='block2'] .name").click()
    click(page, *ASKED, shown.size)
    exact = maps["block2"].weights([shown.cell(ASKED, maps["block2"].input.shape[-2:])])[0, 0]
    labels = page.locator("#stage .source b").all_inner_texts()
    expected = [weight for _, _, weight in strongest(exact)]
    assert [float(label.rstrip("%")) / 100 for label in labels] == pytest.approx(expected, abs=0.0051)
    assert "(exact)" in page.locator("#said .en").inner_text()
    box, (y, x, _) = page.locator("#stage").bounding_box(), strongest(exact)[0]
    frame = page.locator("#stage .source").first.bounding_box()
    height, width = exact.shape
    assert frame["y"] + frame["height"] / 2 - box["y"] == pytest.approx((y + 0.5) / height * box["height"], abs=2)
    assert frame["x"] + frame["width"] / 2 - box["x"] == pytest.approx((x + 0.5) / width * box["width"], abs=2)


def test_places_languages_keys_and_pins(opened, made):
    page, (_, _, shown) = opened(), made
    stage, said = page.locator("#stage"), page.locator("#said .en")
    click(page, *POINTS[0], shown.size)
    assert page.locator(".tile .name").all_inner_texts() == list(PLACES)
    for place in PLACES:
        page.locator(f".tile[data-place='{place}'] .name").click()
        assert page.locator(".tile[aria-pressed=true] .name").inner_text() == place
        assert place in said.inner_text()
    stage.focus()
    before = int(stage.get_attribute("data-x"))
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    after = int(stage.get_attribute("data-x"))
    assert before < after <= before + 4 * shown.size[1] // 20 + 1
    page.keyboard.press("ArrowLeft")
    assert before <= int(stage.get_attribute("data-x")) < after
    page.keyboard.press("p")
    click(page, *POINTS[2], shown.size)
    page.locator("#pin").click()
    assert page.locator(".pinned-row").count() == page.locator("#stage .pinned").count() == 2
    assert "1 and 2: " in page.locator("#pins").inner_text()
    page.locator(".pinned-row button").first.click()
    assert page.locator(".pinned-row").count() == 1
    page.locator("#opacity").fill("0")
    assert page.locator(".veil").evaluate("e => getComputedStyle(e).opacity") == "0"
    page.get_by_role("button", name="中文").click()
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    assert "像素" in page.title()
    assert page.locator("#said .zh").is_visible()
    assert not said.is_visible()


def test_hovering_previews_and_leaving_returns(opened, made):
    page, (_, _, shown) = opened(), made
    click(page, *POINTS[0], shown.size)
    tile = page.locator(".tile .view").nth(1).bounding_box()
    page.mouse.move(tile["x"] + 0.75 * tile["width"], tile["y"] + 0.5 * tile["height"])
    page.wait_for_function("document.getElementById('stage').dataset.y === '30'")
    page.mouse.move(5, 5)
    page.wait_for_function(f"document.getElementById('stage').dataset.y === '{POINTS[0][0]}'")


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_phone_shows_the_picture_first_and_never_scrolls_sideways(opened, made, locale):
    page = opened(locale=locale, viewport={"width": 390, "height": 800})
    click(page, *POINTS[1], made[2].size)
    page.locator("#pin").click()
    stage = page.locator("#stage").bounding_box()
    assert stage["y"] >= 0
    assert stage["y"] + stage["height"] <= 800
    tile = page.locator(".tile .view").first.bounding_box()
    assert tile["y"] < 800  # the first place is seen without scrolling too
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(opened, scheme):
    from tests.report.test_browser import CONTRAST

    page = opened(color_scheme=scheme)
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    unnamed = "() => [...document.querySelectorAll('img')].filter(i => !i.alt || !i.complete || !i.naturalWidth).length"
    assert page.evaluate(unnamed) == 0
