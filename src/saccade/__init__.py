"""Visual attention for convolutional networks: choose it, plug it in, train it, see it, ship it.

The names below are loaded on first use, so that ``import saccade``, ``saccade --help`` and ``saccade doctor`` are quick
and work even if torch itself is broken.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from saccade.errors import InputError, SaccadeWarning
from saccade.version import __version__

if TYPE_CHECKING:
    from saccade.catalog import create, list_mechanisms, register
    from saccade.comparison.compare import compare
    from saccade.data.importing import import_data
    from saccade.exporting.export import export_network as export
    from saccade.insertion import insert, plan, remove, verify
    from saccade.inspection.recording import record
    from saccade.networks.classifier import classifier
    from saccade.networks.pose_estimator import list_pose_estimators, pose_estimator
    from saccade.networks.segmenter import list_segmenters, segmenter
    from saccade.official import load_official
    from saccade.runs.evaluate import evaluate_network as evaluate
    from saccade.runs.predict import predict_images as predict
    from saccade.runs.train import train_network as train
    from saccade.saving import load, save
    from saccade.saving.hub import from_pretrained, push_to_hub, save_pretrained

_HOMES = {
    "classifier": "saccade.networks.classifier",
    "compare": "saccade.comparison.compare",
    "create": "saccade.catalog",
    "evaluate": "saccade.runs.evaluate:evaluate_network",
    "export": "saccade.exporting.export:export_network",
    "from_pretrained": "saccade.saving.hub",
    "import_data": "saccade.data.importing",
    "insert": "saccade.insertion",
    "list_mechanisms": "saccade.catalog",
    "list_pose_estimators": "saccade.networks.pose_estimator",
    "list_segmenters": "saccade.networks.segmenter",
    "load": "saccade.saving",
    "load_official": "saccade.official",
    "plan": "saccade.insertion",
    "pose_estimator": "saccade.networks.pose_estimator",
    "predict": "saccade.runs.predict:predict_images",
    "push_to_hub": "saccade.saving.hub",
    "record": "saccade.inspection.recording",
    "register": "saccade.catalog",
    "remove": "saccade.insertion",
    "save": "saccade.saving",
    "save_pretrained": "saccade.saving.hub",
    "segmenter": "saccade.networks.segmenter",
    "train": "saccade.runs.train:train_network",
    "verify": "saccade.insertion",
}

__all__ = [
    "InputError",
    "SaccadeWarning",
    "__version__",
    "classifier",
    "compare",
    "create",
    "evaluate",
    "export",
    "from_pretrained",
    "import_data",
    "insert",
    "list_mechanisms",
    "list_pose_estimators",
    "list_segmenters",
    "load",
    "load_official",
    "plan",
    "pose_estimator",
    "predict",
    "push_to_hub",
    "record",
    "register",
    "remove",
    "save",
    "save_pretrained",
    "segmenter",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, called = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(module), called or name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
