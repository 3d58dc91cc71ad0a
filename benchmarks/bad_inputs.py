"""Nonsense for options and damaged files: ``python -m benchmarks.bad_inputs --count 700 --seed 0``.

Every case is drawn from the seed and its number, and run in this process. Five things are asked of each:

1. the command ends with status 0, 1 or 2, within `SECONDS`, and never by an exception that was not foreseen;
2. with status 2 it says so in a line that begins with ``error:``, without a traceback;
3. the user's images, masks and weights are as before;
4. of a folder with a damaged file, a refusal leaves every file as it was, but for what a resumed training writes first;
5. no hint advises to delete anything.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.comparison.inline import InlinePool

import saccade.comparison.compare
from saccade.cli.app import app, main

SECONDS = 240

TRAIN = (
    "--network test_resnet --mechanism se --size 32 --steps 2 --batch 2 --workers 0 --device cpu --checkpoint-seconds 0"
)
COMPARE = "--backbone test_resnet --mechanisms none,se --seeds 1 --steps 1 --size 32 --batch 2 --jobs 1 --device cpu"
COMMANDS = {
    "train": f"photos {TRAIN} --out new",
    "compare": f"photos {COMPARE} --out new --dry-run",
    "evaluate": "photos --model run --workers 0 --device cpu",
    "predict": "photos/a --model run --device cpu",
    "look": "photos/a/0.png --model run --out new",
    "export": "run --to torchscript --out new.pt --no-verify",
    "list": "",
    "plan": "test_resnet se",
    "bench": "se --shape 1,8,4,4 --no-compile --rounds 1",
    "report": "compared",
    "data check": "photos",
    "data demo": "new --train 2",
    "data import": "coco new",
}
VALUES = (
    "", " ", "-1", "0", "1", "-0.0", "0.5", "nan", "inf", "-inf", "1e999", "99999999999999999999", "1,5", "1.5.2",
    "0x10", "\u0663", "\udcff", "\u00fc", "x" * 5000, "[", "(", "*", "?", "%s", "{}", "{0.__class__}", "--", "-", "=",
    "a=b", "a=", "=b", ",", ",,", ":", "a:b", "a:b:c", "os:getcwd", "json:loads", "True", "None", "[1, 2]", "$HOME",
    "~nobody/x", "line\nline", "\t", "/dev/null", "/proc/self/mem", "nowhere/at/all", "photos", "photos/a",
    "photos/a/0.png", "scenes", "coco", "run", "compared", "run/run.json", "run/best.safetensors", "empty", "noise",
    "se[", "se[x=1]", "se[reduction=0]", "se[reduction=1e9]", "none", "auto", "balanced", "order", "meta", "cuda:99",
    "mps", "cpu:7",
)  # fmt: skip
RUN = (
    "run.json",
    "result.json",
    "split.json",
    "data.json",
    "log.csv",
    "best.safetensors",
    "model.safetensors",
    "checkpoints",
)
COMPARED = (
    "results.json", "settings.json", "experiment.json", "data.json", "split.json", "runs/se/0/config.json",
    "runs/se/0/model.safetensors", "runs/se/0/result.json", "runs/se/0/log.csv", "pictures/index.json",
)  # fmt: skip
OF_RUN = {
    "evaluate": "evaluate photos --workers 0 --device cpu --model broken",
    "predict": "predict photos/a --device cpu --model broken",
    "look": "look photos/a/0.png --out new --model broken",
    "export": "export broken --to torchscript --out new.pt --no-verify",
    "finished": f"train photos {TRAIN} --out broken",
    "resumed": f"train photos {TRAIN} --out broken",
    "weights": f"train photos {TRAIN} --out new --pretrained=broken",
}
OF_COMPARED = {
    "shown": f"compare photos {COMPARE} --out broken",
    "report": "report broken",
    "evaluate": "evaluate photos --workers 0 --device cpu --model broken/runs/se",
    "look": "look photos/a/0.png --out new --model broken/runs/se",
}


class TooLongError(BaseException):
    """A command did not end."""


class Draw:
    """Random choices of one case."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def pick(self, some: Sequence[Any]) -> Any:
        return some[int(self.rng.integers(len(some)))]

    def below(self, number: int) -> int:
        return int(self.rng.integers(max(1, number)))


