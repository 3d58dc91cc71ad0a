"""Names of parametrised tests that are the same in every process."""

import re


def shown(value):
    """A value as text, functions without their addresses: workers that collect tests compare the names."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
