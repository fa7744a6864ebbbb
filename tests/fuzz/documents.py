"""What people write: batches, recipes, single values, places."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from sc.archives.ignoring import Ignored
from sc.documents import read_batch_file, read_recipe, scalars, write_yaml
from sc.documents.json_text import JsonError, read_json
from sc.documents.matrix import Matrix
from sc.documents.outputs import absolute, below
from sc.documents.problems import Wrong
from sc.documents.scalars import Plain
from sc.documents.yaml_text import PythonParser, YamlError, read_yaml
from sc.errors import InputError, ScError
from sc.halting import is_limit, limit_of
from sc.model import Run, command_hash, command_text
from sc.staging import _run_of
from sc.storage.places import Bucket, Folder, resolve

_MOST_COMBINATIONS = 500
_MOST_RUNS = 2000


def text_of(data: bytes) -> str:
    """Any text at all: also halves of surrogate pairs, as JSON can hold them."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    """In memory where the machine has such a place: a fuzzer writes ten thousand files a second."""
    shm = "/dev/shm"
    return tempfile.TemporaryDirectory(
        prefix="sc-fuzz-", dir=shm if os.access(shm, os.W_OK) else None
    )


def written(name: str, data: bytes) -> str:
    """The path of a new file with this content, replacing the one before."""
    path = os.path.join(_folder().name, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def _batch(name: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        if data.count(b"matrix") > 1 or data.count(b"*") > 20:
            return  # millions of runs are allowed, and take their time
        try:
            batch = read_batch_file(
                written(name, data), name, remote_output_path="/out", folder="/work"
            )
        except InputError as error:
            assert str(error)
            assert all(str(error).splitlines())
            return
        if len(batch.runs) > _MOST_RUNS:
            return
        runs = list(batch.runs)
        assert len(runs) == len(batch.runs)
        assert runs == list(batch.runs)
        for run in runs:
            _check_run(run)

    return read


batch_in_json = _batch("batch.json")
batch_in_yaml = _batch("batch.yaml")
batch_in_text = _batch("batch.txt")
batch_by_looks = _batch("batch")


def _check_run(run: Run) -> None:
    """It arrives at a machine as it was read, and nothing in it can lead elsewhere or break a program's start."""
    assert _run_of(json.loads(json.dumps(run.to_json()))) == run
    assert len(command_hash(run)) == 16
    assert command_text(run.cmd).strip()
    assert ".." not in run.remote_output_path.split("/")
    assert run.remote_output_path.isprintable() or not run.remote_output_path.isascii()
    assert run.timeout is None or 0 < run.timeout < math.inf
    assert run.gpus is None or 0 < run.gpus < math.inf
    texts = [run.cmd] if isinstance(run.cmd, str) else list(run.cmd)
    for text in (*texts, *run.env, *run.env.values()):
        assert b"\0" not in text.encode()
    assert not any("=" in name or not name for name in run.env)


def json_as_a_stream(data: bytes) -> None:
    """In pieces of any size it is what `json.loads` makes of the whole."""
    size = data[0] % 40 + 1 if data else 1
    text = text_of(data[1:])
    pieces = (text[start : start + size] for start in range(0, len(text), size))
    try:
        found = _streamed(pieces)
    except JsonError:
        found = None
    try:
        wanted = json.loads(
            text,
            parse_int=Plain,
            parse_float=Plain,
            parse_constant=Plain,
            object_pairs_hook=_without_twins,
        )
    except (ValueError, RecursionError):
        wanted = None
    if isinstance(wanted, dict) or found is not None:
        assert found == wanted, f"{found!r} is not {wanted!r}"


