"""What `sc ps` says of machines beside their table."""

from __future__ import annotations

from sc.commands.paying import dollars_an_hour
from sc.commands.ps import stopped_remarks
from sc.fleets import Machine
from sc.fleets.ec2_found import machine
from tests.fakes.aws import instance

URL = "s3://bucket/.sc/job"


def of_state(identity: str, state: str) -> Machine:
    return machine(instance(identity, state), "job", URL)


def test_stopped_machine_is_told_as_what_it_is_and_how_to_end_it() -> None:
    states = ("pending", "running", "shutting-down", "stopping", "stopped", "terminated")
    machines = [of_state(f"i-{state}", state) for state in states]
    assert [one.state for one in machines] == [
        "pending",
        "running",
        "ending",
        "stopping",
        "stopped",
        "ended",
    ]
    (line,) = stopped_remarks(machines)
    assert line.startswith(
        "i-stopping, i-stopped: have stopped instead of ending, and their disks cost; removed by: "
    )
    assert line.endswith(f" stop {URL}")
    (line,) = stopped_remarks(machines[-2:])
    assert line.startswith("i-stopped: has stopped instead of ending, and its disk costs")
    assert list(stopped_remarks(machines[:3])) == []


def test_stopped_machine_costs_nothing_an_hour_but_its_disk() -> None:
    working = of_state("i-1", "running")._replace(dollars=1.0, started=0.0)
    stopped = of_state("i-2", "stopped")._replace(dollars=1.0, started=0.0)
    assert dollars_an_hour([working, stopped], 3600.0) == 1.0
