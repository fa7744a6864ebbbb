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
_OTHER_KINDS = {
    "--x-s3": "a directory bucket (S3 Express One Zone), which wants another way of signing and keeps no order of "
    "keys: use a general purpose bucket",
    "--xa-s3": "an access point of a directory bucket (S3 Express One Zone): use a general purpose bucket",
    "--ol-s3": "an Object Lambda access point, which takes no objects: use its bucket",
    "--op-s3": "an access point on Outposts, which sc does not sign for: use a bucket of a region",
    "--table-s3": "a table bucket, which holds no objects of ours: use a general purpose bucket",
    ".mrap": "a Multi-Region Access Point, which wants another way of signing: use one of its buckets",
}
"""docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html: endings that are kept for these."""
_ENDINGS = tuple(_OTHER_KINDS)


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


def escaped_key(name: str) -> str:
    """The key that stands for a name, or a path of names; nearly always the same text.

    Names of this machine may hold any bytes, and Python shows those that are no UTF-8 as lone surrogates (U+DC80 to
    U+DCFF). S3's keys are UTF-8, so the byte E9 is written `%xE9`; and a name that already holds `%xE9`, or `%xxE9`,
    gets one more `x`. So no two names have the same key, and `unescaped_key` finds the name again. `%E9` in a name,
    which is common in what was fetched from the web, stays as it is.

    A backslash, which some servers take for a slash, changes places with `%x5C`: what others have stored with a
    backslash in its key can be named, too.
    """
    is_plain = name.isascii() and "%x" not in name and "\\" not in name
    return name if is_plain else _IN_NAMES.sub(_in_key, name)


def unescaped_key(key: str) -> str:
    """The name for which a key stands: `escaped_key` of it is this key again, whoever has made it."""
    return _IN_KEYS.sub(_in_name, key) if "%x" in key or "\\" in key else key


_IN_NAMES = re.compile(r"%x+[89A-F][0-9A-F]|%x5C|[\\\ud800-\udfff]")
_IN_KEYS = re.compile(r"%x+[89A-F][0-9A-F]|%x5C|\\")
_SWAPPED = {"\\": "%x5C", "%x5C": "\\"}


def _in_key(found: re.Match[str]) -> str:
    text = found.group()
    if text in _SWAPPED:
        return _SWAPPED[text]
    if len(text) > 1:
        return "%x" + text[1:]
    code = ord(text)
    # No byte of a name, but a lone surrogate out of JSON, has more than one byte.
    is_byte = 0xDC80 <= code <= 0xDCFF
    data = bytes([code - 0xDC00]) if is_byte else text.encode("utf-8", "surrogatepass")
    return "".join(f"%x{byte:02X}" for byte in data)


def _in_name(found: re.Match[str]) -> str:
    text = found.group()
    if text in _SWAPPED:
        return _SWAPPED[text]
    return "%" + text[2:] if text[2] == "x" else chr(0xDC00 + int(text[2:], 16))


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
    _refuse_other_kinds(place, name)
    if not _BUCKET.fullmatch(name):
        raise InputError(
            f"'{name}' in the place '{place}' is no name of a bucket: "
            "it takes letters, digits, dots and hyphens, at least three of them."
        )
    segments = key.split("/")
    _refuse_dots(place, segments)
    if "." in segments:  # as in a folder; servers that are files below refuse such a key
        key = "/".join(segment for segment in segments if segment != ".")
    return Bucket(name, escaped_key(key.strip("/")))


def _refuse_other_kinds(place: str, name: str) -> None:
    if name.lower().startswith("arn:"):
        raise InputError(
            f"The place '{place}' begins with an ARN, which is no name of a bucket: write the bucket's name, or the "
            "alias of the access point, s3://NAME-…-s3alias/prefix (`aws s3control get-access-point` tells it)."
        )
    if name.lower().endswith(_ENDINGS):
        what = next(text for ending, text in _OTHER_KINDS.items() if name.lower().endswith(ending))
        raise InputError(f"'{name}' in the place '{place}' is {what}.")


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