def _streamed(pieces: Iterator[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value, is_slice in read_json(pieces, streamed="runs"):
        if is_slice:
            found[key] += value
        else:
            found[key] = value
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("twins")
    return values


def yaml_by_both_parsers(data: bytes) -> None:
    """With libyaml and without: both end, in values or in a sentence."""
    text = data.decode("utf-8", "replace")  # as a file is read, only that this would be told there
    for parser in (None, PythonParser):
        try:
            read_yaml(iter([text] if text else []), parser)
        except YamlError as error:
            assert str(error)


def recipe(data: bytes) -> None:
    """What was read is written, and read again, as it was."""
    ending = "json" if data[:1] == b"{" else "yaml"
    try:
        found = read_recipe(written(f"recipe.{ending}", data))
    except InputError as error:
        assert str(error)
        return
    written_again = write_yaml(found.raw).encode()
    again = read_recipe(written("again.yaml", written_again))
    assert again.recipe == found.recipe
    assert again.commands == found.commands


def matrix(data: bytes) -> None:
    """Every combination once; names only are filled in."""
    try:
        document = json.loads(data, parse_int=Plain, parse_float=Plain, parse_constant=Plain)
        run, values = document["run"], document["matrix"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    try:
        made = Matrix(values)
    except Wrong as wrong:
        assert str(wrong)
        return
    if not isinstance(run, dict):
        return
    lengths = list(map(len, values.values()))
    if math.prod(lengths) > _MOST_COMBINATIONS:
        return
    assert len(list(made.runs(run))) == math.prod(lengths)
    made.unused(run)


_SCALARS: tuple[Callable[[object], object], ...] = (
    scalars.text,
    scalars.filled_text,
    scalars.argument,
    scalars.command,
    scalars.seconds,
    scalars.gpus,
    scalars.gibibytes,
    scalars.switch,
    lambda value: scalars.whole(value, 0, 10**6),
    lambda value: scalars.number_above_zero(value, 1e6),
    lambda value: scalars.variables({str(value): value}),
    lambda value: scalars.variables({"A": value}),
    lambda value: scalars.texts([value]),
)


def values(data: bytes) -> None:
    """A value, or `Wrong` with the end of a sentence."""
    for word in (text_of(data), Plain(text_of(data))):
        for read in _SCALARS:
            try:
                found = read(word)
            except Wrong as wrong:
                assert str(wrong)
                continue
            assert not isinstance(found, float) or 0 < found < math.inf
            assert not isinstance(found, str) or found.encode() is not None


def outputs(data: bytes) -> None:
    """An output path leads below its folder, and is the same when it is read again."""
    word = text_of(data)
    for read, top in ((absolute, "/work"), (below, "s3://bucket/out")):
        try:
            place = read(word, top)
        except Wrong as wrong:
            assert str(wrong)
            continue
        assert read(place, top) == place
        assert ".." not in place.split("/")
        assert place.startswith(("/", "s3://", "sfs://", "file:///"))
        refused(lambda: resolve(place, {"SC_SFS_ROOT": "/sfs"}))  # noqa: B023 - called at once


def places(data: bytes) -> None:
    """A folder or a bucket, or an InputError."""
    word = text_of(data)
    for root in ("", "/sfs", "s3://bucket/shared", word):
        try:
            found = resolve(word, {"SC_SFS_ROOT": root})
        except InputError as error:
            assert str(error)
            continue
        assert isinstance(found, (Bucket, Folder))
        path = found.key if isinstance(found, Bucket) else found.path
        assert "\0" not in path
        if isinstance(found, Bucket):
            path.encode()


def ignore_rules(data: bytes) -> None:
    """Rules from a stranger's folder are rules, whatever they are."""
    lines = text_of(data).split("\n")
    ignored = Ignored(lines)
    for line in lines[:20]:
        for path in (line.strip("/"), f"a/{line.strip('/')}", "a/b/c.csv"):
            assert ignored.leaves_out(path[:200], False) in (True, False)


def limits(data: bytes) -> None:
    """`--max-failures`, of the command line and of recipe.json."""
    word = text_of(data)
    if is_limit(word):
        limit = limit_of(word, 1000)
        assert limit is not None
        assert limit.failures >= 1


def refused(read: Callable[[], object]) -> bool:
    """True if it raises an error of ours, with a sentence."""
    try:
        read()
    except ScError as error:
        assert str(error)
        return True
    return False
