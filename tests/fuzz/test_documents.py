"""Any file is a batch, or ends in sentences."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sc.documents import read_batch_file
from sc.errors import InputError

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["cmd", "env", "matrix", "remote_output_path", "gpus", "{x}", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.sampled_from(["runs", "nprocs", "remote_output_path", "env", "timeout"]),
        JSON_VALUES,
    )
)
def test_any_json_gives_a_batch_or_sentences(tmp_path: Path, document: object) -> None:
    path = tmp_path / "any"
    path.write_text(json.dumps(document))
    for name in ("any.json", "any.yaml"):
        _read_whatever(path, name)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200), st.sampled_from(["any.json", "any.yaml", "any.txt", "any"]))
def test_any_bytes_give_a_batch_or_sentences(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    _read_whatever(path, name)


def _read_whatever(path: Path, name: str) -> None:
    try:
        batch = read_batch_file(str(path), name, remote_output_path="/out")
    except InputError as error:
        told = error.problems
    else:
        told = ()
        assert len(list(batch.runs)) == len(batch.runs)
    assert all(line.isprintable() and line.startswith(name) for line in told)
