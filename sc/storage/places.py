"""What a place means: a folder of this machine, or a key in a bucket.

    s3://bucket/prefix      Bucket("bucket", "prefix")
    /folder, folder         Folder("/folder"), Folder("folder")
    file:///folder          Folder("/folder"); nothing in it is percent-decoded
    sfs://owner/path        what `$SC_SFS_ROOT/owner/path` means: a folder or a bucket

Pure: the environment is an argument, and nothing is looked at on a disk or a network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Union

from sc.errors import InputError

SFS_ROOT = "SC_SFS_ROOT"
"""The environment variable that says which folder or `s3://` place `sfs://` stands for."""

_SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://|(s3|sfs|file):)", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


class Folder(NamedTuple):
    """A folder or a file of this machine."""

    path: str


class Bucket(NamedTuple):
    """A key, or the beginning of keys, in a bucket."""

    name: str
    key: str
    """Without a slash at either end, escaped as `escaped_key` does; empty for the bucket itself."""


Location = Union[Folder, Bucket]


def resolve(place: str, environ: Mapping[str, str]) -> Location:
    """Where `place` is. Raises InputError, with the next step, for what is no place."""
    if not place:
        raise InputError("A place is empty: name a folder, s3://bucket/prefix or sfs://owner/path.")
    if "\0" in place:
        raise InputError(f"The place {place!r} contains a NUL byte, which no storage can keep.")
    match = _SCHEME.match(place)
    if match is None:
        return _folder(place, place)
    scheme = (match.group(1) or match.group(2)).lower()
    rest = place[match.end() :]
    if scheme not in ("s3", "file", "sfs"):
        raise InputError(
            f"The place '{place}' begins with {scheme}://, which sc cannot write to: "
            "use s3://, sfs://, file:/// or a folder."
        )
    if match.group(2):
        raise InputError(f"The place '{place}' lacks its slashes: write {scheme}://… instead.")
    if scheme == "s3":
        return _bucket(place, rest)
    if scheme == "file":
        return _file(place, rest)
    return _shared(place, rest, environ)


def child(place: str, relative: str) -> str:
    """The place of what lies at `relative` below `place`, in the form that `place` has."""
    return f"{place.rstrip('/')}/{relative}"


def escaped_key(text: str) -> str:
    """A key that S3 can keep: bytes that are no UTF-8 become %XX.

    Folder names of this machine may hold any bytes, and Python shows those that are no UTF-8 as
    lone surrogates (U+DC80 to U+DCFF). S3's keys are UTF-8, so such a byte is written as a percent
    sign and two digits. Whoever knows that can turn it back; a name that holds a real %FF looks
    the same, which we accept, because refusing the file would lose it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(map(_escaped, text))
    return text


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"%{code - 0xDC00:02X}"
    if 0xD800 <= code <= 0xDFFF:  # no byte of a name, but a lone surrogate out of JSON
        return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
    return character


def _folder(place: str, path: str) -> Folder:
    segments = path.split("/")
    while segments and segments[0] in ("..", "."):
        segments.pop(0)  # `../out` is how a person may point to a folder of theirs
    _refuse_dots(place, segments)
    return Folder(path)


def _file(place: str, rest: str) -> Folder:
    if not rest.startswith("/"):
        raise InputError(
            f"The place '{place}' names no absolute folder: write three slashes, file:///folder."
        )
    _refuse_dots(place, rest.split("/"))
    return Folder(rest)


def _bucket(place: str, rest: str) -> Bucket:
    name, _, key = rest.partition("/")
    if not name:
        raise InputError(f"The place '{place}' names no bucket: write s3://bucket/prefix.")
    if not _BUCKET.fullmatch(name):
        raise InputError(
            f"'{name}' in the place '{place}' is no name of a bucket: "
            "it takes letters, digits, dots and hyphens, at least three of them."
        )
    _refuse_dots(place, key.split("/"))
    return Bucket(name, escaped_key(key.strip("/")))


def _shared(place: str, rest: str, environ: Mapping[str, str]) -> Location:
    rest = rest.strip("/")
    if not rest:
        raise InputError(f"The place '{place}' names no owner: write sfs://owner/path.")
    _refuse_dots(place, rest.split("/"))
    root = environ.get(SFS_ROOT, "")
    if not root:
        raise InputError(
            f"The place '{place}' needs a root: set {SFS_ROOT} to the folder or the "
            "s3:// place that sfs:// stands for."
        )
    if root.lower().startswith("sfs:"):
        raise InputError(f"{SFS_ROOT} is '{root}', but must be a folder or an s3:// place.")
    if root.startswith(("~", "$")):
        raise InputError(
            f"{SFS_ROOT} is '{root}', which nothing fills in here: set it to the folder's own path."
        )
    return resolve(child(root, rest), environ)


def _refuse_dots(place: str, segments: list[str]) -> None:
    if ".." in segments:
        raise InputError(f"The place '{place}' contains '..': write the path without it.")
