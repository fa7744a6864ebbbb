"""The nouns of `sc`, as data that does not change. One word per thing, see CONTRIBUTING.

People write YAML, which `sc.documents` reads with patience. Machines write JSON, and that is read
and written here, strictly: what a stranger could have written never reaches these functions unread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional, Union

from sc.widths import OPEN, Width

Command = Union[str, tuple[str, ...]]
"""A string is run by `/bin/sh -c`; a tuple is run as it is, without a shell."""

to_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
"""One line of JSON, in half the time of `json.dumps`, which makes an encoder for each call."""

_NO_ENV: Mapping[str, str] = {}
_OPTIONAL_KEYS = (
    "local_results_dir",
    "timeout",
    "retries",
    "gpus",
    "working_directory",
    "expected_time",
)
_MOST = 10**15
"""More than anything that is counted or measured here: seconds since 1970 have ten digits."""


def is_count(value: object) -> bool:
    """True for a whole number, 0 or more, out of JSON that others may have written; `true` is none."""
    return type(value) is int and 0 <= value <= _MOST


def is_number(value: object) -> bool:
    """True for a number that can be calculated with; JSON as Python reads it also knows NaN and Infinity."""
    return type(value) in (int, float) and -_MOST <= value <= _MOST  # type: ignore[operator]


class Run(NamedTuple):
    """One command with its own output path.

    A named tuple and no dataclass: a batch may have millions, and this is half the memory.
    """

    cmd: Command
    remote_output_path: str
    """The place as its author wrote it, made absolute: `s3://…`, `sfs://…`, or a folder."""
    local_results_dir: Optional[str] = None
    """None: a fresh folder, removed after the upload."""
    timeout: Optional[float] = None
    """Seconds."""
    retries: int = 0
    env: Mapping[str, str] = _NO_ENV
    gpus: Optional[float] = None
    working_directory: Optional[str] = None
    expected_time: Optional[float] = None
    """Seconds that it takes, as far as its author knows: the longest start first."""

    def to_json(self) -> dict[str, Any]:
        """The keys of a run in a batch file; what has its default is left out."""
        document: dict[str, Any] = {
            "cmd": self.cmd if isinstance(self.cmd, str) else list(self.cmd),
            "remote_output_path": self.remote_output_path,
        }
        for name in _OPTIONAL_KEYS:
            value = getattr(self, name)
            if value:
                document[name] = value
        if self.env:
            document["env"] = dict(self.env)
        return document


def command_text(cmd: Command) -> str:
    """The command as one line for people: a list is quoted as a shell would need it."""
    import shlex

    return cmd if isinstance(cmd, str) else shlex.join(cmd)


class Given(NamedTuple):
    """What a recipe gives to each run of a job, as it is written there."""

    environment_variables: Mapping[str, str] = _NO_ENV
    """A value that begins with `ssm:` is the name of a parameter; what is found under it is nowhere in here."""
    working_directory: Optional[str] = None


NOTHING_GIVEN = Given()


def command_hash(run: Run) -> str:
    """A hash of the run's command and its own environment: 16 hexadecimal digits of SHA-256.

    Versions before `identity` compared runs by it.
    """
    return _hash_of(run.cmd, run.env)


def identity(run: Run, given: Given = NOTHING_GIVEN) -> str:
    """A hash of all that the files say about what a run does: two with equal ones do the same work.

    Of its command, the environment that batch and recipe give it, the folder where it begins, and its GPUs; not of how
    long, how often or where to it runs. The folder counts as it is written, not as this machine resolves it, so
    that the same files are the same runs from wherever they are used. Where neither folder nor GPUs are named it equals
    the `command_hash` of a run that has the whole environment for its own.
    """
    env = run.env
    if given.environment_variables:
        env = {**given.environment_variables, **env}
    elif given is NOTHING_GIVEN and not (env or run.gpus or run.working_directory):
        return _hash_of(run.cmd, env)  # as of nearly all
    folder = _folder_of(given.working_directory, run.working_directory)
    if not folder and not run.gpus:
        return _hash_of(run.cmd, env)
    return _digits(to_json([run.cmd, sorted(env.items()), folder, float(run.gpus or 0)]))


class Comparison:
    """Compares what records hold with runs as the files have them now."""

    def __init__(self, given: Optional[Given]) -> None:
        """`given` is what the recipe says, where one is at hand; else what their batch says of runs is compared."""
        self._given = NOTHING_GIVEN if given is None else given
        self._has_recipe = given is not None

    def recorded(self, whole: str, own: str, command: str) -> tuple[str, bool]:
        """Of the fields `identity`, `own_identity` and `command_hash` of a record the one that counts; whether it is
        the last, as in records of versions that knew no identities."""
        known = whole if self._has_recipe else own or whole
        return known or command, not known

    def now(self, run: Run, by_command: bool) -> int:
        """What a record of this run as it is now would hold."""
        return int(command_hash(run) if by_command else identity(run, self._given), 16)


def _hash_of(cmd: Command, env: Mapping[str, str]) -> str:
    is_plain = isinstance(cmd, str) and not env  # as nearly all are
    return _digits(str(cmd) if is_plain else to_json([cmd, sorted(env.items())]))


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class GpuNeeds(NamedTuple):
    """What the runs of a batch ask for."""

    most: float = 0.0
    """GPUs of the run that asks for the most; 0 if none asks for any."""
    share: float = 1.0
    """The smallest part of a GPU that a run asks for, at most 1."""
    are_all: bool = False
    """Whether every run asks for GPUs."""
    place: str = ""
    """Of the run that asks for the most, in its file."""

    @classmethod
    def together(cls, parts: Sequence[GpuNeeds]) -> GpuNeeds:
        """Of a batch, from those of its parts."""
        if not parts:
            return cls()
        return cls(
            max(part.most for part in parts),
            min(part.share for part in parts),
            all(part.are_all for part in parts),
        )

    @property
    def per_gpu(self) -> int:
        """How many of the smallest shares fit on one GPU; three of 0.3333334 do."""
        return max(1, int(1 / self.share + 1e-6))

    def refusal(self, file: str, gpus: int, whose: str) -> str:
        """The sentence where `whose` machine has fewer GPUs than one run asks for; empty where it has enough."""
        if self.most <= gpus:
            return ""
        has = "no GPU" if gpus == 0 else "1 GPU" if gpus == 1 else f"{gpus} GPUs"
        at = f"{file}: {self.place}.gpus" if self.place else f"{file}: gpus"
        return (
            f"{at}: a run asks for {self.most:g} GPU{'s' * (self.most > 1)}, and {whose} has {has}; "
            "lower gpus, or take a machine that has them"
        )


NO_GPUS = GpuNeeds()


def _folder_of(*written: Optional[str]) -> str:
    """A folder below a folder, by their texts alone; `./a//b/` is `a/b`, and where nothing is said it is empty."""
    whole = ""
    for one in written:
        if one:
            whole = one if one.startswith(("/", "~")) else f"{whole}/{one}" if whole else one
    if not whole:
        return ""
    names = [name for name in whole.split("/") if name not in ("", ".")]
    return "/" * whole.startswith("/") + "/".join(names)


@dataclass(frozen=True)
class Batch:
    """A file of runs.

    `runs` can be iterated again and again and knows its length, but is not always a list:
    for a large JSON file it reads them from the disk each time (see `sc.documents`).
    """

    remote_output_path: str
    runs: Collection[Run]
    nprocs: Optional[int] = None
    """Runs at a time per machine; None: as many as the machine's GPUs allow, else its vCPUs."""
    has_expected_times: bool = False
    """Whether any of the runs tells how long it takes."""
    gpus: GpuNeeds = NO_GPUS
    width: Width = OPEN
    """Who may read the file, and so what is derived from it."""


