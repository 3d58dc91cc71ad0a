"""The smallest network of each convolutional and hybrid family of timm, as docs/coverage.md lists them.

Each is inserted into for real, at every place of every kind, at the smallest image it takes; the outputs are compared
bit by bit in evaluation and in training, and everything is taken off again. The numbers of places are the page's.
"""

import re

import pytest
import timm
from benchmarks.coverage import KINDS, PAGE, check, look, on_meta, refused, representatives

from tests.suites import everyday

ROWS = {row.family: row for row in representatives()}
# One of each layout: residual, with two kinds of block, scaled residual, no residual, drop path, channels last,
# an MLP half without an inner place, tokens between maps.
LAYOUTS = ("resnet", "byobnet", "nfnet", "efficientnet", "convnext", "mambaout", "metaformer", "maxxvit")


@pytest.mark.filterwarnings("ignore")  # the libraries' own
@pytest.mark.parametrize("family", everyday(LAYOUTS, ROWS))
def test_a_family(family):
    listed = ROWS[family]
    found = check(look(family, listed.model, on_meta(listed.model)))
    assert found.equal
    assert found.removed
    assert [getattr(found, kind) for kind in KINDS] == [getattr(listed, kind) for kind in KINDS]


@pytest.mark.full
def test_the_page_lists_every_family():
    text = PAGE.read_text(encoding="utf-8")
    written = re.search(r"with timm (\S+)", text)[1]
    if written != timm.__version__:
        pytest.skip(f"the page was written with timm {written}")
    others = re.findall(r"`(\w+)`", re.search(r"are refused:\n(.*)\.\n", text)[1])
    assert all(refused(on_meta(name)) for name in others)
    modules = {timm.models.model_entrypoint(name).__module__.rpartition(".")[2] for name in others}
    assert modules | ROWS.keys() == {family for family in timm.list_modules() if timm.list_models(module=family)}


def test_nearly_every_family_has_its_places():
    assert len(ROWS) >= 70
    assert sum(row.stage > 0 for row in ROWS.values()) >= 0.95 * len(ROWS)
    blocks = [row for row in ROWS.values() if row.residual or "makes or reads" in row.note]
    assert sum(row.residual > 0 for row in blocks) >= 0.95 * len(blocks)
    assert all(row.note for row in ROWS.values() if not row.residual or row.stage < 3)
