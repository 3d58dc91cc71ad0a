"""The known mechanisms: saccade's own table, those registered from outside, and the notation for them.

Nothing here loads torch, and no mechanism is imported before it is made.
"""

from saccade.catalog.entry import Cost, Entry, NaturalPlace
from saccade.catalog.imports import imported, is_import_path, mentioned_in, name_code
from saccade.catalog.registry import (
    check_options,
    create,
    entries,
    find,
    list_mechanisms,
    option_names,
    register,
    unregister,
)
from saccade.catalog.spec import Spec, name_and_options, parse, parse_chain, split_top
from saccade.catalog.table import CATALOG, PRESETS

__all__ = [
    "CATALOG",
    "PRESETS",
    "Cost",
    "Entry",
    "NaturalPlace",
    "Spec",
    "check_options",
    "create",
    "entries",
    "find",
    "imported",
    "is_import_path",
    "list_mechanisms",
    "mentioned_in",
    "name_and_options",
    "name_code",
    "option_names",
    "parse",
    "parse_chain",
    "register",
    "split_top",
    "unregister",
]
