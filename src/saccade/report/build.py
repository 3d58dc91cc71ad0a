"""`build_report`: what a comparison wrote, read and made into one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from saccade.catalog import CATALOG
from saccade.errors import InputError
from saccade.files import read_json, replacing
from saccade.report import charts, numbers, scenes, texts, verdict
from saccade.report.further import further
from saccade.report.logs import read_curves

SCHEMA = 1
COSTS = ("macs", "params", "latency_ms", "peak_mib", "train_seconds")


def build_report(directory: Path) -> Path:
    """Write ``report.html`` into the folder of a comparison.

    Reads ``results.json``, and where they exist ``runs/ARM/SEED/log.csv`` and ``pictures/``; what is missing is left
    out of the page. A reader never meets half a page: it takes its place when it is whole.

    Args:
        directory: The folder given to ``saccade compare --out``.

    Returns:
        The path of the page.

    Raises:
        InputError: No ``results.json`` in `directory`, or one this version does not read; a full disk.
    """
    directory = Path(directory)
    results = read_results(directory)
    page = render(directory, results)
    path = directory / "report.html"
    with replacing(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return path


def read_results(directory: Path) -> dict[str, Any]:
    """``results.json``, with a sentence instead of a traceback when it is missing or of another kind."""
    path = directory / "results.json"
    hint = "give the folder of a comparison, as written by saccade compare --out"
    if not path.is_file():
        raise InputError(f"report: no results.json in {directory}", hint)
    results = read_json(path)
    schema = results.get("schema") if isinstance(results, dict) else None
    if not isinstance(results, dict) or schema != SCHEMA:
        raise InputError(
            f"report: {path} has schema {schema!r}; this version reads {SCHEMA}", "run saccade compare again"
        )
    return results


def render(directory: Path, results: Mapping[str, Any]) -> str:
    """The page as text."""
    environment = texts.WORDS.environment(_file)
    safe = environment.filters["html"]
    environment.globals.update(
        chip=lambda difference: safe(charts.verdict_chip(difference)),
        word=lambda word: safe(texts.shown(*map(escape, texts.known(word)))),
        limits=lambda values: ", ".join(map(numbers.figures, values)),
        attends=_attends,
        more=lambda arm, cost: safe(_more(arm, cost, results)),
        key_of=lambda index: safe(f'<svg class="key" width="16" height="16">{charts.mark(index, "8", 8)}</svg>'),
    )
    page: str = environment.get_template("template.html.jinja").render(context(directory, results))
    return page


def _file(name: str) -> str:
    return resources.files("saccade.report").joinpath(name).read_text("utf-8")


def context(directory: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the template shows."""
    arms: Sequence[Mapping[str, Any]] = results["arms"]
    reference = reference_of(arms)
    compared = [arm for arm in arms if arm["difference"]]
    scored = [arm for arm in arms if arm["mean"] is not None]
    curves = {"score": read_curves(directory, results, "score"), "loss": read_curves(directory, results, "loss")}
    return {
        "r": results,
        "arms": arms,
        "reference": reference,
        "compared": compared,
        "headline": verdict.headline(arms, len(results["seeds"])),
        "title": texts.pair("page_title", name=results["data"]["name"]),
        "lead": verdict.lead(results, reference),
        "control": verdict.control_note(arms, reference),
        "difference_chart": charts.difference_chart(arms, reference),
        "has_intervals": any(numbers.is_interval(arm["interval"]) for arm in arms),
        "gallery": scenes.load_gallery(directory, results),
        "cost_names": {cost: texts.pair(cost) for cost in COSTS},
        "curve_names": {what: texts.pair(f"curve_{what}", metric=results["metric"]) for what in curves},
        "cost_charts": {cost: chart for cost in COSTS if (chart := charts.cost_chart(arms, cost))},
        "seed_charts": _seed_charts(scored, results["seeds"]),
        "curve_charts": {what: charts.curve_chart(arms, found) for what, found in curves.items() if found},
        "breakdowns": {by: names for by in ("size", "thinness") if (names := _breakdown(results, by))},
        "how": how_measured(results, reference, len(compared)),
        "environment": _environment(results),
        "long_names": any(len(arm["name"]) > charts.LONG for arm in arms),
        "settings": json.dumps(results.get("settings"), indent=2, ensure_ascii=False),
        "credits": _credits(results["data"]),
        "further": further(results, reference),
    }