@dataclass(frozen=True)
class Recipe:
    """On which machines a job runs."""

    name: str
    instance_types: tuple[str, ...]
    """`("local",)` is this machine; several mean any of them."""
    scale: int = 1
    """At most this many machines at any moment."""
    working_directory: Optional[str] = None
    start_script: Optional[str] = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    use_spot_instance: bool = False
    image: Optional[str] = None
    disk_space: Optional[int] = None
    """GiB."""
    region: Optional[str] = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    instance_profile: Optional[str] = None
    key_name: Optional[str] = None
    max_hours: Optional[float] = None
    tags: Mapping[str, str] = field(default_factory=dict)
    s3: Mapping[str, str] = field(default_factory=dict)
    """Settings of S3, see `s3_settings`: by key, as S3 spells them."""
    ignored: tuple[str, ...] = ()
    """Keys of Saturn Cloud recipes that mean nothing here; told in one line."""

    @property
    def given(self) -> Given:
        """What the runs of its job get."""
        return Given(self.environment_variables, self.working_directory)

    @property
    def is_local(self) -> bool:
        return self.instance_types == ("local",)


COMPLETED, FAILED, NOT_STORED, LOST, INTERRUPTED = STATUSES = (
    "completed",
    "failed",
    "not stored",
    "lost",
    "interrupted",
)
"""How a run can have ended, in the words that people see."""


