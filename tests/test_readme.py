"""What the README shows works as it stands, in both languages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_its_python_runs(page):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert names["gate"].shape == (1, 64)


@pytest.mark.parametrize(
    "page",
    ["README.md", "README.zh.md", "docs/comparison.md", "docs/comparison.zh.md", "docs/demo.md", "docs/demo.zh.md"],
)
def test_its_links_and_pictures_exist(page):
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert targets
    missing = [target for target in targets if "://" not in target and not ((ROOT / page).parent / target).exists()]
    assert not missing


def test_the_languages_show_the_same_commands():
    english, chinese = (
        re.findall(
            r"^(?:saccade|make|pip|\.venv/bin/\S+|python3) [^#\n]*", (ROOT / page).read_text("utf-8"), flags=re.M
        )
        for page in ("README.md", "README.zh.md")
    )
    assert [line.strip() for line in english] == [line.strip() for line in chinese]
    assert len(english) > 8
