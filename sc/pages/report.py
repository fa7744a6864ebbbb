"""The page of `sc report`: one file that needs nothing else. Pure: returns a text.

Its policy (CSP) allows one script, by its hash, and no request to anywhere, so that whatever a run has named or
printed can only ever be read.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

from sc.pages.compact import pack
from sc.pages.facts import Facts, Links, Row
from sc.pages.histogram import histogram, spread_of
from sc.pages.markup import data_block, href, text
from sc.pages.script import SCRIPT
from sc.pages.style import STYLE
from sc.pages.timeline import short, timeline
from sc.reports import duration

MOST_GROUPS = 40
NOT_STORED = -3
"""As in Row."""
_KINDS = (("completed", "ok"), ("failed", "bad"), ("not_stored", "bad"), ("incomplete", "open"))


def page(facts: Facts) -> str:
    """The whole document."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    packed = pack(facts.rows)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(facts.title)}</title><style>{STYLE}</style></head><body><main>",
        _header(facts),
        _tiles(facts),
        _timeline(facts),
        _errors(facts),
        _left_behind(facts),
        _times(facts),
        _slowest(facts),
        _search(facts, packed.rows),
        f"<footer>Made {text(facts.made)} by sc {text(facts.version)}.</footer></main>",
        data_block("about", {"links": facts.links._asdict()}),
        f'<script type="text/plain" id="runs">{packed.text}</script>',
        f"<script>{SCRIPT}</script></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _header(facts: Facts) -> str:
    jobs = ", ".join(facts.jobs)
    told = (
        f"<p>{'Job' if len(facts.jobs) == 1 else 'Jobs'} <code>{text(jobs)}</code></p>"
        if jobs
        else ""
    )
    place = f"<p>Outputs below <code>{text(facts.place)}</code></p>"
    return f"<header><h1>{text(facts.title)}</h1>{place}{told}</header>"


def _tiles(facts: Facts) -> str:
    counts, history = facts.counts, facts.history
    tiles = [(f"{facts.runs:,}", "runs", "")]
    tiles += [
        (
            f"{counts[word]:,}",
            word.replace("_", " "),
            kind if kind == "bad" and counts[word] else "",
        )
        for word, kind in _KINDS
        if counts[word] or word != "not_stored"
    ]
    if len(history):
        busy = sum(history.seconds(row) for row in range(len(history)))
        tiles.append((duration(max(history.ended) - min(history.started)), "first to last", ""))
        tiles.append((duration(busy), "of runs in all", ""))
        slots = sum(worker.slots for worker in facts.workers)
        machines = "machine" if len(facts.workers) == 1 else "machines"
        tiles.append((f"{len(facts.workers):,}", f"{machines}, {slots:,} slots", ""))
        there = sum(one.slots * (one.ended - one.started) for one in facts.workers)
        if there > 0:
            tiles.append((f"{min(1.0, busy / there):.0%}", "of slot time used", ""))
    if facts.dollars is not None:
        tiles.append((f"${facts.dollars:,.2f}", "machines, on demand", ""))
    shown = "".join(
        f'<div class="{kind}"><b>{text(value)}</b><span>{text(name)}</span></div>'
        for value, name, kind in tiles
    )
    return f'<section class="tiles" aria-label="Counts">{shown}</section>{_share(facts)}'


def _share(facts: Facts) -> str:
    told = "".join(
        f'<i class="{kind}" style="flex:{facts.counts[word]}" '
        f'title="{facts.counts[word]:,} {word.replace("_", " ")}"></i>'
        for word, kind in _KINDS
        if facts.counts[word]
    )
    return f'<div class="share" role="img" aria-label="Share of each status">{told}</div>'


def _timeline(facts: Facts) -> str:
    drawn = timeline(facts.history, facts.workers)
    if not drawn:
        return _section(
            "Machines and slots", "", '<p class="soft">No records of ended runs are kept here.</p>'
        )
    key = (
        '<p class="key"><span><i class="ok"></i>running</span><span><i class="bad"></i>failed</span>'
        '<span><i class="idle"></i>idle</span></p>'
    )
    return _section("Machines and slots", "over time", key + drawn)


def _errors(facts: Facts) -> str:
    if not facts.counts["failed"]:
        return ""
    rows = []
    for group in facts.groups[:MOST_GROUPS]:
        example = _inside(group.example, facts.place)
        rows.append(
            f'<tr><td class="num" data-label="runs"><span class="how-many">{group.count:,}</span></td>'
            f'<td data-label="error"><code>{text(group.text or "(printed nothing)")}</code></td>'
            f'<td data-label="example"><code>{text(example)}</code>{links(facts.links, example)}</td></tr>'
        )
    more = len(facts.groups) - MOST_GROUPS
    told = f'<p class="soft">… and {more:,} kinds more</p>' if more > 0 else ""
    kinds = f"{len(facts.groups):,} {'kind' if len(facts.groups) == 1 else 'kinds'}, numbers and paths folded"
    return _section("Errors", kinds, _table(("runs", "error", "an example"), rows) + told)


