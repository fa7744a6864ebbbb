"""The plan of the house, checked: who may import whom, print, exit and look at the clock, and how large a room may be.

A new arrow is a decision: change the table in the same commit, and say there why.
"""

from __future__ import annotations

import ast
import fnmatch
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent / "sc"

EVERYWHERE = {"errors", "model", "paths", "s3_settings", "widths"}
"""At the bottom: nouns, words and sentences. What a bucket demands is read out of recipes, environments and jobs, and
obeyed by storages and machines, so all of them have to name it."""
ARROWS: Mapping[str, set[str]] = {
    # from the top: who starts, translates, does
    "__main__": {"cli"},
    "cli": {"__version__", "commands"},
    "commands": {
        *(
            "worker",
            "executor",
            "feed",
            "fleets",
            "machine",
            "staging",
            "splitting",
            "ordering",
            "commands_folder",
            "archives",
        ),
        *(
            "claims",
            "board",
            "codes",
            "heartbeats",
            "standing",
            "records",
            "reports",
            "documents",
            "errands",
            "held_lease",
            "job_leases",
            "holder",
            "leases",
            "start_lease",
            "removed_outputs",
            "strangers",
            "storage",
            "__version__",
        ),
        *(
            "codes",
            "standing",
            "heartbeats",
            "grouping",
            "last_words",
            "finding",
            "glances",
            "halting",
        ),
        "run_index",
        *("observing", "estimating", "screen", "job_state"),
        *("pulling", "history", "pages", "prospects", "rerunning", "completing"),
    },
    "worker": {
        "__version__",
        "archives",
        "board",
        "claims",
        "codes",
        "executor",
        "glances",
        "grouping",
        "halting",
        "heartbeats",
        "machine",
        "leases",  # whose runs are named there
        "previous_outputs",  # a run that is done again loses what its earlier execution left
        "strangers",  # and nothing else
        "records",
        "staging",
        "storage",
    },
    "feed": {
        "errands",
        "executor",
        "halting",
        "held_lease",
        "leases",
        "previous_outputs",
        "records",
        "storage",
        "strangers",
    },
    "held_lease": {"errands", "leases"},
    "leases": {"holder", "job_leases", "run_index", "storage", "strangers"},  # looks first
    "start_lease": {"claims", "holder", "leases", "storage"},  # a lease as theirs, on a job's place
    "strangers": {"listed_folders", "previous_outputs", "run_index", "storage"},
    "removed_outputs": {"codes", "listed_folders", "storage", "strangers"},
    "listed_folders": set(),
    "job_leases": {"codes", "glances", "staging", "storage"},  # whether all parts are done
    "holder": set(),
    "machine": {"executor"},
    "executor": {"last_words"},  # pure, and of the standard library
    "fleets": {"heartbeats", "storage"},  # whoever waits for machines reads their first report
    "staging": {"board", "claims", "halting", "records", "splitting", "storage", "archives"},
    "archives": set(),
    "standing": {"codes", "run_index", "splitting", "storage"},
    "codes": {"run_index", "storage"},
    "run_index": set(),
    "previous_outputs": {"storage"},
    "pulling": {"codes", "run_index", "storage"},
    "rerunning": {"executor"},
    "completing": set(),
    "history": {"grouping", "heartbeats", "run_index", "storage"},
    "pages": {"grouping", "history", "reports"},
    "observing": {
        *("blocks", "claims", "glances", "grouping", "halting", "heartbeats", "job_state"),
        *("staging", "storage"),
    },
    "screen": {"estimating", "grouping", "job_state", "reports"},
    "estimating": {"job_state"},
    "job_state": {"glances", "grouping", "halting", "heartbeats"},
    "glances": {"heartbeats", "storage"},
    "heartbeats": {"grouping"},
    "halting": set(),
    "grouping": {"last_words"},
    "last_words": set(),
    "finding": set(),
    "prospects": {"holder", "job_leases", "leases", "run_index", "storage"},
    "board": {"blocks", "claims", "storage"},
    "blocks": {"storage"},
    "claims": {"storage"},
    "errands": {"storage"},
    "commands_folder": set(),
    "documents": set(),
    "splitting": set(),
    "ordering": set(),
    "records": set(),
    "reports": set(),
    "storage": set(),
    "paths": set(),
    "s3_settings": set(),
    "model": {"widths"},
    "widths": set(),
    "errors": set(),
    "__init__": set(),
}

OUTSIDE: Mapping[str, tuple[str, ...]] = {
    "boto3": ("storage/s3*.py", "fleets/ec2*.py"),
    "botocore": ("storage/s3*.py", "fleets/ec2*.py"),
    "yaml": ("documents/*.py",),
}
"""Who may import what is not of the standard library."""