class Outcome(NamedTuple):
    """How one run ended: a line of `records/<id>-<k>.jsonl`, in this order of keys."""

    remote_output_path: str
    command_hash: str
    code: Optional[int]
    """0 to 255, as in `status_code`; None where none was written (interrupted, upload given up)."""
    cause: str
    """`exit`, `signal`, `timeout`, `oom`, `not-started`, `upload`, `interrupted` or `lost`."""
    attempt: int
    """From 1: the attempt that ended thus."""
    machine: str
    rank: int
    """-1: it never had a slot."""
    started: float
    """Unix seconds of that machine's clock, of the first attempt's start."""
    ended: float
    """Unix seconds of that machine's clock, when the process tree was gone."""
    reason: str = ""
    """A sentence: why it was not started, stored or ended; or what a person should know of a run that ended well."""
    error_line: str = ""
    """The last line in what a failed run wrote to stderr, its beginning at least."""
    ended_processes: int = 0
    """Processes that were still running when the command exited, and were ended; `reason` names them."""
    unstored_files: int = 0
    """Files among the results that could not be stored; `reason` names them."""
    identity: str = ""
    """What `identity` says of the run with what its job's recipe gives; empty in records of versions before it."""
    own_identity: str = ""
    """The same without the recipe, if that makes a difference; empty if it makes none."""

    @property
    def status(self) -> str:
        """The one classification of how a run ended: one of `STATUSES`.

        Everything that counts runs, or chooses an exit code, goes by this.
        """
        if self.cause in ("interrupted", "lost"):
            return INTERRUPTED if self.cause == "interrupted" else LOST
        if self.cause == "upload":
            return NOT_STORED
        if self.code is None:
            return LOST
        return COMPLETED if self.code == 0 else FAILED

    def to_line(self) -> str:
        """One line of JSON, without the line's end."""
        return to_json(self._asdict())

    @classmethod
    def from_line(cls, line: str) -> Outcome:
        """The reverse of `to_line`. Raises ValueError on anything else."""
        try:
            document = json.loads(line)
            outcome = cls(**{name: document[name] for name in cls._fields if name in document})
            is_record = outcome.cause in CAUSES
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"not a record of a run: {error}") from error
        counts = [outcome.attempt, 0 if outcome.rank == -1 else outcome.rank]
        counts += [outcome.ended_processes, outcome.unstored_files]
        counts += [] if outcome.code is None else [outcome.code]
        times = outcome.started, outcome.ended
        has_numbers = all(map(is_count, counts)) and all(map(is_number, times))
        texts = [outcome.remote_output_path, outcome.command_hash, outcome.machine]
        texts += [outcome.reason, outcome.error_line, outcome.identity, outcome.own_identity]
        has_texts = all(isinstance(text, str) for text in texts)
        if not (is_record and has_numbers and has_texts):
            raise ValueError("not a record of a run")
        return outcome


def identities(run: Run, given: Given) -> tuple[str, str]:
    """The fields `identity` and `own_identity` of an Outcome."""
    own = identity(run)
    whole = own if given == NOTHING_GIVEN else identity(run, given)
    return whole, "" if own == whole else own


@dataclass
class Counts:
    """How many runs have ended in which way. All who count runs count with this."""

    completed: int = 0
    failed: int = 0
    not_stored: int = 0
    """Ended, and their outputs could not be stored."""
    lost: int = 0
    """Given up without a code, by no fault of the run."""
    ended_processes: int = 0
    """Runs that left processes, which were ended."""
    unstored_files: int = 0
    """Runs that made files which could not be stored."""
    seconds: float = 0.0
    """That the completed and the failed ones took, together."""

    @property
    def ended(self) -> int:
        """Runs that have ended in any way."""
        return self.completed + self.unsuccessful

    @property
    def unsuccessful(self) -> int:
        """Those of them that did not complete."""
        return self.failed + self.not_stored + self.lost

    def add(self, outcome: Outcome) -> None:
        """Count a run. One that was interrupted has not ended."""
        status = outcome.status
        if status == INTERRUPTED:
            return
        name = status.replace(" ", "_")
        setattr(self, name, getattr(self, name) + 1)
        self.ended_processes += outcome.ended_processes > 0
        self.unstored_files += outcome.unstored_files > 0
        if status in (COMPLETED, FAILED):
            self.seconds += max(0.0, outcome.ended - outcome.started)


CAUSES = frozenset(
    ["exit", "signal", "timeout", "oom", "not-started", "upload", "interrupted", "lost"]
)
