"""A batch over a folder that is reached as if it were S3, with a lease of a few seconds:
`python -m tests.processes.leaseholder PLACE RUNS COMMAND`.
"""

from __future__ import annotations

import os
import sys
from typing import Optional

from sc import paths
from sc.commands.leasing import leased
from sc.errands import Errands
from sc.errors import ExitCode, ScError
from sc.executor import Plan
from sc.executor.loop import execute
from sc.feed import BatchFeed, Tally
from sc.leases import Runs, Times
from sc.model import Run
from sc.records import Records
from sc.storage import Storage
from sc.storage.router import AnyStorage

TIMES = Times(lease_seconds=4.0, renew_seconds=0.5, doubt_seconds=2.5)


class Far(AnyStorage):
    """A folder that is reached as if it were S3."""

    def local_path(self, place: str) -> Optional[str]:
        return None


def far() -> Storage:
    return Far({})


def main(place: str, count: int, command: str) -> ExitCode:
    runs = [Run(command, f"{place}/{number}") for number in range(count)]
    url, execution = paths.job(place, "batch"), f"execution-{os.getpid()}"
    tally, errands = Tally(total=count), Errands(far)
    to_lease = Runs(place, lambda: [run.remote_output_path for run in runs])
    try:
        errands.begin()
        with leased(far(), url, execution, to_lease, errands, TIMES) as lease:
            records = Records(url, execution)
            feed = BatchFeed(
                iter(runs), tally, far(), errands, records, lambda *_: 0.2, lease=lease
            )
            ending = execute(Plan(nprocs=2, machine="m"), feed, far)
            feed.finish()
    except ScError as error:
        sys.stdout.write(f"{error}\n")
        return error.exit_code
    finally:
        errands.close()
    sys.stdout.write(f"{feed.trouble}\n")
    return tally.exit_code(ending)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
