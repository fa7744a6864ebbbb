"""JSON with something strange in it: bytes that are torn seldom reach what lies behind the parser."""

from __future__ import annotations

import json
from random import Random
from typing import Any

STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    10**30,
    10**400,
    "",
    "\0",
    "\ud800",
    "a=b",
    "../x",
    "local",
    "x" * 5000,
    [],
    [[]],
    [""],
    {},
    {"a": {"b": []}},
]
_KEYS = ["", "x", "cmd", "worker", "env", "=", "matrix"]


def mutated(document: Any, random: Random) -> Any:
    """The document with something strange in one place."""
    if random.random() < 0.3 or not isinstance(document, (dict, list)) or not document:
        return random.choice(STRANGE)
    keys: list[Any] = list(document) if isinstance(document, dict) else list(range(len(document)))
    copy = document.copy()
    key = random.choice(keys)
    what = random.random()
    if what < 0.15 and isinstance(copy, dict):
        del copy[key]
    elif what < 0.3 and isinstance(copy, dict):
        copy[random.choice(_KEYS)] = random.choice(STRANGE)
    elif what < 0.35 and isinstance(copy, list):
        copy.insert(key, copy[key])
    else:
        copy[key] = mutated(document[key], random)
    return copy


def mutated_json(data: bytes, seed: int) -> bytes:
    """The same for the text of a document; raises ValueError for what is none."""
    random = Random(seed)
    try:
        document = json.loads(data)
        for _ in range(random.choice((1, 1, 2, 4))):
            document = mutated(document, random)
        return json.dumps(document).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
