"""Contenders one after the other, several rounds, so that the noise of the machine meets all alike."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from contenders import Contender, Room, Task
from equipment import Missing
from stopwatch import Failed, Sample, adopt_orphans

Talk = Callable[[str], None]


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def chosen(contenders: Sequence[Contender], words: Sequence[str]) -> list[Contender]:
    """Those whose name has one of the words; all if there are no words."""
    return [c for c in contenders if not words or any(word in c.name.lower() for word in words)]


def prepare(contenders: Sequence[Contender], talk: Talk) -> tuple[list[Contender], dict[str, str]]:
    """Those that can be measured here, and what to know of each: its version, or why it is left out."""
    ready, notes = [], {}
    for contender in contenders:
        try:
            notes[contender.name] = contender.prepare()
            ready.append(contender)
        except Missing as why:
            notes[contender.name] = f"left out: {why}"
            talk(f"{contender.name} is left out: {why}")
    return ready, notes


def run(
    contenders: Sequence[Contender], task: Task, rounds: int, folder: Path, talk: Talk
) -> tuple[dict[str, list[Sample]], dict[str, str]]:
    """The samples of each contender, and the failures. Each round begins with another contender.

    One that fails once is told and takes no further part, so that samples stay pairs of one round.
    """
    adopt_orphans()
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    failed: dict[str, str] = {}
    for turn in range(rounds):
        at = turn % max(1, len(contenders))
        for contender in [*contenders[at:], *contenders[:at]]:
            if contender.name in failed:
                continue
            try:
                sample = _once(contender, task, folder)
            except Failed as why:
                failed[contender.name] = str(why)
                samples[contender.name] = []
                talk(f"{contender.name} failed: {why}")
                continue
            samples[contender.name].append(sample)
            rate = task.count / sample.wall_seconds
            talk(
                f"round {turn + 1}/{rounds}  {contender.name:16} {rate:8.1f}/s"
                f"  cpu {sample.cpu_seconds:6.2f} s  others {sample.others:.2f} cores"
            )
    return samples, failed


def _once(contender: Contender, task: Task, folder: Path) -> Sample:
    room = Room(folder / "room")
    shutil.rmtree(room.folder, ignore_errors=True)
    room.make()
    try:
        sample = contender.measure(task, room)
        contender.check(task, room)
        return sample
    finally:
        shutil.rmtree(room.folder, ignore_errors=True)
