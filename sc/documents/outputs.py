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
from itertools import islice

from sc.documents.problems import Problems, Wrong, shown
from sc.documents.scalars import filled_text
from sc.paths import JOBS

_SEGMENT = r"[A-Za-z0-9_=@%+,-][A-Za-z0-9_=@%+,. -]*"
_PLAIN_ABSOLUTE = re.compile(rf"(?:s3:/|sfs:/|file://)?(?:/{_SEGMENT})+")
_PLAIN_RELATIVE = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_LONGEST_PLAIN = 200
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(s3|sfs|file):", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST_KEY = 960
"""Bytes. S3 takes keys of 1,024, and `attempts/<n>/stdout` and the like come below."""
_LONGEST_SEGMENT = 255
_RECENT = 50_000
_SUSPECTS = 10_000


def absolute(value: object, folder: str) -> str:
    """The batch's own output path; a relative one is a folder below `folder`."""
    place = filled_text(value)
    if _SCHEME.match(place) or place.startswith("/"):
        return _normal(place)
    # Here `..` is a person's way to point to a folder of theirs, and it is resolved at once.
    return _normal(os.path.normpath(os.path.join(folder, os.path.expanduser(place))))


def below(value: object, batch_path: str) -> str:
    """The output path of a run; a relative one lies below the batch's."""
    if isinstance(value, str) and len(value) < _LONGEST_PLAIN:
        # Nearly all of a million are of this kind, and nothing is to be done to them.
        if _PLAIN_ABSOLUTE.fullmatch(value):
            return str(value)
        if _PLAIN_RELATIVE.fullmatch(value) and len(batch_path) < _LONGEST_PLAIN:
            return f"{batch_path}/{value}"
    place = filled_text(value)
    if not _SCHEME.match(place) and not place.startswith("/"):
        place = f"{batch_path}/{place}"
    place = _normal(place)
    if _comparable(f"{place}/").startswith(f"{_comparable(batch_path)}/{JOBS}/"):
        raise Wrong(f"{shown(place)} lies in {JOBS}, which sc keeps for itself")
    return place


def _normal(place: str) -> str:
    """One slash between segments, none at the end, and nothing that a storage cannot keep."""
    if _CONTROL.search(place):
        raise Wrong(f"{shown(place)} contains a control character")
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
    """The second look: which of the suspected paths are really in each other's way."""

    def __init__(self, suspects: frozenset[int]) -> None:
        self._suspects = suspects
        self._owners: dict[str, int] = {}
        self._same: list[tuple[int, str, int]] = []
        self._same_untold = 0
        self._inside: list[tuple[int, str, str]] = []

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
            problems.add(f"{place(number)}.remote_output_path", f"{_whole(path)} is also {also}")
        problems.count += self._same_untold
        for number, path, above in self._inside:
            if above in self._owners:
                owner = self._owners[above]
                problems.add(
                    f"{place(number)}.remote_output_path",
                    f"{_whole(path)} lies inside that of {place(owner)}, {_whole(above)}",
                )

    def _add_same(self, number: int, path: str, owner: int) -> None:
        if len(self._same) < _SUSPECTS:
            self._same.append((number, path, owner))
        else:
            self._same_untold += 1


def _whole(path: str) -> str:
    return shown(path, at_most=1100)
