"""HyperQueue's server and one worker in this process, a job of many tasks, timed from submit to done.

    python hyperqueue_cluster.py COUNT SLOTS FOLDER COMMAND

Run by the Python that has `hyperqueue` (the package of PyPI holds the server and the worker as a library and has no
`hq` program). Starting and stopping the cluster is not timed; neither is describing the tasks. Its client asks
once a second whether all is done, which would cost it up to a second of its figure, so the end is when the last output
was written. The last line is JSON: `wall_seconds`, and `cpu_seconds` of this process and the tasks.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

from hyperqueue import Job, LocalCluster  # type: ignore[import-not-found]
from hyperqueue.cluster import WorkerConfig  # type: ignore[import-not-found]


def cpu_seconds() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


def main(count: int, slots: int, folder: str, command: str) -> None:
    job = Job(name="bench")
    outputs = [f"{folder}/{number}/stdout" for number in range(count)]
    for number in range(count):
        errors = f"{folder}/{number}/stderr"
        job.program(["/bin/sh", "-c", command], stdout=outputs[number], stderr=errors)
    # The library wants a str, whatever its annotations say.
    where: Any = f"{folder}/.hq"
    with LocalCluster(server_dir=where, worker_config=WorkerConfig(cores=slots)) as cluster:
        client = cluster.client()
        cpu, begin = cpu_seconds(), time.time()
        client.wait_for_jobs([client.submit(job)])
        cpu = cpu_seconds() - cpu
    wall = max(os.stat(path).st_mtime for path in outputs) - begin
    print()
    print(json.dumps({"wall_seconds": wall, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