def plant(root: Path) -> None:
    """Write what the commands are given: photos, masks, an export, odd files, a training and a comparison."""
    rng = np.random.default_rng(0)

    def image(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)

    for number in range(4):
        for name in "ab":
            image(root / "photos" / name / f"{number}.png")
        image(root / "scenes" / "images" / f"{number}.png")
        (root / "scenes" / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.eye(32, dtype=np.uint8)).save(root / "scenes" / "masks" / f"{number}.png")
    image(root / "coco" / "0.png")
    objects = [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]], "bbox": [0, 0, 9, 9]}]
    images = [{"id": 1, "file_name": "0.png", "width": 32, "height": 32}]
    export = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "thing"}]}
    (root / "coco" / "annotations.json").write_text(json.dumps(export))
    (root / "empty").touch()
    (root / "noise").write_bytes(rng.bytes(4096))
    saccade.comparison.compare.Pool = InlinePool
    torch.set_num_threads(1)
    for words in (f"train photos {TRAIN} --out run --quiet", f"compare photos {COMPARE} --out compared --quiet"):
        status, said = call(words.split())
        if status != 0:
            raise SystemExit(f"{words}: {said}")


def call(words: Sequence[str]) -> tuple[Any, str]:
    """Run a command line; return its status, or the exception that it ended by, and what it wrote to stderr."""
    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(list(words))
    except SystemExit as left:
        return left.code, err.getvalue()
    except BaseException as fault:
        return f"{type(fault).__name__}: {fault}", err.getvalue()
    finally:
        signal.alarm(0)
    return "no exit", err.getvalue()


def _stop(*_: object) -> None:
    raise TooLongError


def options(command: str) -> list[str]:
    """Return the options of a command as they are typed."""
    found: Any = app
    for word in command.split():
        found = found[word]
    parameters = inspect.signature(found.default_command).parameters.values()
    named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != "settings"]
    return [f"--{name.strip('_').replace('_', '-')}" for name in named]


def nonsense(draw: Draw) -> list[str]:
    """Draw a command with a bad value for an option, or for an argument."""
    command = draw.pick(list(COMMANDS))
    words = COMMANDS[command].split()
    value = draw.pick(VALUES)
    places = [index for index, word in enumerate(words) if not word.startswith("--")]
    if places and draw.below(6) == 0:
        words[draw.pick(places)] = value
    else:
        flag = draw.pick([*options(command), "--json"])
        if flag in words:
            at = words.index(flag)
            del words[at : at + 1 + (at + 1 < len(words) and not words[at + 1].startswith("--"))]
        words += [f"{flag}={value}"] if draw.below(3) == 0 else [flag, value]
    return [*command.split(), *words]


def broken(draw: Draw) -> tuple[list[str], str]:
    """Copy a folder, damage one of its files, and draw a command that reads it."""
    kind, files, commands = draw.pick([("run", RUN, OF_RUN), ("compared", COMPARED, OF_COMPARED)])
    shutil.copytree(kind, "broken")
    what = draw.pick(list(commands))
    if what == "resumed":
        for name in ("result.json", "model.safetensors"):
            Path("broken", name).unlink(missing_ok=True)
    path = Path("broken", draw.pick(files))
    if path.is_dir():
        path = draw.pick(sorted(path.iterdir()))
    if not path.exists():
        return commands[what].split(), f"{what}: {path.name} is not there"
    whole = path.read_bytes()
    change = draw.pick([_cut, _flip, _flip, _json, _json, _json, _other])
    path.write_bytes(change(draw, whole))
    return commands[what].split(), f"{what}: {path} {change.__name__}"


def _cut(draw: Draw, whole: bytes) -> bytes:
    return whole[: draw.below(len(whole))]


def _flip(draw: Draw, whole: bytes) -> bytes:
    changed = bytearray(whole)
    near = draw.pick([64, 4096, len(whole)])  # of weights most bytes are values, and the header comes first
    for _ in range(draw.pick([1, 1, 8])):
        if changed:
            changed[draw.below(min(near, len(changed)))] ^= 1 << draw.below(8)
    return bytes(changed)


