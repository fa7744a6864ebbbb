"""What `sc ps` says of machines beside their table."""

from __future__ import annotations

from sc.commands.paying import dollars_an_hour
from sc.commands.ps import row, stopped_remarks, with_owners
from sc.fleets import Machine
from sc.fleets.ec2_found import machine
from tests.fakes.aws import instance

URL = "s3://bucket/.sc/job"


ME = "arn:aws:sts::123456789012:assumed-role/Admin/me"
ANN = "arn:aws:iam::123456789012:user/ann"


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


def test_owner_is_a_column_only_if_a_machine_is_not_yours() -> None:
    mine = of_state("i-1", "running")._replace(owner=ME)
    old = of_state("i-2", "running")
    anns = of_state("i-3", "running")._replace(owner=ANN)
    again = "arn:aws:sts::123456789012:assumed-role/Admin/me-at-another-login"

    def owners(machines: list[Machine], me: str) -> list[str]:
        rows = [row(one, 0.0) for one in machines]
        headers, cells = with_owners(("job",), rows, machines, me)
        return [line[-1] for line in cells] if "owner" in headers else []

    assert owners([mine, old], again) == []
    assert owners([], "") == []
    assert owners([mine, old, anns], again) == ["", "", "user/ann"]
    assert owners([mine], "") == ["assumed-role/Admin/me"], "whoever cannot tell who they are"
