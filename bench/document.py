"""Results to Markdown: one section for the screen, all of them for `docs/benchmarks.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEAD = """# Measured

Made by `{words} --write docs/benchmarks.md`, which anybody can repeat: it needs Python, a C compiler,
GNU parallel and a package registry, and installs the pinned versions of the peers for itself. Ratios
count, not rates: contenders take turns, and each ratio is the median of those of each round, so that the
noise of a machine meets all alike. `noise` is how many cores the machine spent meanwhile on anything else.
A contender that did not keep every output is not measured, but told as failed.

- Machine: {machine}
- Date: {date}; {version}
"""


def section(measurement: Any, result: Mapping[str, Any]) -> str:
    """What was measured, the table, and what to know of each contender."""
    lines = [result["what"], "", measurement.text(result), ""]
    lines += [f"- {name}: {note}" for name, note in result["notes"].items()]
    machine = ", ".join(str(value) for value in result["machine"].values())
    lines.append(f"- machine: {machine}, {result['date']}; took {result['took_seconds']} s")
    return "\n".join(lines) + "\n"


def page(
    measurements: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], words: str
) -> str:
    """The whole document."""
    first = next(iter(results.values()))
    told = first["machine"]
    machine = (
        f"{told['processor']}, {told['cores']} cores, {told['memory_gib']} GiB, "
        f"Linux {told['kernel']}, Python {told['python']}"
    )
    version = next(filter(None, (one["notes"].get("sc") for one in results.values())), "")
    text = HEAD.format(words=words, machine=machine, date=first["date"], version=version)
    for name, result in results.items():
        text += f"\n## {_title(measurements[name])}\n"
        text += (
            f"{_sentence(result['what'])} (`bench/run.py {name}`, {result['took_seconds']} s).\n\n"
        )
        text += measurements[name].text(result) + "\n"
        notes = {name: note for name, note in result["notes"].items() if name != "sc"}
        if notes:
            text += "\n" + "\n".join(f"- {name}: {note}" for name, note in notes.items()) + "\n"
    return text


def _title(measurement: Any) -> str:
    return str(measurement.TITLE)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