def _left_behind(facts: Facts) -> str:
    if not facts.remarks:
        return ""
    rows = []
    for path, remark in facts.remarks[:MOST_GROUPS]:
        inside = _inside(path, facts.place)
        rows.append(
            f'<tr><td data-label="path"><code>{text(inside)}</code>{links(facts.links, inside)}</td>'
            f'<td data-label="what">{text(remark)}</td></tr>'
        )
    more = len(facts.remarks) - MOST_GROUPS
    told = f'<p class="soft">… and {more:,} runs more</p>' if more > 0 else ""
    return _section(
        "Ended, not stored, or of another command", "", _table(("path", "what"), rows) + told
    )


def _times(facts: Facts) -> str:
    if not len(facts.history):
        return ""
    key = (
        '<p class="key"><span><i class="ok"></i>completed</span>'
        '<span><i class="bad"></i>failed</span></p>'
    )
    return _section("How long runs took", "", histogram(spread_of(facts.history)) + key)


def _slowest(facts: Facts) -> str:
    if not facts.slowest:
        return ""
    rows = [_row(row, facts) for row in facts.slowest]
    heads = ("run", "time", "status", "machine", "path", "command")
    return _section("The slowest runs", "", _table(heads, rows))


def _row(row: Row, facts: Facts) -> str:
    kind = "ok" if row.code == 0 else "open" if row.code == -1 else "bad"
    word = {0: "completed", -1: "incomplete", NOT_STORED: "not stored"}.get(
        row.code, f"exit {row.code}"
    )
    machine = facts.workers[row.worker].id if 0 <= row.worker < len(facts.workers) else "-"
    return (
        f'<tr><td class="num" data-label="run">{row.number}</td>'
        f'<td class="num" data-label="time">{text(duration(row.seconds))}</td>'
        f'<td data-label="status"><span class="tag {kind}">{word}</span></td>'
        f'<td data-label="machine"><span class="name" title="{text(machine)}">{text(short(machine))}</span></td>'
        f'<td data-label="path"><code>{text(row.path)}</code>{links(facts.links, row.path)}</td>'
        f'<td data-label="command"><code>{text(row.cmd[:200])}</code></td></tr>'
    )


def links(how: Links, path: str) -> str:
    """To what a run has left, if it lies below the batch's place."""
    if how.kind == "none" or path.startswith("/") or "://" in path:
        return ""
    if how.kind == "console":
        return f' <span><a href="{text(how.base)}{text(href(path))}/">open</a></span>'
    names = ("stdout", "stderr", "results")
    made = (f'<a href="{text(how.base)}{text(href(path))}/{name}">{name}</a>' for name in names)
    return f" <span>{' '.join(made)}</span>"


def _search(facts: Facts, kept: int) -> str:
    some = (
        f"{facts.runs:,} in the batch"
        if kept == facts.runs
        else (
            f"{kept:,} of {facts.runs:,} are in this page: all that failed, and as many others as fit"
        )
    )
    options = "".join(
        f'<option value="{word}">{name}</option>'
        for word, name in (
            ("", "any status"),
            ("failed", "failed"),
            ("not_stored", "not stored"),
            ("completed", "completed"),
            ("incomplete", "incomplete"),
        )
    )
    heads = "".join(
        f"<th{_numeric(word)}>{word}</th>" for word in ("run", "status", "time", "path", "command")
    )
    content = (
        '<div class="controls"><input id="find" type="search" placeholder="words of a path or a command" '
        f'aria-label="Search"><select id="status" aria-label="Status">{options}</select>'
        '<span class="soft" id="told"></span></div>'
        f'<table><thead><tr>{heads}</tr></thead><tbody id="found"></tbody></table>'
    )
    return (
        f'<section id="search" hidden><h2>Runs <small>{text(some)}</small></h2>{content}</section>'
    )


def _section(title: str, remark: str, content: str) -> str:
    small = f" <small>{text(remark)}</small>" if remark else ""
    return f"<section><h2>{text(title)}{small}</h2>{content}</section>"


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    shown = "".join(f"<th{_numeric(head)}>{text(head)}</th>" for head in heads)
    return f"<table><thead><tr>{shown}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _numeric(head: str) -> str:
    return ' class="num"' if head in ("run", "runs", "time") else ""


def _inside(path: str, place: str) -> str:
    prefix = place.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else path
