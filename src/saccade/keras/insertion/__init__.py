"""Insertion of attention into Keras networks: graphs read, never run; outputs equal to the bit at first."""

from saccade.keras.attachment import Attachment, attachments
from saccade.keras.insertion.inserting import insert, remove
from saccade.keras.insertion.planning import plan
from saccade.keras.insertion.saving import save
from saccade.keras.insertion.verifying import verify

__all__ = ["Attachment", "attachments", "insert", "plan", "remove", "save", "verify"]
