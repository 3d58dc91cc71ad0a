"""Say what a run leaves out: the full suite's tests, browser tests among them, which fail on CI without Chromium."""

import importlib.util
import os
import shutil

import pytest

# Triton reads it when it is imported, which torch may do: kernels then run line by line, on the CPU.
os.environ.setdefault("TRITON_INTERPRET", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores; if each used all of them, they would wait for one another. Torch reads this once.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from saccade.installation import CHROMIUM_NAMES

CHROMIUM = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
HAVE_BROWSER = CHROMIUM is not None and importlib.util.find_spec("playwright") is not None
HOW_TO = "install them with: apt-get install chromium (Debian), and pip install playwright"
LEFT_OUT = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config, items):
    for item in items:
        if " at 0x" in item.nodeid:  # it differs between the processes of xdist, which then refuse to start
            raise pytest.UsageError(f"{item.nodeid}: its name holds an address; use ids=tests.ids.shown")
        if item.get_closest_marker("processes") or item.get_closest_marker("browser"):
            item.add_marker("full")
    browser = [item for item in items if item.get_closest_marker("browser")]
    if browser and not HAVE_BROWSER and not os.environ.get("CI"):
        items[:] = [item for item in items if item not in browser]
        config.hook.pytest_deselected(items=browser)
        config.stash[LEFT_OUT] = len(browser)
        if hasattr(config, "workeroutput"):
            config.workeroutput["browser tests left out"] = len(browser)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Take over what a worker of xdist left out: each collects everything."""
    if left_out := getattr(node, "workeroutput", {}).get("browser tests left out"):
        node.config.stash[LEFT_OUT] = left_out


def pytest_terminal_summary(terminalreporter, config):
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{left_out} browser tests left out: no Chromium or no Playwright; {HOW_TO}")
    if config.option.markexpr == "not full" and not config.option.keyword:
        full = [item for item in terminalreporter.stats.get("deselected", []) if item.get_closest_marker("full")]
        if full:
            terminalreporter.write_line(f"{len(full)} tests left out that only the full suite runs: pytest -m full")


@pytest.fixture(scope="session")
def chromium():
    """A browser that opens pages from disk."""
    if not HAVE_BROWSER:
        pytest.fail(f"no Chromium or no Playwright; {HOW_TO}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens a page with options of a browser context; at the end nothing may have been asked for or gone wrong."""
    contexts, trouble = [], []

    def open_page(address, **options):
        context = chromium.new_context(**({"locale": "en-US"} | options))
        contexts.append(context)

        def guard(route):
            if route.request.url.startswith(("file:", "data:")):
                route.continue_()
            else:
                trouble.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []
