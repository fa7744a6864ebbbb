"""What the fuzzer has begun with, and what it has found, goes through the same functions: without a fuzzer, at once."""

from __future__ import annotations

import pytest

from tests.fuzz.found import FOUND
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS


def test_every_target_has_a_beginning() -> None:
    assert set(SEEDS) == set(TARGETS)
    assert set(FOUND) <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_fuzzer_goes_on_from(name: str) -> None:
    for data in SEEDS[name]:
        TARGETS[name](data)
        TARGETS[name](data[: len(data) // 2])
    TARGETS[name](b"")


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name, kept in FOUND.items() for what in kept]
)
def test_what_was_found_once(name: str, what: str) -> None:
    TARGETS[name](FOUND[name][what])
