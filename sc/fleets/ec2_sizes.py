"""How large an instance type is, told from its name, for what need not be exact: cutting a batch into parts."""

from __future__ import annotations

import re
from typing import Optional

_SMALL = {"nano": 2, "micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4}
_METAL = 96
_SIZE = re.compile(r"(\d+)xlarge|metal-(\d+)xl")
# Of the families g and p; g4dn, g5, g6, p3, p4d, p5 and their kin.
_GPUS = {
    "g": {12: 4, 24: 4, 48: 8, _METAL // 4: 8},
    "p": {8: 4, 16: 8, 24: 8, 48: 8},
}

_REGULAR = ("g4dn", "g5", "g6", "g6e", "p3", "p4d", "p5")
"""Of whose sizes the table is right: docs.aws.amazon.com/ec2/latest/instancetypes/ac.html"""


def usual_slots(instance_type: str) -> int:
    """Its GPUs if it has some, else its vCPUs, at least 1. Right for the common types, a fair guess for the rest."""
    family, _, size = instance_type.partition(".")
    multiple = _multiple(size)
    gpus = _GPUS.get(family[:1])
    if gpus is not None:
        return gpus.get(multiple, 1)
    return 4 * multiple or _SMALL.get(size, 2)


def gpus_of(instance_type: str) -> Optional[int]:
    """How many it has; None where its name does not tell for sure."""
    family, _, size = instance_type.partition(".")
    if re.fullmatch(r"[acdhimrtxz]\d+[a-z-]*", family):
        return 0
    known = _GPUS.get(family[:1])
    if known is None or family not in _REGULAR or not (_multiple(size) or size == "xlarge"):
        return None
    return known.get(_multiple(size), 1)


def _multiple(size: str) -> int:
    """How many times an `xlarge` it is; 0 for what is smaller or not known."""
    match = _SIZE.fullmatch(size)
    if match:
        return int(match.group(1) or match.group(2))
    return _METAL // 4 if size.startswith("metal") else 0