STANDARD: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset())
"""Python tells from 3.10 on; before that the test of the outside world looks only for what it knows."""

LONGEST_MODULE, LONGEST_FUNCTION = 600, 40
EXCEPTIONS: Mapping[str, int] = {}
"""`module.py` or `module.py:function`, and how many lines it may have; say why beside it."""

CLOCKS = (
    "commands/*",
    "worker*",
    "held_lease.py",  # an errand's other end, beside the feed
    "feed.py",  # the edge of a run on this machine, as the worker is that of a job
    "executor/*",  # but not the scheduler, see below
    "storage/*",  # patience with a server
    "fleets/courier.py",  # a program of its own, on a machine that has nothing else yet
)
TIMELESS = (
    "executor/scheduler.py",
    "claims.py",
    "blocks.py",
    "board.py",
    "codes.py",
    "previous_outputs.py",
    "splitting.py",
    "ordering.py",
    "reports.py",
)
DRAWERS = {"utils", "util", "common", "core", "helpers", "helper", "base", "manager", "misc"}

MODULES = sorted(HOUSE.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(HOUSE).as_posix()


def room(path: Path) -> str:
    return name(path).split("/")[0].replace(".py", "")


def arrows(path: Path) -> set[str]:
    """The rooms that a file knows."""
    return {module.split(".")[1] for module in imports(path) if module.startswith("sc.")}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), name(path))


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere in it, by their full names."""
    package = ["sc", *name(path).split("/")[:-1]]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*above, *filter(None, [node.module])])
            yield from (
                (f"{whole}.{alias.name}" for alias in node.names) if whole == "sc" else [whole]
            )


def calls(path: Path) -> set[str]:
    """`print`, `sys.exit` and so on: what a file calls, as it is written there."""
    nodes = ast.walk(parsed(path))
    return {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}


def fits(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name(path), pattern) for pattern in patterns)


def test_arrows_go_down() -> None:
    assert {room(path) for path in MODULES} <= set(ARROWS), "a new room: give it a row in the table"
    broken = {
        name(path): sorted(arrows(path) - ARROWS[room(path)] - EVERYWHERE - {room(path)})
        for path in MODULES
    }
    assert {path: up for path, up in broken.items() if up} == {}


def test_the_table_has_no_circle() -> None:
    left = {one: set(others) & set(ARROWS) for one, others in ARROWS.items()}
    while left:
        free = {one for one, others in left.items() if not others & set(left)}
        assert free, f"these know each other in a circle: {sorted(left)}"
        left = {one: others for one, others in left.items() if one not in free}


def test_executor_and_fleets_do_not_know_each_other() -> None:
    assert "fleets" not in ARROWS["executor"]
    assert "executor" not in ARROWS["fleets"]


def test_what_is_not_of_the_standard_library_is_known_to_few() -> None:
    strangers = {
        (name(path), module)
        for path in MODULES
        for module in {each.split(".")[0] for each in imports(path)} - {"sc", *STANDARD}
        if (STANDARD or module in OUTSIDE) and not fits(path, OUTSIDE.get(module, ()))
    }
    assert strangers == set()


def test_only_commands_print() -> None:
    assert [
        name(path) for path in MODULES if room(path) != "commands" and "print" in calls(path)
    ] == []


def test_only_the_way_in_exits() -> None:
    exits = {"sys.exit", "exit", "quit", "SystemExit"}
    leaving = [name(path) for path in MODULES if exits & set(calls(path))]
    assert set(leaving) <= {
        "__main__.py",
        "fleets/courier.py",
    }  # the latter is a program of its own
    # What was forked must not run what its parent has still to do at its end. In the worker it is a thread of the
    # preparation's process, which ends when the worker has.
    leaving = [name(path) for path in MODULES if "os._exit" in calls(path)]
    assert {one for one in leaving if not one.startswith("executor/")} <= {"worker/preparing.py"}


def test_time_is_a_parameter() -> None:
    clocks = {"time.time", "time.monotonic", "datetime.now"}
    looking = [path for path in MODULES if clocks & set(calls(path))]
    assert [name(path) for path in looking if not fits(path, CLOCKS) or fits(path, TIMELESS)] == []


def test_modules_are_small() -> None:
    lines = {name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: n for path, n in lines.items() if n > EXCEPTIONS.get(path, LONGEST_MODULE)} == {}


def test_functions_are_small() -> None:
    lines = {
        f"{name(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {one: n for one, n in lines.items() if n > EXCEPTIONS.get(one, LONGEST_FUNCTION)} == {}


def test_every_file_says_what_it_is_for_and_none_is_a_drawer() -> None:
    assert [name(path) for path in MODULES if not ast.get_docstring(parsed(path))] == []
    parts = {part for path in MODULES for part in name(path).replace(".py", "").split("/")}
    assert parts & DRAWERS == set()
