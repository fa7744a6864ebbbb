"""All runs in few bytes, for the search of the page: rows of JSON, gzip, base64. Pure.

A browser unpacks it by itself (DecompressionStream); `script.py` has the other end of the wire.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Optional

from sc.pages.facts import Row

BUDGET_BYTES = 3_000_000
"""Before base64 makes four of three: the whole page is to stay below 5 MB."""
_LONGEST = 500
"""Characters of a path or a command."""
_LOOK_ROWS = 200
_GZIP = 31
"""zlib's word for gzip's format with the largest window."""


class Packed(NamedTuple):
    """What the page carries."""

    text: str
    """Base64; without a line's end."""
    rows: int


def pack(rows: Callable[[], Iterator[Row]], budget: int = BUDGET_BYTES) -> Packed:
    """All runs; if they do not fit in so many bytes, the failed ones first, and then as many as fit."""
    packed = _packed(rows(), budget, may_be_cut=False)
    if packed is None:
        failed = (row for row in rows() if row.code > 0 or row.code < -1)
        others = (row for row in rows() if row.code in (0, -1))
        packed = _packed(_both(failed, others), budget, may_be_cut=True)
    assert packed is not None
    return packed


def _both(first: Iterable[Row], second: Iterable[Row]) -> Iterator[Row]:
    yield from first
    yield from second


def _packed(rows: Iterator[Row], budget: int, may_be_cut: bool) -> Optional[Packed]:
    gzip = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    data, count = bytearray(), 0
    for row in rows:
        if count % _LOOK_ROWS == 0:
            data += gzip.flush(zlib.Z_SYNC_FLUSH) if count else b""
            if len(data) > budget:
                if not may_be_cut:
                    return None
                break
        data += gzip.compress((",\n" if count else "").encode() + _line(row))
        count += 1
    data += gzip.flush()
    return Packed(base64.b64encode(data).decode(), count)


def _line(row: Row) -> bytes:
    seconds = round(row.seconds, 1) if row.seconds < 100 else int(row.seconds)
    columns = [row.number, row.path[:_LONGEST], row.cmd[:_LONGEST], row.code, seconds]
    return json.dumps(columns, ensure_ascii=True, separators=(",", ":")).encode()
