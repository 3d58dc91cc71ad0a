"""The page in a real browser: nothing asked of a network, no error, every picture, both languages, every width."""

from functools import partial

import pytest

from saccade.report import build_report
from tests.report.fixture import write_comparison
from tests.suites import everyday

pytestmark = pytest.mark.browser

MANY = ("none", "se", *(f"psa[variant={k},parts=channel]" for k in range(10)))
FOLDERS = {
    "segmentation": {},
    "classification": {"task": "classification"},
    "many": {"arms": MANY, "seeds": (0, 1, 2)},
    "one-seed": {"seeds": (0,), "arms": ("none", "non_local")},
}


@pytest.fixture(scope="module", params=everyday(["segmentation", "classification"], FOLDERS))
def address(request, tmp_path_factory):
    return build_report(write_comparison(tmp_path_factory.mktemp("report"), **FOLDERS[request.param])).as_uri()


@pytest.fixture
def opened(open_page, address):
    return partial(open_page, address)


def test_every_picture_is_drawn(opened):
    page = opened()
    sizes = page.eval_on_selector_all("img", "images => images.map(i => [i.complete, i.naturalWidth, i.clientWidth])")
    assert sizes
    assert all(complete and natural > 0 and shown > 0 for complete, natural, shown in sizes)
    behind = page.eval_on_selector_all(
        ".stack.over .whole", "all => all.map(e => getComputedStyle(e, '::before').backgroundImage.slice(0, 15))"
    )
    assert all(image.startswith('url("data:image') for image in behind)


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_never_scrolls_sideways(opened, locale):
    page = opened(locale=locale)
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        outside = page.evaluate("""() => [...document.querySelectorAll('body *')]
            .filter(e => !e.closest('.scroll, dialog, .skip') && e.getBoundingClientRect().width > 0)
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)
            .map(e => e.outerHTML.slice(0, 80))""")
        assert outside == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_speaks_both_languages(opened):
    page = opened()
    heading, alt = page.locator("h1"), page.locator("img").first
    english, english_alt, english_title = heading.inner_text(), alt.get_attribute("alt"), page.title()
    assert page.locator("html").get_attribute("lang") == "en"
    page.get_by_role("button", name="中文").click()
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    assert heading.inner_text() != english
    assert alt.get_attribute("alt") != english_alt
    assert page.title() != english_title
    page.reload()
    assert page.locator("html").get_attribute("lang") == "zh-Hans"  # remembered
    page.get_by_role("button", name="English").click()
    assert (heading.inner_text(), alt.get_attribute("alt"), page.title()) == (english, english_alt, english_title)


def test_follows_the_reader_in_language_and_theme(opened):
    page = opened(locale="zh-CN", color_scheme="dark")
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.locator("#theme").click()
    light = page.evaluate(background)
    page.locator("#theme").click()
    assert page.evaluate(background) == dark != light
    assert opened(color_scheme="light").evaluate(background) == light
    page.emulate_media(media="print")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    assert not page.locator("#theme").is_visible()
    assert page.locator(".panel:visible").count() == page.locator(".panel").count()  # paper cannot be clicked


CONTRAST = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = (colour) => {
        const [r, g, b] = colour.map((v) => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const colour = numbers(getComputedStyle(e).backgroundColor);
            if (colour.length < 4 || colour[3] > 0.9) return colour;
        }
    };
    const texts = 'h1, h2, p, .chip, td, th, small, .axis span, .ends span, figcaption, summary, dt, dd, li';
    return [...document.querySelectorAll(texts)]
        .filter((e) => e.getClientRects().length && e.textContent.trim())
        .map((e) => {
            const [a, b] = [light(numbers(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), e.className + ' ' + e.textContent.trim().slice(0, 30)];
        })
        .sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(opened, scheme):
    """WCAG asks 4.5 to 1 of text; computed from the colours the browser uses."""
    ratio, where = opened(color_scheme=scheme).evaluate(CONTRAST)
    assert ratio >= 4.5, where


def test_costs_take_turns_and_pictures_open_large(opened):
    page = opened(viewport={"width": 390, "height": 844})
    assert page.locator(".panel:visible").count() == 1
    page.get_by_role("button", name="Parameters", exact=True).press("Enter")
    assert page.locator("#cost-params").is_visible()
    assert page.locator(".panel:visible").count() == 1
    page.locator("button.stack").nth(1).press("Enter")
    assert page.locator("dialog").is_visible()
    assert page.locator("dialog .stack").bounding_box()["width"] > 300
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_copies_the_command(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.locator("#copy").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#command").inner_text()


def test_every_map_follows_the_pointer_and_comes_back(opened):
    page = opened()
    case = page.locator(".case").first
    maps = case.locator("[data-weights]")
    if maps.count() == 0:  # there is nothing to ask where no arm weighs positions
        assert page.locator("#live").count() == 0
        return

    def shown():
        return maps.first.evaluate("e => [e.querySelector('img').src, e.nextElementSibling.innerHTML]")

    before = shown()
    photo = case.locator(".photo")
    photo.scroll_into_view_if_needed()
    where = photo.bounding_box()
    page.mouse.move(where["x"] + where["width"] * 2.5 / 12, where["y"] + where["height"] * 4.5 / 12)
    page.wait_for_function("e => e.nextElementSibling.innerText.includes('100%')", arg=maps.first.element_handle())
    at = maps.first.locator(".source").evaluate_all("all => all.slice(0, 2).map(e => [e.style.top, e.style.left])")
    assert [[round(float(side.rstrip("%")) * 0.12, 3) for side in one] for one in at] == [[4.5, 2.5], [4.5, 9.5]]
    page.mouse.move(2, 2)
    page.wait_for_function("e => !e.nextElementSibling.innerText.includes('100%')", arg=maps.first.element_handle())
    assert shown() == before
    maps.first.focus()
    page.keyboard.press("ArrowRight")
    assert shown() != before
