"""Output paths: made absolute and plain, and no two of them in each other's way.

A million paths are compared in some tens of megabytes: kept are the 64-bit hashes of the paths and
of the folders above them. Only if hashes meet, `Clashes` looks at the paths again and names both.
Python's hash of a text is keyed at random per process, so nobody can prepare a file that meets by design.
"""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice

from sc.documents.problems import Problems, Wrong, shown
from sc.documents.scalars import filled_text
from sc.documents.variables import expanded, has_variable
from sc.paths import JOBS

_SEGMENT = r"[A-Za-z0-9_=@%+,-][A-Za-z0-9_=@%+,. -]*"
_PLAIN_ABSOLUTE = re.compile(rf"(?:s3:/|sfs:/|file://)?(?:/{_SEGMENT})+")
_PLAIN_RELATIVE = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_LONGEST_PLAIN = 200
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(s3|sfs|file):", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
"""What Python makes of a byte that is not UTF-8, as the name of the current folder may hold it."""
_LONGEST_KEY = 960
"""Bytes. S3 takes keys of 1,024, and `attempts/<n>/stdout` and the like come below."""
_LONGEST_SEGMENT = 255
_RECENT = 50_000
_SUSPECTS = 10_000


def absolute(value: object, folder: str) -> str:
    """The batch's own output path; a relative one is a folder below `folder`."""
    written = place = filled_text(value)
    if not _SCHEME.match(place):
        place = expanded(place)
    if _SCHEME.match(place) or written.startswith("/"):
        return _final(place)
    # Here `..` is a person's way to point to a folder of theirs, and it is resolved at once.
    return _final(os.path.normpath(os.path.join(folder, place)))


def below(value: object, batch_path: str) -> str:
    """The output path of a run; a relative one lies below the batch's, and is a key where that is one."""
    if isinstance(value, str) and len(value) < _LONGEST_PLAIN:
        # Nearly all of a million are of this kind, and nothing is to be done to them.
        if _PLAIN_ABSOLUTE.fullmatch(value):
            return str(value)
        if _PLAIN_RELATIVE.fullmatch(value) and len(batch_path) < _LONGEST_PLAIN:
            return f"{batch_path}/{value}"
    place = filled_text(value)
    if not _SCHEME.match(place):
        if place.startswith("/") or not batch_path.startswith(("s3://", "sfs://")):
            place = expanded(place)
        if not _SCHEME.match(place) and not place.startswith("/"):
            place = f"{batch_path}/{place}"
    place = _final(place)
    if _comparable(f"{place}/").startswith(f"{_comparable(batch_path)}/{JOBS}/"):
        raise Wrong(f"{shown(place)} lies in {JOBS}, which sc keeps for itself")
    return place


def results_folder(written: str, folder: str) -> str:
    """A run's `local_results_dir`, to be compared: relative ones begin in `folder`, and links of this machine
    are followed."""
    path = written
    if len(written) >= _LONGEST_PLAIN or not _PLAIN_ABSOLUTE.fullmatch(written):
        path = os.path.normpath(os.path.join(folder, os.path.expanduser(written)))
    above, _, name = path.rpartition("/")
    path = f"{_real(above)}/{name}"
    return "/" + (os.path.realpath(path) if os.path.islink(path) else path).strip("/")


@lru_cache(maxsize=1000)
def _real(folder: str) -> str:
    """Most runs name folders in the same one."""
    return os.path.realpath(folder or "/").rstrip("/")


def _final(place: str) -> str:
    """As `_normal`, and the same when it is read again, as the parts of a job are: a folder in whose name there
    is still something like a variable is written with a scheme, where nothing is filled in."""
    place = _normal(place)
    return f"file://{place}" if place.startswith("/") and has_variable(place) else place


def _normal(place: str) -> str:
    """One slash between segments, none at the end, and nothing that a storage cannot keep."""
    if _CONTROL.search(place):
        raise Wrong(f"{shown(place)} contains a control character")
    if not place.isascii() and _LONE_SURROGATE.search(place):
        raise Wrong(f"{shown(place)} contains bytes that are not UTF-8; name another folder")
    scheme, rest = _split(place)
    segments = [one for one in rest.split("/") if one not in ("", ".")]
    if ".." in segments:
        raise Wrong(f"{shown(place)} contains '..'; write the path without it")
    if scheme in ("s3://", "sfs://"):
        if not segments:
            what = "bucket, as in s3://bucket/prefix" if scheme == "s3://" else "owner"
            raise Wrong(f"{shown(place)} names no {what}")
        if len("/".join(segments[1:]).encode()) > _LONGEST_KEY:
            raise Wrong(f"{shown(place)} is longer than {_LONGEST_KEY} bytes")
        return scheme + "/".join(segments)
    if not segments:
        raise Wrong(f"{shown(place)} is the root of the machine; name a folder in it")
    if any(len(segment.encode()) > _LONGEST_SEGMENT for segment in segments):
        raise Wrong(f"{shown(place)} has a name in it of more than {_LONGEST_SEGMENT} bytes")
    return scheme + "/" + "/".join(segments)


