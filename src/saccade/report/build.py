"""The HTML report: the results, pictures and logs of a comparison on one page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from saccade.catalog import CATALOG
from saccade.comparison.results import ArmResult, DataSummary, Grouping, Results, read_results
from saccade.comparison.sequential import Plan
from saccade.outputs import Outputs
from saccade.report import charts, numbers, scenes, texts, verdict
from saccade.report.further import further
from saccade.report.logs import read_curves
from saccade.report.sensitivity import sensitivity_chart, settings_of, spread_text
from saccade.runs.names import REPORT

COSTS = ("macs", "params", "latency_ms", "peak_mib", "train_seconds")


def build_report(directory: Path) -> Path:
    """Write ``report.html`` into the folder of a comparison.

    Reads ``results.json``, and ``runs/ARM/SEED/log.csv`` and ``pictures/`` where they exist; sections without data are
    left out. The page replaces an earlier one only when it is complete.

    Args:
        directory: The folder given to ``saccade compare --out``.

    Returns:
        The path of the page.

    Raises:
        InputError: There is no ``results.json`` in `directory`, this version does not read it, the page was changed
            since saccade wrote it, or the disk is full.
    """
    directory = Path(directory)
    results = read_results(directory)
    outputs = outputs_for_page(directory)
    page = render(results, directory)
    path = directory / REPORT
    with outputs.replacing(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return path


def outputs_for_page(directory: Path) -> Outputs:
    """Return the outputs of a folder whose page may be written, or written again.

    Raises:
        InputError: Its ``report.html`` was changed since saccade wrote it, or is another program's.
    """
    outputs, path = Outputs(directory), directory / REPORT
    if path.is_file() and not outputs.wrote(path) and _BRAND in path.read_bytes():
        outputs.take(path)  # of a version that kept no record
    outputs.check([path])
    return outputs


_BRAND = b'<span class="brand">saccade</span>'


def render(results: Results, directory: Path) -> str:
    """Return the page as text, with the pictures and logs in `directory`."""
    environment = texts.WORDS.environment(_file)
    safe = environment.filters["html"]
    environment.globals.update(
        chip=lambda difference: safe(charts.verdict_chip(difference)),
        word=lambda word: safe(texts.shown(*map(escape, texts.known(word)))),
        limits=lambda by, group: safe(_limits(by, group)),
        title_of=lambda by: safe(texts.both(f"by_{by}") if f"by_{by}" in texts.TEXTS else escape(by)),
        attends=_attends,
        more=lambda arm, cost: safe(_more(arm, cost, results)),
        key_of=lambda index: safe(f'<svg class="key" width="16" height="16">{charts.mark(index, "8", 8)}</svg>'),
    )
    page: str = environment.get_template("template.html.jinja").render(context(results, directory))
    return page


def _file(name: str) -> str:
    return resources.files("saccade.report").joinpath(name).read_text("utf-8")


def context(results: Results, directory: Path) -> dict[str, Any]:
    """Return everything the template shows."""
    arms, reference = results.arms, results.reference
    compared = [arm for arm in arms if arm.difference]
    next_steps = further(results)
    curves = {"score": read_curves(directory, results, "score"), "loss": read_curves(directory, results, "loss")}
    return {
        "r": results,
        "arms": arms,
        "reference": reference,
        "compared": compared,
        "headline": verdict.headline(arms, len(results.seeds)),
        "title": texts.pair("page_title", name=results.data.name),
        "lead": verdict.lead(results),
        "control": verdict.control_note(results),
        "tied": texts.shown(*(verdict.tie_texts(results) or ("", ""))),
        "tuned": texts.shown(*map(texts.breakable, verdict.tuned_texts(results) or ("", ""))),
        "trials": len(arms[0].tuned.trials[0]) if arms[0].tuned else 0,
        "settings_of": lambda arm: [spread_text(values) for values in settings_of(arm.tuned)],
        "sensitivity_chart": sensitivity_chart(arms),
        "unseen": texts.shown(*map(escape, verdict.unseen_texts(results) or ("", ""))),
        "difference_chart": charts.difference_chart(arms, reference),
        "has_intervals": any(arm.interval for arm in arms),
        "gallery": scenes.load_gallery(directory, results),
        "cost_names": {cost: texts.pair(cost) for cost in COSTS},
        "curve_names": {what: texts.pair(f"curve_{what}", metric=results.metric) for what in curves},
        "cost_charts": {cost: charts.cost_chart(arms, cost) for cost in COSTS} if len(arms) > 1 else {},
        "seed_charts": _seed_charts(arms, results.seeds),
        "curve_charts": {what: charts.curve_chart(arms, found) for what, found in curves.items() if found},
        "breakdowns": {by: names for by in results.groups if (names := _parts(results, by))},
        "other_scores": list(dict.fromkeys(name for arm in arms for name in arm.others)),
        "how": how_measured(results, len(compared)),
        "environment": _environment(results),
        "long_names": any(len(arm.name) > charts.LONG for arm in arms),
        "settings": json.dumps(_without_places(results.settings), indent=2, ensure_ascii=False),
        "command": without_places(results.command),
        "credits": _credits(results.data),
        "further": next_steps and replace(next_steps, command=without_places(next_steps.command)),
    }


def _attends(arm: ArmResult) -> str | None:
    """The key of the text on what the mechanism of an arm weighs; None without a mechanism, and for controls."""
    entry = CATALOG.get(arm.mechanism or "")
    return None if entry is None or verdict.is_control(arm) else f"attends_{entry.attends}"


def without_places(command: str) -> str:
    """Return a command line with the last name only of every absolute path: the others say where files are kept."""
    try:
        words = shlex.split(command)
    except ValueError:  # not a command line: nothing to take apart
        return command
    parts = [word.rpartition("=") if word.startswith("-") else ("", "", word) for word in words]
    return shlex.join([option + sign + str(_without_places(value)) for option, sign, value in parts])


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_places(one) for one in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _seed_charts(arms: Sequence[ArmResult], seeds: Sequence[int]) -> dict[str, str]:
    """Charts of the scores of all seeds, and with several seeds of the shift that a seed gives to all arms."""
    if len(arms) < 2:
        return {}
    shown = {"scores": charts.seed_chart(arms, seeds)}
    return shown | ({"shifts": charts.seed_chart(arms, seeds, centred=True)} if len(seeds) > 1 else {})


def _credits(data: DataSummary) -> str:
    """The sources of the demo's pictures; empty for other data."""
    if data.demo:
        from saccade.data.notes import CREDITS

        photographs = CREDITS[:-1]
        return " ".join(photographs if data.name == "chips" else CREDITS)
    return ""


