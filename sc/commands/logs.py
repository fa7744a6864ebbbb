"""`sc logs`: what a run, a machine, or all failed runs have printed."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from sc import paths
from sc.commands import at_hand
from sc.commands.arguments import at_least
from sc.commands.voice import result, tell
from sc.errors import ExitCode, InputError, MissingError

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.model import Given, Run
    from sc.standing import Judged
    from sc.storage import Storage

EXAMPLES = """
Examples:
  sc logs batch.yaml 0                 what run 0 of a batch has printed (the first one is 0)
  sc logs batch.yaml first --stderr    a run by the end of its output path; its stderr
  sc logs batch.yaml 0 -f              follow it until it ends
  sc logs out/first                    a run by its output path alone
  sc logs batch.yaml --failed          the last lines of all failed runs, those that are alike together
  sc logs s3://bucket/out/.sc/backfill --worker i-0123456789abcdef0

BATCH is a batch file, a commands folder of split, or a job's URL; RUN a number, an output path, or
the end of one (/17 is never a number). -f ends with the run, or when nobody executes it any more.
Exit code: 0; with -f 1 if the run has failed, 3 if it has not ended and will not, or if the worker
has failed or is lost; 2 if there is no such run; 3 if the storage said no.
"""
_CHUNK = 1 << 20
_IN_MEMORY = 8 << 20
"""A larger output goes through a file of the temp folder."""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc logs`."""
    parser = subparsers.add_parser("logs", description=EXAMPLES)
    parser.add_argument("words", metavar="[BATCH] RUN", nargs="+", help="see above")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended")
    parser.add_argument("--stderr", action="store_true", help="its stderr, instead of its stdout")
    parser.add_argument(
        "--attempt", metavar="N", type=at_least(1), help="an earlier attempt of a run with retries"
    )
    parser.add_argument("--worker", metavar="ID", help="the log of one of the job's workers")
    parser.add_argument("--failed", action="store_true", help="the last lines of each failed run")
    parser.add_argument(
        "--json",
        action="store_true",
        help="an object: remote_output_path, stream, attempt, status_code, text; of --worker: worker, "
        "text; of --failed: failed, read, groups; with -f one for each new piece, then one for the end",
    )
    return parser


class Meant(NamedTuple):
    """A run, as far as it is known."""

    path: str
    run: Optional[Run] = None
    """None where no more than its output path is known."""
    given: Optional[Given] = None

    def judged(self, storage: Storage, code: Optional[int]) -> Judged:
        """What the records tell of it beside its code."""
        from sc.model import Run
        from sc.standing import read_judged

        if self.run is None:
            return read_judged(storage, Run("", self.path), code, is_known=False)
        return read_judged(storage, self.run, code, self.given)


class Asked(NamedTuple):
    """One run's output."""

    remote_output_path: str
    stream: str
    attempt: Optional[int]

    @property
    def place(self) -> str:
        """Of the last attempt."""
        return paths.join(self.remote_output_path, self.stream)


def run(args: argparse.Namespace) -> int:
    """Find out what is meant, and show it."""
    from sc.storage import open_storage

    _check(args)
    storage = open_storage()
    if args.failed:
        from sc.commands.failed_logs import show_failed

        return show_failed(at_hand.read_at_hand(args.words[0], storage), storage, args.json)
    if args.worker is not None:
        return _show_worker(args, storage)
    stream = paths.STDERR if args.stderr else paths.STDOUT
    meant, place = _run_meant(args.words, storage)
    if args.follow:
        from sc.commands.log_following import follow_run

        return follow_run(storage, meant, stream, args.json, place)
    return _show_run(storage, meant, Asked(meant.path, stream, args.attempt), args.json)


def _check(args: argparse.Namespace) -> None:
    """Raises InputError for words that make no sense together."""
    wants = [name for name in ("failed", "worker") if getattr(args, name)]
    if len(wants) > 1:
        raise InputError("logs: --failed and --worker are two questions; ask one")
    if wants and len(args.words) > 1:
        raise InputError(
            f"logs: --{wants[0]} takes a BATCH and no RUN; {args.words[1]!r} is too much"
        )
    if wants and (args.stderr or args.attempt or (args.follow and args.failed)):
        raise InputError(f"logs: --{wants[0]} goes with none of the options of a single run")
    if args.follow and args.attempt:
        raise InputError("logs: an earlier attempt has ended; -f and --attempt do not go together")
    if len(args.words) > 2:
        raise InputError("logs: one RUN at a time; 'sc pull' fetches the outputs of many")


