"""`sc report`: one page that tells all of a batch."""

from __future__ import annotations

import argparse
import heapq
import os
import time
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Optional

from sc import __version__, paths
from sc.codes import CHANGED, NONE, NOT_STORED
from sc.commands import at_hand
from sc.commands.voice import result, tell
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.grouping import Group
    from sc.history import History, Worker
    from sc.model import Batch
    from sc.pages.facts import Facts, Links, Row
    from sc.storage import Storage
    from sc.widths import Width

EXAMPLES = """
Examples:
  sc report batch.yaml -o report.html                 one page, to be opened in any browser
  sc report batch.yaml -o report.html --job backfill  the records of one job of the batch only
  sc report s3://bucket/out/.sc/backfill -o report.html --title 'Backfill of 2024'

Counts, machines and slots over time, errors of a kind together, how long runs took, the slowest, and a
search over all of them, in one file that needs no network. BATCH is a batch file, a commands folder of
split, or a job's URL. Exit code: 0, whatever became of the runs; 2 bad input, 3 the storage said no.
"""
SLOWEST = 12
_MOST_UNKNOWN = 2000
"""Failures without a record whose stderr is read."""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc report`."""
    parser = subparsers.add_parser("report", description=EXAMPLES)
    parser.add_argument("batch", metavar="BATCH", help=at_hand.HELP)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the page to write")
    parser.add_argument("--job", metavar="NAME", help="only the records of this job of the batch")
    parser.add_argument(
        "--title", metavar="TEXT", help="of the page; by default the job's or the batch's name"
    )
    parser.add_argument(
        "--remote-output-path", metavar="PLACE", help="instead of the one that the batch names"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="an object: output, bytes, runs, completed, failed, not_stored, incomplete, records, kinds_of_errors",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Read all that is known, and write the page."""
    from sc.pages.report import page
    from sc.reports import json_line, runs
    from sc.storage import open_storage

    output = os.path.abspath(args.output)
    if not os.path.isdir(os.path.dirname(output)) or os.path.isdir(output):
        raise InputError(f"--output {args.output}: name a file in a folder that is there")
    storage = open_storage()
    meant = at_hand.read_at_hand(args.batch, storage, args.remote_output_path, args.job)
    facts = _facts(args, meant, storage, os.path.dirname(output))
    data = page(facts).encode("utf-8", "replace")
    _write(output, data, meant.batch.width)  # which has its commands
    tell(f"{runs(facts.runs)} told in {args.output} ({len(data) / 1e6:.1f} MB)")
    if args.json:
        document = {"output": output, "bytes": len(data), "runs": facts.runs, **facts.counts}
        document.update(records=len(facts.history), kinds_of_errors=len(facts.groups))
        result(json_line(document))
    return ExitCode.OK


def _facts(args: argparse.Namespace, meant: at_hand.AtHand, storage: Storage, folder: str) -> Facts:
    from sc.history import read_history, read_workers
    from sc.pages.facts import Facts

    batch = meant.batch
    urls = at_hand.job_urls(meant, storage)
    history = read_history(storage, urls, meant.given)
    workers = read_workers(storage, urls, history)
    codes = _codes(storage, batch)
    remarks = _remarks(batch, codes, history)

    def rows() -> Iterator[Row]:
        return _rows(batch, codes, history)

    return Facts(
        title=args.title or _title(args.batch, urls),
        place=batch.remote_output_path,
        jobs=[url.rpartition("/")[2] for url in urls],
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        version=__version__,
        counts=_counts(codes),
        history=history,
        workers=workers,
        groups=_groups(storage, batch, codes, history),
        rows=rows,
        slowest=heapq.nlargest(
            SLOWEST, (row for row in rows() if row.seconds >= 0), lambda row: row.seconds
        ),
        links=_links(storage, batch.remote_output_path, folder),
        dollars=_dollars(workers),
        remarks=remarks,
    )


def _codes(storage: Storage, batch: Batch) -> array[int]:
    """0 to 255, or NONE."""
    from sc.codes import read_codes

    found = read_codes(storage, batch.remote_output_path, batch.runs)
    known = (found.code(one.remote_output_path) for one in batch.runs)
    return array("h", (NONE if code is None else code for code in known))


def _counts(codes: array[int]) -> dict[str, int]:
    """How many have each status; told, if what is there is of another command."""
    from sc.reports import another_command

    counts = {"completed": codes.count(0), "failed": 0, "not_stored": codes.count(NOT_STORED)}
    counts["incomplete"] = codes.count(NONE) + codes.count(CHANGED)
    counts["failed"] = len(codes) - sum(counts.values())
    if codes.count(CHANGED):
        tell(f"{another_command(codes.count(CHANGED))}: told as incomplete")
    return counts


def _remarks(batch: Batch, codes: array[int], history: History) -> Sequence[tuple[str, str]]:
    """What is to be told of runs beside their codes, at most MOST_REMARKS, as far as it is of what is stored now; notes
    in `codes` which were not stored, and which have the outputs of another command."""
    from sc.history import MOST_REMARKS
    from sc.standing import changed_remark

    found: list[tuple[str, str]] = []
    for number, one in enumerate(batch.runs if len(history) else ()):
        row = history.last(one.remote_output_path)
        if row is None or history.codes[row] != codes[number]:
            continue
        remark = history.remarks.get(row, "")
        if not history.is_of(row, one):
            remark = ""
            if codes[number] != NONE:
                codes[number], remark = CHANGED, changed_remark(codes[number])
        elif codes[number] == NONE and history.not_stored[row]:
            codes[number] = NOT_STORED
        if remark and len(found) < MOST_REMARKS:
            found.append((one.remote_output_path, remark))
    return found


def _title(word: str, urls: Sequence[str]) -> str:
    if len(urls) == 1:
        return urls[0].rpartition("/")[2]
    return os.path.splitext(os.path.basename(word.rstrip("/")))[0] if word != "-" else "batch"


def _rows(batch: Batch, codes: array[int], history: History) -> Iterator[Row]:
    from sc.model import command_text
    from sc.pages.facts import Row

    prefix = paths.join(batch.remote_output_path, "")
    for number, (one, code) in enumerate(zip(batch.runs, codes)):
        path = one.remote_output_path
        row = None if code == CHANGED else history.last(path)
        inside = path[len(prefix) :] if path.startswith(prefix) else path
        seconds = -1.0 if row is None else history.seconds(row)
        worker = -1 if row is None else history.workers[row]
        shown = NONE if code == CHANGED else code
        yield Row(number, inside, command_text(one.cmd), shown, seconds, worker)


def _groups(storage: Storage, batch: Batch, codes: array[int], history: History) -> Sequence[Group]:
    """Failures by kind: as their records have it, or, where there are none, as their stderr has it."""
    from sc.commands.failed_logs import read_kinds
    from sc.history import groups_of

    failed = [
        (one.remote_output_path, history.last(one.remote_output_path), code)
        for one, code in zip(batch.runs, codes)
        if code > 0
    ]
    groups = groups_of(history, ((path, row) for path, row, _ in failed))
    unknown = ((path, code) for path, row, code in failed if row is None)
    for kind in read_kinds(storage, islice(unknown, _MOST_UNKNOWN)):
        groups.add(kind.text or f"exit code {kind.code}", kind.example, kind.runs)
    return groups.sorted()


def _links(storage: Storage, place: str, folder: str) -> Links:
    from sc.pages.facts import Links
    from sc.pages.markup import href

    path = storage.local_path(place)
    if path is not None:
        return Links("folder", href(os.path.relpath(path, folder)) + "/")
    endpoints = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
    if not place.startswith("s3://") or any(os.environ.get(name) for name in endpoints):
        return Links("none", "")
    bucket, _, key = place[len("s3://") :].partition("/")
    prefix = href(key.strip("/")) + "/" if key.strip("/") else ""
    return Links(
        "console", f"https://s3.console.aws.amazon.com/s3/buckets/{href(bucket)}?prefix={prefix}"
    )


def _dollars(workers: Sequence[Worker]) -> Optional[float]:
    """The hours of the machines of EC2 at the prices of now, as far as these may be asked for."""
    paid = [one for one in workers if "." in one.kind]
    if not paid:
        return None
    from sc.fleets.ec2_aws import Boto3
    from sc.fleets.ec2_prices import Prices

    prices = Prices(Boto3(), time.time)
    costs = []
    for one in paid:
        hourly = prices.hourly(one.kind)
        if hourly is None:
            return None
        costs.append(hourly * max(60.0, one.ended - one.started) / 3600)
    return sum(costs)


def _write(path: str, data: bytes, width: Width) -> None:
    """The page appears at once, whole; nobody beyond `width` may read it."""
    from sc.storage.atomic_files import draft, write_all
    from sc.storage.local_errors import told

    with told(path, "written"), draft(path, width) as new:
        write_all(new.fd, data)
        new.publish(path)