def _more(arm: ArmResult, cost: str, results: Results) -> str:
    """A cost relative to the reference, as a small figure."""
    reference = results.reference
    text = "" if arm is reference else numbers.relative(getattr(arm, cost), getattr(reference, cost))
    return f"<small>{escape(text)}</small>" if text else ""


def _parts(results: Results, by: str) -> list[str]:
    """The parts of a group that any arm has a number for."""
    found = [arm.details.get(by, {}) for arm in results.arms]
    return [name for name in results.groups[by].names if any(one.get(name) is not None for one in found)]


def _limits(by: str, group: Grouping) -> str:
    """The values between the parts of a group, with their unit where the texts know the group (HTML)."""
    if not group.limits:
        return ""
    key = f"limits_{by}" if f"limits_{by}" in texts.TEXTS else "limits"
    return texts.both(key, limits=", ".join(map(numbers.figures, group.limits)))


def how_measured(results: Results, compared: int) -> list[str]:
    """Return the paragraphs on method (HTML); those that do not apply are left out."""
    height, width = results.macs_input[-2:]
    threads, seeds = results.latency_threads, ", ".join(map(str, results.seeds))
    images, classes = numbers.count(results.test_images), len(results.data.classes)
    first = texts.both("how_pairs", seeds=seeds, reference=results.reference.name)
    if f"start_{results.start}" in texts.TEXTS:
        first += texts.SPACE + texts.both(f"start_{results.start}")
    counted = texts.pair("one_thread" if threads == 1 else "threads", count=threads)
    costs = [
        texts.both("how_costs", input=f"{height} × {width}"),
        texts.both("how_latency", batch=results.latency_batch, threads=counted),
        texts.both("how_peak", batch=results.peak_batch),
        texts.both("how_train_time"),
    ]
    paragraphs = [first]
    if compared:
        paragraphs += [
            texts.both("how_spread", images=images),
            texts.both("how_test", arms=compared),
            texts.both("how_intervals"),
        ]
        if results.plan:
            paragraphs.insert(3, _stages(results, results.plan))
        if results.arms[0].tuned:
            paragraphs.append(texts.both("how_tuned", trials=len(results.arms[0].tuned.trials[0])))
    if f"how_metric_{results.metric}" in texts.TEXTS:
        paragraphs.append(texts.both(f"how_metric_{results.metric}", classes=classes))
    training = {"steps": numbers.count(results.steps), "train": numbers.count(results.data.train)}
    paragraphs.append(texts.both("how_training", **training, batch=results.batch, size=results.size))
    return [*paragraphs, texts.SPACE.join(costs)]


def _stages(results: Results, plan: Plan) -> str:
    """The paragraph on the stages of a sequential comparison (HTML)."""
    return texts.both(
        "how_stages",
        stages=", ".join(map(str, plan.stages)),
        chance=numbers.percent(plan.chance),
        runs=results.runs,
        every=plan.seeds * len(results.arms),
    )


def _environment(results: Results) -> dict[str, str]:
    """Values by name, in the order in which they were recorded, without unknown ones."""
    found = results.environment
    shown = {name: ", ".join(value) if isinstance(value, Mapping) else str(value) for name, value in found.items()}
    return {name: text for name, text in shown.items() if found[name] is not None}
