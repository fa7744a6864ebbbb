"""What the page of a batch that has ended tells, without a storage."""

from __future__ import annotations

from collections.abc import Iterator

from sc.history import History, Worker, groups_of
from sc.pages.facts import Facts, Links, Row
from tests.fakes.ended_batch import code_of, outcomes_of, runs_of

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&lt;\x1b[31m\u202e\ud800"
)


def facts_of(count: int, machines: int = 3, slots: int = 4, **more: object) -> Facts:
    history = History()
    for machine, outcome in outcomes_of("/out", count, machines, slots):
        history.add(f"worker-{machine}", outcome.to_line())
    codes = [code_of(number) for number in range(count)]
    runs = list(runs_of("/out", count))

    def rows() -> Iterator[Row]:
        for number, (run, code) in enumerate(zip(runs, codes)):
            row = history.last(run.remote_output_path)
            assert row is not None
            path = run.remote_output_path[5:]
            yield Row(number, path, str(run.cmd), code, history.seconds(row), history.workers[row])

    failed = [run.remote_output_path for run, code in zip(runs, codes) if code]
    known: dict[str, object] = {
        "title": "backfill",
        "place": "/out",
        "jobs": ["backfill"],
        "made": "now",
        "version": "1",
        "counts": {
            "completed": codes.count(0),
            "failed": len(failed),
            "not_stored": 0,
            "incomplete": 0,
        },
        "history": history,
        "workers": [
            Worker(name, name, slots, "local", 0.0, 1.0) for name in history.worker_names()
        ],
        "groups": groups_of(history, ((path, history.last(path)) for path in failed)).sorted(),
        "rows": rows,
        "slowest": list(rows())[:3],
        "links": Links("folder", "out/"),
        "dollars": None,
    }
    return Facts(**{**known, **more})  # type: ignore[arg-type]