def _run_meant(words: list[str], storage: Storage) -> tuple[Meant, str]:
    """The run, and the place of its batch; the latter is empty if it is not known."""
    from sc.commands.jobs import absolute
    from sc.finding import find_runs

    if len(words) == 2:
        known = at_hand.read_at_hand(words[0], storage)
        run = find_runs(known.batch.runs, len(known.batch.runs), words[1:])[0].run
        return Meant(run.remote_output_path, run, known.given), known.batch.remote_output_path
    if words[0].isdigit():
        raise InputError(f"logs: of which batch is {words[0]}? 'sc logs BATCH {words[0]}' tells it")
    if os.path.isfile(words[0]):
        raise InputError(
            f"logs: which run of {words[0]}? 'sc logs {words[0]} RUN' takes its number or "
            "path; --failed shows those that failed"
        )
    path = absolute(words[0])
    names = (paths.STDOUT, paths.STDERR, paths.STATUS_CODE)
    if all(storage.stat(paths.join(path, name)) is None for name in names):
        raise InputError(
            f"there is no run at {path}: it has no stdout, stderr or status_code; "
            "name a run's output path, or a BATCH and a RUN"
        )
    return Meant(path), ""


def _show_run(storage: Storage, meant: Meant, asked: Asked, as_json: bool) -> int:
    from sc.codes import CHANGED, read_code

    ended = read_code(storage, meant.path)
    code = ended.known if ended is not None else None
    place = asked.place if asked.attempt is None else _place_of_attempt(storage, asked)
    entry = storage.stat(place)
    judged = meant.judged(storage, code)
    is_changed = judged.code == CHANGED
    remark = judged.remark if asked.attempt is None or is_changed else ""
    if as_json:
        from sc.reports import json_line

        data = b"" if entry is None else storage.get(place)
        document = {**asked._asdict(), "status_code": code, "text": data.decode("utf-8", "replace")}
        result(json_line({**document, **({"reason": remark} if remark else {})}))
        return ExitCode.OK
    if is_changed:
        tell(f"{meant.path}: {remark}")  # first: what follows is no answer to what was asked
    if entry is not None:
        _copy_out(storage, place, entry.size)
    elif code is None:
        tell(f"{meant.path} has not printed anything yet")
    if remark and not is_changed:
        tell(f"{meant.path}: {remark}")
    return ExitCode.OK


def _place_of_attempt(storage: Storage, asked: Asked) -> str:
    """Earlier attempts lie below `attempts/`, the last one where a run without retries has its output."""
    kept = paths.join(asked.remote_output_path, paths.ATTEMPTS)
    names = storage.list_folders(kept)
    numbers = sorted(int(name) for name in names if name.isascii() and name.isdigit())
    last = numbers[-1] + 1 if numbers else 1
    if asked.attempt in numbers:
        return paths.join(kept, str(asked.attempt), asked.stream)
    if asked.attempt == last:
        return asked.place
    tried = "was tried once" if last == 1 else f"was tried {last} times"
    raise InputError(
        f"there is no attempt {asked.attempt} of {asked.remote_output_path}: it {tried}"
    )


def _copy_out(storage: Storage, place: str, size: int) -> None:
    """An output of any size."""
    path = storage.local_path(place)
    if path is None and size <= _IN_MEMORY:
        _put_out([storage.get(place)])
        return
    with tempfile.TemporaryDirectory(prefix="sc-") as folder:
        if path is None:
            path = os.path.join(folder, "output")
            storage.get_file(place, path)
        with open(path, "rb") as file:
            _put_out(iter(lambda: file.read(_CHUNK), b""))


def _put_out(pieces: Iterable[bytes]) -> None:
    from sc.commands.output import output

    with output() as put:
        for piece in pieces:
            put(piece)


def _show_worker(args: argparse.Namespace, storage: Storage) -> int:
    meant = at_hand.read_at_hand(args.words[0], storage)
    found = _logs_of(storage, at_hand.job_urls(meant, storage), args.worker)
    if args.follow:
        from sc.commands.log_following import follow_worker

        return follow_worker(storage, *found, args.json)
    url, worker = found
    try:
        data = storage.get(paths.log(url, worker))
    except MissingError:
        data = b""
        tell(f"{worker} has no log yet")
    if args.json:
        from sc.reports import json_line

        result(json_line({"worker": worker, "text": data.decode("utf-8", "replace")}))
    else:
        _put_out([data])
    return ExitCode.OK


def _logs_of(storage: Storage, urls: list[str], word: str) -> tuple[str, str]:
    """The job and the whole id of a worker, of whose id `word` is a part. Raises InputError."""
    known: dict[tuple[str, str], None] = {}
    for url in urls:
        for folder, ending in (("workers", ".json"), ("logs", "")):
            for entry in storage.list(paths.join(url, folder)):
                name = entry.place.rpartition("/")[2]
                known[url, name[: -len(ending)] if ending else name] = None
    same = [one for one in known if one[1] == word] or [one for one in known if word in one[1]]
    if len(same) == 1:
        return same[0]
    names = ", ".join([worker for _, worker in same or known][:8])
    if same:
        raise InputError(f"--worker {word!r} may be any of {len(same)}: {names}; write more of it")
    there = f"there are {names}" if names else "no worker has said anything yet"
    raise InputError(f"there is no worker {word!r}: {there}")