def _split(place: str) -> tuple[str, str]:
    match = _SCHEME.match(place)
    if match is None:
        return "", place
    scheme = (match.group(1) or match.group(2)).lower()
    rest = place[match.end() :]
    if scheme not in ("s3", "sfs", "file"):
        raise Wrong(f"{shown(place)} is of no kind known: use s3://, sfs://, file:/// or a folder")
    if match.group(2) or (rest.startswith("/") != (scheme == "file")):
        slashes = "file:///folder" if scheme == "file" else f"{scheme}://…"
        raise Wrong(f"{shown(place)} has too few or too many slashes: write {slashes}")
    return f"{scheme}://", rest


def _comparable(place: str) -> str:
    """The same text for the two ways to write a folder."""
    return place[7:] if place.startswith("file://") else place


def _folders_above(place: str) -> Iterator[str]:
    """The places above, nearest first, down to the bucket or the first folder."""
    folder = place.rpartition("/")[0]
    while folder and not folder.endswith("/"):
        yield folder
        folder = folder.rpartition("/")[0]


class OutputPaths:
    """The output paths seen so far, as hashes."""

    def __init__(self) -> None:
        self._paths: array[int] = array("q")
        self._folders: array[int] = array("q")
        self._recent: set[int] = set()
        self._last_folder = ""

    def add(self, path: str) -> None:
        path = _comparable(path)
        self._paths.append(hash(path))
        folder = path.rpartition("/")[0]
        if folder == self._last_folder:
            return
        self._last_folder = folder
        for above in _folders_above(path):
            number = hash(above)
            if number in self._recent:
                return
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            self._recent.add(number)
            self._folders.append(number)

    def suspects(self) -> frozenset[int]:
        """Hashes of paths that are there twice, or that have another path inside; not all if many."""
        paths = sorted(self._paths)
        twice = (one for one, other in zip(paths, islice(paths, 1, None)) if one == other)
        around = (one for one in self._folders if _contains(paths, one))
        return frozenset(islice((one for some in (twice, around) for one in some), _SUSPECTS))


def _contains(ordered: list[int], number: int) -> bool:
    at = bisect_left(ordered, number)
    return at < len(ordered) and ordered[at] == number


class Clashes:
    """The second look: which of the suspected paths are really in each other's way.

    `key` is that of the paths in the file; `advice` ends each sentence.
    """

    def __init__(
        self, suspects: frozenset[int], key: str = "remote_output_path", advice: str = ""
    ) -> None:
        self._suspects = suspects
        self._key, self._advice = key, advice
        self._owners: dict[str, int] = {}
        self._same: list[tuple[int, str, int]] = []
        self._same_untold = 0
        self._inside: list[tuple[int, str, str]] = []

    @property
    def has_suspects(self) -> bool:
        return bool(self._suspects)

    def add(self, number: int, path: str) -> None:
        """`number` says which run it is, as `place` of `tell` understands it."""
        key = _comparable(path)
        if hash(key) in self._suspects:
            if key in self._owners:
                self._add_same(number, path, self._owners[key])
            else:
                self._owners[key] = number
        for above in _folders_above(key):
            if hash(above) in self._suspects and len(self._inside) < _SUSPECTS:
                self._inside.append((number, path, above))

    def tell(self, problems: Problems, place: Callable[[int], str]) -> None:
        for number, path, owner in self._same:
            if not problems.can_show_more:
                problems.count += 1
                continue
            also = f"that of {place(owner)}"
            if owner == number:
                also = "that of another combination of its matrix"
            sentence = f"{_whole(path)} is also {also}{self._advice}"
            problems.add(f"{place(number)}.{self._key}", sentence)
        problems.count += self._same_untold
        for number, path, above in self._inside:
            if above in self._owners:
                owner = self._owners[above]
                sentence = f"{_whole(path)} lies inside that of {place(owner)}, {_whole(above)}"
                problems.add(f"{place(number)}.{self._key}", sentence + self._advice)

    def _add_same(self, number: int, path: str, owner: int) -> None:
        if len(self._same) < _SUSPECTS:
            self._same.append((number, path, owner))
        else:
            self._same_untold += 1


def _whole(path: str) -> str:
    return shown(path, at_most=1100)
