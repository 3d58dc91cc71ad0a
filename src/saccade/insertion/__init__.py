"""Insertion of attention into networks: places found on a traced forward pass, no renaming, outputs kept at first."""

from saccade.insertion.attach import Attachment, attachments
from saccade.insertion.groups import freeze_all_but_attention, parameter_groups
from saccade.insertion.inserting import insert, remove
from saccade.insertion.places import Place
from saccade.insertion.planning import plan
from saccade.insertion.report import Plan, Report, Step
from saccade.insertion.verifying import verify

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
