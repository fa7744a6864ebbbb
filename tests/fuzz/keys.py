"""What stands below a job's place, and in folders of this machine: written by sc, and by whoever may write there."""

from __future__ import annotations

import contextlib
import json
import math
import os

from sc import claims, codes, commands_folder, paths
from sc.claims import read_done_note
from sc.commands.displays import document
from sc.errors import InputError
from sc.estimating import Estimator
from sc.glances import Glance, glance_of
from sc.halting import read_stop
from sc.heartbeats import heartbeat_of
from sc.history import History
from sc.job_state import State, Worker
from sc.model import Outcome, Run, command_hash
from sc.pages.facts import Facts, Links
from sc.pages.report import page
from sc.pulling.memory import Item, Memory
from sc.reports import json_line
from sc.screen import View, columns, draw
from sc.staging import Job, _job_of, read_job, read_part
from sc.standing import Commands
from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.fakes.office import JOB, OUT
from tests.fuzz.documents import refused, text_of, written


def _storage(place: str, data: bytes) -> MemoryStorage:
    storage = MemoryStorage(Clock())
    storage.put(place, data)
    return storage


def part(data: bytes) -> None:
    """Runs that can be carried on, hashed and written down, or a StorageError."""
    storage = _storage(paths.part(JOB, 0), data)
    if refused(lambda: read_part(storage, JOB, 0)):
        return
    runs = read_part(storage, JOB, 0)
    for run in runs:
        assert len(command_hash(run)) == 16
        assert all(
            math.isfinite(one) for one in (run.timeout or 0, run.gpus or 0, run.expected_time or 0)
        )
        assert isinstance(run.retries, int)
        assert not any("=" in name or not name for name in run.env)
        words = [run.cmd] if isinstance(run.cmd, str) else list(run.cmd)
        for text in (*words, *run.env, *run.env.values(), run.working_directory or ""):
            text.encode("utf-8", "surrogateescape")
    again = json.dumps({"runs": [run.to_json() for run in runs]}).encode()
    storage.put(paths.part(JOB, 0), again)
    assert read_part(storage, JOB, 0) == [_as_written(run) for run in runs]


def _as_written(run: Run) -> Run:
    """Zeros and empty texts mean the same as nothing, and are not written."""
    return run._replace(
        timeout=run.timeout or None,
        retries=run.retries or 0,
        gpus=run.gpus or None,
        expected_time=run.expected_time or None,
        local_results_dir=run.local_results_dir or None,
        working_directory=run.working_directory or None,
        env=run.env or {},
    )


def job(data: bytes) -> None:
    """`recipe.json`: numbers that can be counted with, or a StorageError."""
    storage = _storage(paths.recipe(JOB), data)
    if refused(lambda: read_job(storage, JOB)):
        return
    found = read_job(storage, JOB)
    assert isinstance(found, Job)
    assert all(isinstance(one, int) for one in (found.parts, found.runs, found.written))
    assert isinstance(found.scale, int)
    assert found.nprocs is None or type(found.nprocs) is int
    assert isinstance(found.is_fresh, bool)
    assert math.isfinite(found.lease_seconds)
    assert _job_of(json.loads(found.to_bytes())) == found


def claim(data: bytes) -> None:
    """Whatever stands there, the part can be taken over."""
    storage = _storage(paths.claim(JOB, 0), data)
    entry = storage.stat(paths.claim(JOB, 0))
    assert entry is not None
    taken = claims.take_over(storage, JOB, 0, entry.tag, "w", "n")
    assert taken is not None
    assert taken.losses >= 0
    assert all(isinstance(one, str) and one for one in taken.holders)
    recalled = claims.recall(storage, JOB, 0, "w")
    assert recalled is not None
    assert recalled.losses == taken.losses


def done(data: bytes) -> None:
    """A note that can be added up."""
    note = read_done_note(data)
    assert note.completed >= 0 <= note.failed
    assert all(isinstance(one, str) for one in note.lost)
    claims.failed_by_size(len(data))
    assert read_stop(data).reason is not None


