"""Insertion of attention into networks: places found on a traced forward pass, no renaming, outputs kept at first.

The names are loaded on first use: the rules that find places serve networks of Keras too, without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saccade.insertion.attach import Attachment, attachments
    from saccade.insertion.groups import freeze_all_but_attention, parameter_groups
    from saccade.insertion.inserting import insert, remove
    from saccade.insertion.places import Place
    from saccade.insertion.planning import plan
    from saccade.insertion.report import Plan, Report, Step
    from saccade.insertion.verifying import verify

_HOMES = {
    "Attachment": "attach",
    "Place": "places",
    "Plan": "report",
    "Report": "report",
    "Step": "report",
    "attachments": "attach",
    "freeze_all_but_attention": "groups",
    "insert": "inserting",
    "parameter_groups": "groups",
    "plan": "planning",
    "remove": "inserting",
    "verify": "verifying",
}

__all__ = [
    "Attachment",
    "Place",
    "Plan",
    "Report",
    "Step",
    "attachments",
    "freeze_all_but_attention",
    "insert",
    "parameter_groups",
    "plan",
    "remove",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