def _other(draw: Draw, whole: bytes) -> bytes:
    return draw.pick(
        [b"", b"null", b"[]", b"{}", b'"x"', b"1e999", b"\xff\xfe" * 9, bytes(len(whole)), whole * 2, b"[" * 100_000,
         b"\xff" * 8 + whole[8:], (2**40).to_bytes(8, "little") + whole[8:], whole.replace(b"\n", b"\r")]
    )  # fmt: skip


def _json(draw: Draw, whole: bytes) -> bytes:
    """Change one value anywhere in a JSON document, or in the header of weights."""
    weights = not whole.startswith((b"{", b"["))
    length = int.from_bytes(whole[:8], "little") if weights else len(whole)
    try:
        document = json.loads(whole[8 : 8 + length] if weights else whole)
    except ValueError:
        return _flip(draw, whole)
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = draw.pick(keys)
        if isinstance(place[key], (dict, list)) and place[key] and draw.below(4):
            place = place[key]
            continue
        if draw.below(4) == 0:
            del place[key]
        else:
            odd = [None, True, -1, 1.5, 10**30, "", "x", "\udcff", [], [[]], {}, {"x": 1}, float("nan"), "../../x", 0]
            place[key] = draw.pick(odd)
        break
    made = json.dumps(document).encode("utf-8", "surrogatepass")
    return len(made).to_bytes(8, "little") + made + whole[8 + length :] if weights else made


def state(*folders: str) -> dict[Path, bytes]:
    """Return the content of every file."""
    return {path: path.read_bytes() for one in folders for path in Path(one).rglob("*") if path.is_file()}


def examine(root: Path, seed: int, count: int, first: int = 0) -> Iterator[tuple[int, str, Any, list[str]]]:
    """Run cases in a folder that :func:`plant` made; yield number, story, status and faults of each."""
    os.chdir(root)
    users = ("photos", "scenes", "coco", "run", "compared")
    before = state(*users)
    for number in range(first, first + count):
        draw = Draw(seed, number)
        damaged = draw.below(3) == 0
        words, story = broken(draw) if damaged else (nonsense(draw), "")
        story = f"{story} $ saccade {' '.join(words)}"[:400].encode("utf-8", "backslashreplace").decode()
        there = state("broken") if damaged else {}
        status, said = call(words)
        found = []
        if status not in (0, 1, 2):
            found.append(f"ended by {status}")
        if "not foreseen" in said or "Traceback" in said:
            found.append(f"not foreseen: {said[-600:]}")
        if status == 2 and not any(line.startswith("error: ") for line in said.splitlines()):
            found.append(f"no line with the error: {said[-300:]}")
        if "delete" in said.partition("hint:")[2]:
            found.append(f"advises to delete: {said[-300:]}")
        now = state(*users)
        found += [f"changed {path}" for path, content in before.items() if now.get(path) != content]
        if status == 2:
            ours = {".lock", "run.json", "log.csv"}
            found += [f"changed {path}" for path in there if path.name not in ours and not _same(path, there[path])]
        _tidy(users, before, now)
        yield number, story, status, found


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _tidy(users: Sequence[str], before: dict[Path, bytes], now: dict[Path, bytes]) -> None:
    """Remove what a case wrote, and restore what it should not have changed."""
    for path in Path().iterdir():
        if path.name not in (*users, "empty", "noise"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in now.keys() - before.keys():
        path.unlink(missing_ok=True)
    for path, content in before.items():
        if now.get(path) != content:
            path.write_bytes(content)


def run() -> None:
    """Examine cases and print the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    statuses: Counter[Any] = Counter()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="bad-") as folder:
        os.chdir(folder)
        plant(Path(folder))
        for number, story, status, found in examine(Path(folder), given.seed, given.count, given.first):
            statuses[status] += 1
            bad += bool(found)
            for fault in found:
                print(f"{number} [{story}] {fault}", flush=True)
        os.chdir("/")
    print(f"{sum(statuses.values())} inputs, by status {dict(statuses)}; {bad} with faults")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    run()