def _attends(arm: Mapping[str, Any]) -> str | None:
    """The text for what an arm's mechanism weighs; None for arms without one, and for controls."""
    entry = CATALOG.get(arm["mechanism"])
    return None if entry is None or verdict.is_control(arm) else f"attends_{entry.attends}"


def _seed_charts(arms: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> dict[str, str]:
    """Scores of all seeds; and with several seeds, what one seed does to all arms."""
    if len(arms) < 2:
        return {}
    shown = {"scores": charts.seed_chart(arms, seeds)}
    return shown | ({"shifts": charts.seed_chart(arms, seeds, centred=True)} if len(seeds) > 1 else {})


def _credits(data: Mapping[str, Any]) -> str:
    """Whose pictures the demo shows; of a user's own nothing is known."""
    if data["demo"]:
        from saccade.data.notes import CREDITS

        return " ".join(CREDITS)
    return ""


def reference_of(arms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The arm the others are compared with: the first without a mechanism and without a difference."""
    return next((arm for arm in arms if not arm["difference"] and not arm["mechanism"]), arms[0])


def _more(arm: Mapping[str, Any], cost: str, results: Mapping[str, Any]) -> str:
    """A cost relative to the reference, as a small figure."""
    reference = reference_of(results["arms"])
    text = "" if arm is reference else numbers.relative(arm[cost], reference[cost])
    return f"<small>{escape(text)}</small>" if text else ""


def _breakdown(results: Mapping[str, Any], by: str) -> list[str]:
    """The kinds of objects, by ``size`` or by ``thinness``, that any arm has a number for."""
    found = [arm.get(f"by_{by}") or {} for arm in results["arms"]]
    names = ((results.get("buckets") or {}).get(by) or {}).get("names", ())
    return [name for name in names if any(one.get(name) is not None for one in found)]


def how_measured(results: Mapping[str, Any], reference: Mapping[str, Any], compared: int) -> list[str]:
    """The paragraphs on method (HTML); those that do not apply are left out."""
    height, width = results["macs_input"][-2:]
    threads = results["environment"].get("threads")
    seeds = ", ".join(map(str, results["seeds"]))
    images, classes = numbers.count(results["test_images"]), len(results["data"]["classes"])
    first = texts.both("how_pairs", seeds=seeds, reference=reference["name"])
    if f"start_{results['start']}" in texts.TEXTS:
        first += texts.SPACE + texts.both(f"start_{results['start']}")
    costs = [texts.both("how_costs", input=f"{height} × {width}")]
    if any(arm["latency_ms"] is not None for arm in results["arms"]):
        key = "threads_unknown" if not threads else "one_thread" if threads == 1 else "threads"
        counted = texts.pair(key, count=threads)
        costs.append(texts.both("how_latency", batch=results["latency_batch"], threads=counted))
    if any(arm["peak_mib"] is not None for arm in results["arms"]):
        costs.append(texts.both("how_peak", batch=results["peak_batch"]))
    costs.append(texts.both("how_train_time"))
    paragraphs = [first]
    if compared:
        paragraphs += [
            texts.both("how_spread", images=images),
            texts.both("how_test", arms=compared),
            texts.both("how_intervals"),
        ]
    if f"how_metric_{results['metric']}" in texts.TEXTS:
        paragraphs.append(texts.both(f"how_metric_{results['metric']}", classes=classes))
    training = {"steps": numbers.count(results["steps"]), "train": numbers.count(results["data"]["train"])}
    paragraphs.append(texts.both("how_training", **training, batch=results["batch"], size=results["size"]))
    return [*paragraphs, texts.SPACE.join(costs)]


def _environment(results: Mapping[str, Any]) -> dict[str, str]:
    """Name to value, in the order they were recorded, without what is unknown."""
    return {name: str(value) for name, value in results["environment"].items() if value is not None}
