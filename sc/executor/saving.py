"""Decides what is stored next, and when a store that failed is tried again. Pure: it is given the time.

What belongs to one output path is stored one after the other, in the order in which it came: an old `stdout` never
replaces a newer one, and `status_code` comes after everything else.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from sc.executor.messages import GROWING, Save, Saved

MOST_REFUSED = 100
"""So many were refused for good, one after the other, and nothing was stored between them: then it is not their names,
and what else runs would run for nothing."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0


@dataclass
class Effort:
    """The attempts to store one thing."""

    save: Save
    tries: int = 0
    first_failed: float = math.inf
    """The loop's clock; never, while it has not failed."""
    error: str = ""


class SaveQueue:
    """All that is to be stored: ready, under way, or waiting for its next try."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self.is_cut_off = False
        """Something was given up, and nothing at all could be stored while it was tried: the storage is gone."""
        self._jitter = jitter
        self._last_stored = -math.inf
        self._refused: list[Effort] = []
        """For good: they are about to be given up."""
        self._refused_in_a_row = 0
        self._by_path: dict[str, deque[Effort]] = {}
        """The first of each is the one that is ready, under way or paused."""
        self._ready: deque[Effort] = deque()
        self._under_way: dict[int, Effort] = {}
        self._paused: list[tuple[float, int, Effort]] = []

    def __len__(self) -> int:
        return sum(map(len, self._by_path.values()))

    def add(self, save: Save) -> None:
        effort = Effort(save)
        line = self._by_path.setdefault(save.remote_output_path, deque())
        line.append(effort)
        if len(line) == 1:
            self._ready.append(effort)

    def has(self, remote_output_path: str) -> bool:
        return remote_output_path in self._by_path

    def origins(self) -> set[int]:
        """Of all that is here."""
        return {effort.save.origin for line in self._by_path.values() for effort in line}

    def next(self, now: float) -> Optional[Save]:
        """What a saver should store now."""
        while self._paused and self._paused[0][0] <= now:
            self._ready.append(heapq.heappop(self._paused)[2])
        if not self._ready:
            return None
        effort = self._ready.popleft()
        effort.tries += 1
        self._under_way[effort.save.number] = effort
        return effort.save

    def answered(self, saved: Saved, now: float) -> Optional[Save]:
        """A saver has tried. Returns what is stored now; None if it has to be tried again."""
        effort = self._under_way.pop(saved.number, None)
        if effort is None:
            return None  # it was abandoned meanwhile
        if saved.error and effort.save.kind != GROWING:
            effort.error = saved.error
            effort.first_failed = min(effort.first_failed, now)
            if saved.is_final:
                self._refused.append(effort)
                self._refused_in_a_row += 1
                return None
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(effort.tries - 1, 16))
            due = now + pause * (0.5 + self._jitter())
            heapq.heappush(self._paused, (due, effort.save.number, effort))
            return None
        self._leave_line(effort)
        if saved.error:
            return None
        self._last_stored = now
        self._refused_in_a_row = 0
        return effort.save

    def has_failed(self) -> bool:
        """Whether there is anything that `give_up` might take out."""
        return bool(self._paused or self._refused)

    def next_time(self) -> Optional[float]:
        return self._paused[0][0] if self._paused else None

    def trouble(self) -> str:
        """The last error of what is being tried again; empty if there is none."""
        efforts = [effort for _, _, effort in self._paused] + list(self._under_way.values())
        return next((effort.error for effort in efforts if effort.error), "")

    def give_up(self, now: float, patience_seconds: float) -> list[Effort]:
        """Take out what was refused for good, or has failed for longer than this, and what stands behind it; once cut
        off, whatever fails."""
        patience_seconds = 0.0 if self.is_cut_off else patience_seconds
        paused = [effort for _, _, effort in self._paused]
        hopeless = [one for one in paused if now - one.first_failed >= patience_seconds]
        self.is_cut_off |= any(one.first_failed > self._last_stored for one in hopeless)
        self.is_cut_off |= self._refused_in_a_row >= MOST_REFUSED
        refused, self._refused = self._refused, []
        return [one for effort in (*refused, *hopeless) for one in self._take_line(effort)]

    def abandon(self) -> list[Effort]:
        """Take out everything, tried or not."""
        efforts = [effort for line in self._by_path.values() for effort in line]
        self._by_path.clear()
        self._ready.clear()
        self._under_way.clear()
        self._paused.clear()
        self._refused.clear()
        return efforts

    def revoke(self, origins: frozenset[int]) -> list[Save]:
        """Take out what is of these origins. No saver may have any of it."""
        taken = []
        for path, line in list(self._by_path.items()):
            staying = deque(one for one in line if one.save.origin not in origins)
            if len(staying) == len(line):
                continue
            taken += [one.save for one in line if one.save.origin in origins]
            if not staying:
                del self._by_path[path]
                continue
            self._by_path[path] = staying
            if staying[0] is not line[0]:
                self._ready.append(staying[0])
        self._ready = deque(one for one in self._ready if one.save.origin not in origins)
        self._paused = [item for item in self._paused if item[2].save.origin not in origins]
        heapq.heapify(self._paused)
        self._refused = [one for one in self._refused if one.save.origin not in origins]
        return taken

    def _leave_line(self, effort: Effort) -> None:
        line = self._by_path[effort.save.remote_output_path]
        line.popleft()
        if line:
            self._ready.append(line[0])
        else:
            del self._by_path[effort.save.remote_output_path]

    def _take_line(self, effort: Effort) -> list[Effort]:
        self._paused = [item for item in self._paused if item[2] is not effort]
        heapq.heapify(self._paused)
        return list(self._by_path.pop(effort.save.remote_output_path))