def heartbeat(data: bytes) -> None:
    """None, or what every display can draw."""
    found = heartbeat_of(data)
    if found is None:
        return
    assert heartbeat_of(found.to_bytes()) is not None
    worker = Worker(Glance(found.worker, found.state, 1, 1, 0, 1, 1, 4), 1.0, False, found)
    state = State(JOB, "job", 10, 2, workers=[worker], errors=list(found.errors))
    view = View(state, Estimator().add(1.0, state), 3.0)
    for line in draw(view, 100, 40):
        assert line.text.isprintable()
        assert columns(line.text) <= 100
    json.loads(json_line(document(view, None)), parse_constant=_no_number)


def _no_number(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def glance(data: bytes) -> None:
    """The reverse of its own name, or None."""
    name = text_of(data)
    found = glance_of(name)
    if found is not None:
        assert glance_of(found.to_name()) == found


def record(data: bytes) -> None:
    """A line that was read is written as a line, and that is read as the same."""
    line = text_of(data)
    try:
        outcome = Outcome.from_line(line)
    except ValueError:
        return
    assert isinstance(outcome.error_line, str)
    again = outcome.to_line()
    assert "\n" not in again
    assert Outcome.from_line(again) == outcome


def standing(data: bytes) -> None:
    """Lines of records, good and bad, tell of runs; here each is asked for."""
    lines, told = text_of(data).splitlines(), []
    for line in lines:
        with contextlib.suppress(ValueError):
            told.append(Outcome.from_line(line).remote_output_path)
    commands = Commands([Run("x", path) for path in (OUT, *told)])
    for line in lines:
        commands.add(line)
    for path in told:
        known = commands.last(path)
        assert known is None or (0 <= known.code <= 255 and math.isfinite(known.seconds))


def history(data: bytes) -> None:
    """Lines of records, good and bad, make a page."""
    found = History()
    for number, line in enumerate(text_of(data).splitlines()):
        found.add(f"w{number % 3}", line)
    lengths = {len(one) for one in (found.started, found.ended, found.codes, found.ranks)}
    assert lengths == {len(found)}
    for row in range(len(found)):
        assert 0 <= found.seconds(row) < math.inf
        found.kind(row)
    if len(found):
        page(_facts(found))


def _facts(found: History) -> Facts:
    from sc.history import read_workers

    storage = MemoryStorage(Clock())
    return Facts(
        *(
            "title",
            "/out",
            ["job"],
            "now",
            "0",
            {"completed": 1, "failed": 1, "not_stored": 0, "incomplete": 0},
        ),
        *(found, read_workers(storage, [], found), [], lambda: iter([]), []),
        *(Links("none", ""), None),
    )


def manifest(data: bytes) -> None:
    """A commands folder of which nobody knows who wrote it."""
    path = written(commands_folder.MANIFEST, data)
    folder = os.path.dirname(path)
    refused(lambda: commands_folder.check(folder, 3))
    recipe = os.path.join(folder, commands_folder.RECIPE)
    try:
        split = commands_folder.read(recipe)
    except InputError as error:
        assert str(error)
        return
    if split is not None:
        assert all(os.path.dirname(one) == folder for one in split.parts)
        assert all(isinstance(one, str) for one in split.sync)
        assert split.file_syncs_base_dir_url is None or isinstance(
            split.file_syncs_base_dir_url, str
        )


def code(data: bytes) -> None:
    """A code, or GARBAGE."""
    found = codes.parse(data)
    assert found == codes.GARBAGE or 0 <= found <= 255


def pull_memory(data: bytes) -> None:
    """`.sc-pull` in a folder that somebody else may have filled: it is used, or begun anew."""
    path = written(".sc-pull", data)
    memory = Memory(os.path.dirname(path))
    item = Item("s3://b/x", 1, "tag", text_of(data[:20]))
    memory.has(item, 5)
    memory.add(item, 5)
    memory.close()
    memory = Memory(os.path.dirname(path))
    assert memory.has(item, 5)
    memory.close()
