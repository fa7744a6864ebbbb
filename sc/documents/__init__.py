"""What people write -> the model. All problems of a file at once, each with its place.

    source     bytes of a stranger's file  problems   the sentences
    json_text  JSON as a stream            scalars    single values
    yaml_text  YAML, the only importer     variables  words that look like variables
               of yaml                     outputs    output paths, and whether they clash
    formats    both, and .txt              matrix     one run -> many
    batch      a batch file                runs       the list below `runs:`
    recipe     a recipe file

Files are data from strangers: whatever is in them ends in a Batch, a Recipe or an InputError.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import BinaryIO, Optional

from sc.documents.batch import batch_of
from sc.documents.recipe import RecipeFile, check_names, read_recipe
from sc.documents.source import Source, open_file, spool
from sc.documents.yaml_text import write_yaml
from sc.errors import InputError
from sc.model import Batch

__all__ = [
    "RecipeFile",
    "check_names",
    "read_batch",
    "read_batch_file",
    "read_recipe",
    "write_yaml",
]

Tell = Callable[[str], None]
"""Takes a line of talk for the user, such as a warning. By default nobody listens."""


def _tell_nobody(line: str) -> None:
    """Nobody listens."""


def read_batch(
    source: str,
    *,
    remote_output_path: Optional[str] = None,
    nprocs: Optional[int] = None,
    fetch: Optional[Callable[[str, str], None]] = None,
    tell: Tell = _tell_nobody,
    stdin: Optional[BinaryIO] = None,
    folder: Optional[str] = None,
    at_once: Optional[int] = None,
) -> Batch:
    """Read and check a batch. Raises InputError with all of its problems.

    `source` is a path, `-` for standard input, or a place such as `s3://bucket/batch.json`, which
    `fetch(place, path)` (a storage's `get_file`) brings into a temporary file. `remote_output_path`
    and `nprocs` win over those of the file; runs without a path of their own go below the former.
    `folder` is where relative paths of the batch begin, by default the current folder. `at_once` is how many
    runs may be live at a time on one machine, by default what `nprocs` says; 1 for who runs nothing.
    """
    where = folder if folder is not None else os.getcwd()
    if source in ("-", "/dev/stdin"):
        opened = spool(stdin if stdin is not None else _standard_input(), "standard input")
    elif "://" in source and fetch is not None:
        opened = _fetched(source, fetch)
    else:
        opened = open_file(source, source)
    return batch_of(opened, where, remote_output_path, nprocs, tell, at_once)


def read_batch_file(
    path: str,
    name_to_show: str,
    *,
    remote_output_path: Optional[str] = None,
    nprocs: Optional[int] = None,
    tell: Tell = _tell_nobody,
    folder: Optional[str] = None,
    at_once: Optional[int] = None,
) -> Batch:
    """As `read_batch`, of a local copy: errors and the kind of file go by `name_to_show`.

    The file may be removed when this has returned; the batch keeps it open.
    """
    where = folder if folder is not None else os.getcwd()
    opened = open_file(path, name_to_show)
    return batch_of(opened, where, remote_output_path, nprocs, tell, at_once)


def _fetched(place: str, fetch: Callable[[str, str], None]) -> Source:
    with tempfile.TemporaryDirectory(prefix="sc-") as folder:
        path = os.path.join(folder, "batch")
        fetch(place, path)
        return open_file(path, place)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise InputError("-: standard input is closed; name a file, or connect a pipe.")
    return sys.stdin.buffer
