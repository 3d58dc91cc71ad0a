"""Folders as a comparison leaves them, small and invented: scenes of notes, and a classification of coloured shapes.

Run as a program it writes one: ``python tests/report/fixture.py FOLDER [segmentation|classification]``.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE, GROUND = 96, 10
DIGITS = (*map(str, range(10)), "photograph")
SHAPES = ("disc", "square", "triangle", "ring")
T_95 = {2: 12.71, 3: 4.30, 5: 2.78}
GAINS = {"none": 0.0, "se": 0.041, "cbam": 0.084, "non_local": 0.101, "conv3x3": 0.004}
EXTRA = {"none": 0, "se": 1390, "cbam": 1590, "non_local": 8480, "conv3x3": 36992}


def write_comparison(
    folder: Path,
    *,
    task: str = "segmentation",
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    arms: Sequence[str] = tuple(GAINS),
    pictures: bool = True,
    logs: bool = True,
    **changes: object,
) -> Path:
    """Write ``results.json``, logs and pictures of a comparison that never ran; `changes` go into the results."""
    rng = np.random.default_rng(7)
    results = make_results(rng, task, seeds, arms) | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, allow_nan=False), encoding="utf-8")
    if logs:
        for arm in results["arms"]:
            for seed, score in zip(seeds, arm["scores"], strict=True):
                write_log(rng, folder / "runs" / arm["folder"] / str(seed), score)
    if pictures:
        (write_scenes if task == "segmentation" else write_shapes)(rng, folder / "pictures", results["arms"])
    return folder


def base_of(arm: str) -> str:
    return arm.partition("[")[0].removesuffix("-2")


def make_results(rng, task, seeds, arms):
    n = len(seeds)
    seed_effect = rng.normal(0, 0.003, n)
    scores = {arm: 0.666 + GAINS.get(base_of(arm), 0.05) + seed_effect + rng.normal(0, 0.003, n) for arm in arms}
    reference = scores[arms[0]]
    segmentation = task == "segmentation"
    return {
        "schema": 2, "saccade": "0.1.0", "finished": True, "task": task, "seeds": list(seeds),
        "metric": "mIoU" if segmentation else "accuracy",
        "steps": 300, "batch": 16, "size": SIZE, "start": "shared" if segmentation else "pretrained",
        "data": {
            "name": "notes" if segmentation else "shapes", "demo": segmentation,
            "note": "generated scenes of sticky notes" if segmentation else "a folder of 4 classes, train/ and val/",
            "classes": list(DIGITS if segmentation else SHAPES), "train": 2000, "val": 500,
            "path": None if segmentation else "/photos of shapes", "facts": {}, "statement": {},
        },
        "network": {"name": "notes" if segmentation else "resnet18", "params": 94267, "pretrained": not segmentation},
        "environment": {
            "python": "3.11.9", "torch": "2.15.0", "torchvision": "0.29.2", "timm": "1.0.31", "numpy": "2.4.6",
            "saccade": "0.1.0", "platform": "Linux-6.8-x86_64", "cpu": "an ordinary laptop", "device": "cpu",
            "jobs": 2, "threads": 1,
        },
        "command": f"saccade compare --mechanisms {','.join(arms)}",
        "settings": {"steps": 300, "mechanisms": list(arms)},
        "macs_input": [1, 3, SIZE, SIZE], "latency_batch": 1, "latency_threads": 1, "peak_batch": 16,
        "test_images": 500, "plan": None,
        "groups": {
            "size": {"names": ["small", "medium", "large"], "limits": [310.0, 505.5]},
            "thinness": {"names": ["compact", "medium", "thin"], "limits": [1.15, 1.62]},
        } if segmentation else {},
        "arms": [make_arm(arm, scores[arm], None if k == 0 else reference, segmentation) for k, arm in enumerate(arms)],
    }  # fmt: skip


def make_arm(name, scores, reference, segmentation):
    n, kind = len(scores), base_of(name)
    extra = EXTRA.get(kind, 5000)
    gain = GAINS.get(kind, 0.05)
    mechanism = None if kind == "none" else kind

    def interval(values, factor=1.0):
        half = factor * T_95[n] * values.std(ddof=1) / np.sqrt(n) if n > 1 else None
        return None if half is None else [float(values.mean() - half), float(values.mean() + half)]

    difference = None
    if reference is not None:
        d = scores - reference
        ends = interval(d, 2.4)
        verdict = "better" if ends and ends[0] > 0 else "worse" if ends and ends[1] < 0 else "can't tell"
        difference = {
            "mean": float(d.mean()), "interval": ends,
            "p": (0.0004 if verdict == "better" else 0.41) if ends else None,
            "verdict": verdict if n > 2 else "can't tell", "reason": None if n > 2 else "fewer than 3 seeds",
        }  # fmt: skip
    return {
        "name": name, "folder": name.replace("[", "_").replace("]", "").replace("=", "-"), "mechanism": mechanism,
        "options": {}, "at": None, "place": places(kind), "scores": [float(s) for s in scores],
        "mean": float(scores.mean()),
        "interval": interval(scores), "difference": difference, "params": 94267 + extra,
        "macs": 14_140_000 + 150 * extra, "latency_ms": 1.83 + 0.4 * (extra > 0), "peak_mib": 92.5 + extra / 1500,
        "train_seconds": 7.2 + 9 * gain,
        "details": {
            "size": {"small": 0.55 + gain, "medium": 0.66 + gain, "large": 0.72 + gain / 2},
            "thinness": {"compact": 0.7 + gain, "medium": 0.64 + gain, "thin": 0.5 + gain / 3},
        } if segmentation else {},
        "others": {}, "row": None, "tuned": None,
    }  # fmt: skip


def places(kind: str) -> list[str]:
    return {"none": [], "non_local": ["block2"], "conv3x3": ["block2"]}.get(kind, ["block1.bn2", "block2.bn2"])


def write_log(rng, folder: Path, score: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["step", "loss", "learning_rate", "score", "seconds"])
        for step in range(1, 301):
            loss = 0.35 + 1.4 * np.exp(-step / 70) - 0.4 * (score - 0.66) + rng.normal(0, 0.03)
            at = score * (1 - 0.75 * np.exp(-step / 95)) if step % 50 == 0 else None
            rows.writerow([step, f"{loss:.5f}", 0.003, "" if at is None else f"{at:.6f}", f"{step * 0.03:.2f}"])


def photograph(rng) -> np.ndarray:
    """Soft hills of colour with a little grain."""
    tones = rng.integers(40, 190, (6, 6, 1)) + rng.integers(-30, 31, 3)
    coarse = Image.fromarray(np.clip(tones, 0, 255).astype(np.uint8))
    smooth = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.integers(-14, 15, (SIZE, SIZE, 1)), 0, 255).astype(np.uint8)


def note_scene(rng):
    """An image, its target, and the notes as (box, digit, whether it can be read)."""
    image, target, notes = Image.fromarray(photograph(rng)), np.full((SIZE, SIZE), GROUND, np.uint8), []
    kinds = rng.choice(10, 2 if rng.random() < 0.4 else 1, replace=False)
    draw = ImageDraw.Draw(image)
    for order, cell in enumerate(rng.permutation(9)[: rng.integers(5, 8)]):
        side = int(rng.choice([22, 24, 26, 28]))
        top, left = cell // 3 * 32 + rng.integers(0, 33 - side), cell % 3 * 32 + rng.integers(0, 33 - side)
        digit, readable = int(kinds[order % len(kinds)]), order < len(kinds) or rng.random() < 0.25
        paper = tuple(int(v) for v in rng.choice([[255, 242, 150], [190, 235, 200], [250, 205, 215], [190, 220, 250]]))
        draw.rectangle([int(left), int(top), int(left) + side - 1, int(top) + side - 1], fill=paper)
        ink = (30, 30, 60) if readable else tuple(int(0.88 * v) for v in paper)
        font = ImageFont.load_default(side - 4)
        draw.text((int(left) + side / 2, int(top) + side / 2), str(digit), fill=ink, font=font, anchor="mm")
        target[top : top + side, left : left + side] = digit
        notes.append(((int(top), int(left), side), digit, readable))
    return np.asarray(image), target, notes


def predict_notes(rng, target, notes, quality: float) -> np.ndarray:
    """The target with unreadable notes named wrongly now and then, and edges that miss by a pixel."""
    prediction = np.roll(target, rng.integers(-1, 2, 2), (0, 1))
    for (top, left, side), digit, readable in notes:
        if not readable and rng.random() > quality:
            below = top + side if rng.random() < 0.6 else top + side // 2
            prediction[top:below, left : left + side] = (digit + 1 + rng.integers(0, 9)) % 10
    return prediction


def look_at_readable(notes, query) -> np.ndarray:
    """Attention over 12 x 12 cells: bright on notes of the same digit that can be read."""
    rows, columns = np.indices((12, 12)) * 8 + 4
    asked = next(d for (t, le, s), d, _ in notes if t <= query[0] < t + s and le <= query[1] < le + s)
    weights = np.full((12, 12), 0.02)
    for (top, left, side), digit, readable in notes:
        near = np.exp(-((rows - top - side / 2) ** 2 + (columns - left - side / 2) ** 2) / 60)
        weights += near * (1.0 if readable and digit == asked else 0.12)
    return weights / weights.sum()


def write_scenes(rng, folder: Path, arms) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scenes = [note_scene(rng) for _ in range(4)]
    roles, index, queries = ("success", "success", "typical", "failure"), [], []
    for number, (_, _, notes) in enumerate(scenes):
        (top, left, side), *_ = next((note for note in notes if not note[2]), notes[-1])
        queries.append([top + side // 2, left + side // 2])
        entry = {"index": number * 12, "name": f"scene {number * 12}", "role": roles[number], "query": queries[-1]}
        entry["gain"] = (0.3, 0.2, 0.1, -0.2)[number]
        index.append(entry)
    write_index(folder, index, np.stack([s[0] for s in scenes]), np.stack([s[1] for s in scenes]))
    for arm in arms:
        kind = base_of(arm["name"])
        quality = [0.95, 0.8, 0.7, 0.1] if GAINS.get(kind, 0.05) > 0.02 else [0.1, 0.2, 0.6, 0.1]
        stored = {
            "predictions": np.stack([predict_notes(rng, t, n, q) for (_, t, n), q in zip(scenes, quality, strict=True)])
        }
        if kind == "non_local":
            maps = [look_at_readable(notes, query) for (_, _, notes), query in zip(scenes, queries, strict=True)]
            stored["block2|weights"] = np.stack(maps).astype(np.float32)
            stored |= grids()
        stored |= gates(rng, kind, np.stack([target != GROUND for _, target, _ in scenes]))
        np.savez(folder / f"{arm['folder']}.npz", **stored)


def grids() -> dict[str, np.ndarray]:
    """What each of 12 x 12 points attends to in four images: half to the cell itself, half to its mirror image."""
    whole = np.zeros((12, 12, 12, 12), np.int16)
    rows, columns = np.indices((12, 12))
    whole[rows, columns, rows, columns] = 200
    whole[rows, columns, rows, 11 - columns] = 200
    return {
        "block2|grid": np.stack([whole] * 4),
        "block2|grid_scales": np.full((4, 12, 12), 1 / 400, np.float32),
        "block2|grid_of": np.full((4, 2), 12),
    }


def gates(rng, kind: str, objects: np.ndarray) -> dict[str, np.ndarray]:
    """Channel gates of two places; for some kinds also a spatial gate that opens on the objects (n, H, W)."""
    if kind not in ("se", "cbam", "psa"):
        return {}
    images = len(objects)
    stored = {
        f"{place}|gate|channel": rng.beta(2, 2, (images, width)).astype(np.float32)
        for place, width in zip(places(kind), (32, 64), strict=True)
    }
    if kind != "se":
        share = objects.reshape(images, 12, 8, 12, 8).mean((2, 4))
        stored["block2.bn2|gate|spatial"] = (0.25 + 0.55 * share + rng.normal(0, 0.04, share.shape)).astype(np.float32)
    return stored


def write_shapes(rng, folder: Path, arms) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images, targets = [], np.arange(4)
    for target in targets:
        image = Image.fromarray(photograph(rng))
        draw, box = ImageDraw.Draw(image), [24, 24, 72, 72]
        if target == 0:
            draw.ellipse(box, fill=(240, 200, 60))
        elif target == 1:
            draw.rectangle(box, fill=(120, 220, 160))
        elif target == 2:
            draw.polygon([(48, 20), (76, 72), (20, 72)], fill=(240, 140, 120))
        else:
            draw.ellipse(box, outline=(150, 190, 250), width=9)
        images.append(np.asarray(image))
    roles = ("success", "success", "typical", "failure")
    index = [{"index": k, "name": f"val/{SHAPES[k]}/{k:03}.jpg", "role": roles[k], "query": None} for k in range(4)]
    write_index(folder, index, np.stack(images), targets.astype(np.int64))
    middle = np.zeros((4, SIZE, SIZE), bool)
    middle[:, 24:72, 24:72] = True
    for arm in arms:
        logits = rng.normal(0, 0.6, (4, 4)) + (1 + 12 * GAINS.get(base_of(arm["name"]), 0.05)) * np.eye(4)
        logits[3, 0] += 2.5
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        stored = {"predictions": probabilities.astype(np.float32), **gates(rng, base_of(arm["name"]), middle)}
        np.savez(folder / f"{arm['folder']}.npz", **stored)


def write_index(folder: Path, index, images, targets) -> None:
    text = json.dumps({"images": index, "size": [SIZE, SIZE], "best": "non_local"})
    (folder / "index.json").write_text(text, encoding="utf-8")
    np.savez(folder / "images.npz", images=images, targets=targets)


if __name__ == "__main__":
    from saccade.report import build_report

    print(build_report(write_comparison(Path(sys.argv[1]), task=(sys.argv[2:] or ["segmentation"])[0])))
