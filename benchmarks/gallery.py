"""One figure per mechanism: ``python -m benchmarks.gallery`` writes docs/gallery.md, gallery.zh.md and their pictures.

Every network was trained: one seed of each mechanism on the embedded demo, by `saccade.compare`, into build/gallery,
where a second call finds it. The figures are made of what `saccade look` computes; the two pictures of the README are
its own.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import saccade
from benchmarks.gallery_page import Shown, write_pages
from saccade.catalog import CATALOG, list_mechanisms
from saccade.comparison.experiment import Experiment
from saccade.files import read_json
from saccade.inspection.pictures import attention_picture, gate_picture, gate_strips, matrix_picture
from saccade.inspection.schematics import has_schematic, schematic
from saccade.look.images import Picture, read_picture
from saccade.look.look import look
from saccade.look.networks import open_model
from saccade.look.views import Look, PlaceView, look_into
from saccade.training.loop import to_input

ROOT = Path(__file__).parents[1]
DOCS, BUILD = ROOT / "docs", ROOT / "build" / "gallery"
IMAGES = DOCS / "images"
SIDE, GAP, TILES = 216, 8, 4
WIDE = TILES * (SIDE + GAP) - GAP
SCENES = 64
DEPENDENT = ("non_local", "pam", "sagan", "fla")
README, PHOTO_QUERY = "pam", (190, 250)


def scene(folder: Path) -> tuple[Path, list[tuple[int, int]]]:
    """Return the scene on which attention gained most, as a file; and two points: one that gained, and its mirror."""
    first = read_json(folder / "pictures" / "index.json")["images"][0]
    with np.load(folder / "pictures" / "images.npz") as stored:
        pixels = stored["images"][0]
    path = folder / "scene.png"
    Image.fromarray(pixels).save(path)
    y, x = first["query"]
    return path, [(y, x), (pixels.shape[0] - 1 - y, pixels.shape[1] - 1 - x)]


def tiles(view: PlaceView, picture: Picture) -> Iterator[tuple[str, Image.Image]]:
    """What one place shows beside its channel gates, as (kind, tile)."""
    if view.grid is not None and view.grid.queries == (1, 1):
        yield "shared", attention_picture(picture.shown, view.exact[0].row, side=SIDE)
    elif view.grid is not None:
        for exact in view.exact:
            at = ((exact.at[0] + 0.5) / view.size[1], (exact.at[1] + 0.5) / view.size[2])
            yield "weights", attention_picture(picture.shown, exact.row, at, side=SIDE)
    if "spatial" in view.gates:
        yield "spatial", gate_picture(picture.shown, view.gates["spatial"], side=SIDE)
    for kind, strips in view.strips.items():
        yield kind, matrix_picture(strips[len(strips) // 2], side=SIDE)
    for kind, matrix in view.matrices.items():
        yield kind, matrix_picture(matrix, side=SIDE)


def figure(seen: Look, picture: Picture) -> tuple[Image.Image, list[str]]:
    """The image and the tiles of the deepest place of each kind in a row, then channel gates; and the kinds shown."""
    by_kind: dict[str, list[Image.Image]] = {}
    for view in seen.places:
        fresh: dict[str, list[Image.Image]] = {}
        for kind, one in tiles(view, picture):
            fresh.setdefault(kind, []).append(one)
        by_kind |= fresh
    photo = Image.fromarray(picture.shown).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    row = [photo, *(one for found in by_kind.values() for one in found)][:TILES]
    whole = Image.new("RGB", (len(row) * (SIDE + GAP) - GAP, SIDE), "white")
    gates = {view.name: view.gates["channel"] for view in seen.places if "channel" in view.gates}
    if gates:
        whole = Image.new("RGB", (WIDE, SIDE), "white")
        drawn = strips(gates, WIDE - len(row) * (SIDE + GAP))
        whole.paste(drawn, (WIDE - drawn.width, (SIDE - drawn.height) // 2))
    for number, one in enumerate(row):
        whole.paste(one, (number * (SIDE + GAP), 0))
    return whole, [*by_kind, *(["gates"] if gates else [])]


def strips(gates: dict[str, np.ndarray], width: int) -> Image.Image:
    """The channel gates of all places, sorted, `width` pixels wide."""
    drawn = io.BytesIO()
    gate_strips(gates).savefig(drawn, format="png")
    whole = Image.open(drawn).convert("RGB")
    return whole.resize((width, round(whole.height * width / whole.width)), Image.Resampling.LANCZOS)


def draw(folder: Path, name: str) -> Shown:
    """Write the figure and the schematic of a mechanism."""
    path, queries = scene(folder)
    network = open_model(folder / "runs" / name)
    picture = read_picture(path, network.size)
    image, found = figure(look_into(network.net, picture, queries), picture)
    # 256 colours: the eye does not miss the others here, and the file has half of the bytes.
    image.quantize(256).save(IMAGES / "gallery" / f"{name}.png", optimize=True)
    drawing = schematic(name, standalone=True) + "\n"
    (IMAGES / "schematics" / f"{name}.svg").write_text(drawing, encoding="utf-8")
    return Shown(name, tuple(found))


def dependence(folder: Path) -> dict[str, tuple[float, float]]:
    """The mean query dependence over validation scenes by both measures, of the mechanisms that are asked about."""
    data = Experiment.load(folder).data()
    images = to_input(torch.from_numpy(np.array(data.val.images[:SCENES])).permute(0, 3, 1, 2), torch.device("cpu"))
    found = {}
    for name in DEPENDENT:
        net = open_model(folder / "runs" / name).net
        with torch.inference_mode(), saccade.record(net) as maps:
            net(images)
            (seen,) = maps.values()
            found[name] = seen.query_dependence(), seen.query_dependence(measure="cosine")
    return found


def readme(folder: Path) -> None:
    """The two pictures of the README: what `saccade look --png` draws of a demo scene and of a photograph."""
    from skimage import data

    network = open_model(folder / "runs" / README)
    path, queries = scene(folder)
    photo = folder / "coffee.png"
    Image.fromarray(data.coffee()).save(photo)
    for name, image, query in (("demo", path, queries[0]), ("photo", photo, PHOTO_QUERY)):
        (found,) = look([image], network, folder / "look", queries=[query], png=True)
        shutil.copyfile(found.pictures[0], IMAGES / f"look-{name}.png")


def main() -> None:
    torch.set_num_threads(1)
    drawn = [name for name in list_mechanisms() if name in CATALOG and has_schematic(name)]
    saccade.compare(mechanisms=("none", *drawn), seeds=1, jobs=1, device="cpu", out=BUILD)
    for folder in ("gallery", "schematics"):
        (IMAGES / folder).mkdir(parents=True, exist_ok=True)
    shown = [draw(BUILD, name) for name in drawn]
    write_pages(DOCS, shown, dependence(BUILD), SCENES)
    readme(BUILD)


if __name__ == "__main__":
    main()
