"""Folders <-> archives, for `--sync`. Both ways take a piece of a file at a time, whatever the sizes."""

from __future__ import annotations

from sc.archives.packing import Packed, pack
from sc.archives.trees import Order, Piece, Placed, hold, place
from sc.archives.unpacking import unpack

__all__ = ["Order", "Packed", "Piece", "Placed", "hold", "pack", "place", "unpack"]
