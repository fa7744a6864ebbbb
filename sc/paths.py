"""The name of every key that `sc` writes: below a run's output path, and below a job's.

A place is a text such as `s3://bucket/prefix`, `sfs://owner/path` or `/folder`; `join` goes down from it.
"""

from __future__ import annotations

STDOUT, STDERR, STATUS_CODE, RESULTS, ATTEMPTS = (
    "stdout",
    "stderr",
    "status_code",
    "results",
    "attempts",
)
BEHIND = "/\U0010ffff"
"""After a folder's name, as a bound of a listing: behind all that is in it, and before whatever follows, by bytes as
by tree."""
JOBS = ".sc"
"""The folder below a batch's output path under which each job keeps what it needs."""


def join(place: str, *names: str) -> str:
    """`place` with `names` below it, one slash between each."""
    return "/".join([place.rstrip("/"), *names]) if names else place


def job(batch_output_path: str, name: str) -> str:
    """The job's own place, the JOB_URL of `sc work`."""
    return join(batch_output_path, JOBS, name)


def part(job_url: str, number: int) -> str:
    return join(job_url, "parts", f"{number}.json")


def claim(job_url: str, number: int) -> str:
    return join(job_url, "claims", str(number))


def done(job_url: str, number: int) -> str:
    return join(job_url, "done", str(number))


def ended(job_url: str, nonce: str, block: int) -> str:
    """All parts of the block of that number are done (`sc.blocks`)."""
    return join(job_url, "ended", f"{nonce}-{block}")


def heartbeat(job_url: str, worker_id: str) -> str:
    return join(job_url, "workers", f"{worker_id}.json")


def glances(job_url: str) -> str:
    return join(job_url, "glances")


def records(job_url: str, worker_id: str, sequence: int) -> str:
    return join(job_url, "records", f"{worker_id}-{sequence}.jsonl")


def leases(job_url: str) -> str:
    return join(job_url, "leases")


def lease(job_url: str, execution_id: str) -> str:
    """Who executes some runs, as `sc.leases` has it."""
    return join(job_url, "leases", f"{execution_id}.json")


def job_lease(job_url: str, execution_id: str) -> str:
    """Who has started a job."""
    return join(job_url, "leases", f"{execution_id}.job")


def taken_lease(job_url: str, execution_id: str) -> str:
    """The lease was over, and somebody else has had some of its runs."""
    return join(job_url, "leases", f"{execution_id}.taken")


def leased_runs(job_url: str, execution_id: str) -> str:
    """Which runs these are."""
    return join(job_url, "leases", f"{execution_id}.runs")


def log(job_url: str, worker_id: str) -> str:
    return join(job_url, "logs", worker_id)


def starting(job_url: str) -> str:
    """Who is starting the job, as `sc.start_lease` has it; there only meanwhile."""
    return join(job_url, "starting")


def stop(job_url: str) -> str:
    return join(job_url, "stop")


def recipe(job_url: str) -> str:
    return join(job_url, "recipe.json")


def program(job_url: str) -> str:
    return join(job_url, "sc.pyz")


def synced(job_url: str, sha256: str) -> str:
    return join(job_url, "sync", f"{sha256}.tar.gz")
