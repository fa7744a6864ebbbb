"""`sc ps`: the jobs and machines that are there."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Optional

from sc.commands.voice import command_line, result, say
from sc.errors import CloudError, ExitCode, InputError

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.fleets import Machine
    from sc.fleets.ec2 import Survey
    from sc.fleets.ec2_found import Found

EXAMPLES = """
Examples:
  sc ps                       workers of this machine, and machines in your account and region
  sc ps backfill              of one job, by its name or URL
  sc ps --region us-east-2
  sc ps --all                 also those that have ended within the last hour
  sc ps --json                a list of objects, for a script

Workers of this machine are found among its processes, machines of EC2 by the tag sc:job: so also
those that somebody else started, or that a killed `sc` left behind. A machine that has the tag from
elsewhere is named on stderr, and is not of the list. The cost is that of the machines alone, as far as
you may ask for prices.
"""

_HEADERS = ("job", "machine", "type", "state", "age", "cost")


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc ps`."""
    parser = subparsers.add_parser("ps", description=EXAMPLES)
    parser.add_argument("job", nargs="?", metavar="JOB", help="only this job, by its name or URL")
    parser.add_argument("--region", help="by default that of your AWS settings")
    parser.add_argument("--all", action="store_true", help="ended machines, too")
    parser.add_argument(
        "--json",
        action="store_true",
        help="a list of objects: job, job_url, fleet, id, kind, state, started, spot, dollars, owner",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """List. What is left of a job without machines is told on stderr, and so are machines that only carry the tag, and
    why EC2 could not be asked.

    3 if it did not answer a person who has credentials: then an empty list does not mean that nothing runs.
    """
    from sc.fleets.ec2_aws import AwsRefused
    from sc.fleets.local import LocalFleet

    code = ExitCode.OK
    machines = list(LocalFleet(os.environ).list(args.job))
    remarks: list[str] = []
    me = ""
    try:
        found = _on_ec2(args)
        machines += found.machines
        me = found.caller
        remarks += [remark(one) for one in found.remains]
        remarks += [stray_remark(found.strays, found.region)] if found.strays else []
    except (CloudError, InputError) as error:
        say(f"sc: without machines of EC2: {error}")
        if isinstance(error, AwsRefused) and not error.has_no_credentials:
            code = ExitCode.REFUSED
    shown = [machine for machine in machines if args.all or machine.state != "ended"]
    if args.json:
        _tell_json(shown)
    else:
        _tell_table(shown, time.time(), me)
    for line in [*stopped_remarks(machines), *remarks]:
        say(line)
    return code


def _on_ec2(args: argparse.Namespace) -> Survey:
    from sc.fleets.ec2 import Ec2Fleet

    return Ec2Fleet(args.region, os.environ).survey(args.job)


def stray_remark(strays: Sequence[Machine], region: str) -> str:
    """One line on machines that carry the tag sc:job and are of no job."""
    ids = [machine.id for machine in strays]
    is_one = len(ids) == 1
    carry, it, cost = ("carries", "it", "costs") if is_one else ("carry", "them", "cost")
    belong, they = ("belongs", "it") if is_one else ("belong", "they")
    end = f"aws --region {region} ec2 terminate-instances --instance-ids {' '.join(ids)}"
    return (
        f"sc: {', '.join(ids)} {carry} the tag sc:job but {belong} to no job that sc has started: `sc stop` leaves "
        f"{it} alone, and {they} {cost} money. If nobody needs {it}: {end}"
    )


def stopped_remarks(machines: Sequence[Machine]) -> Iterator[str]:
    """One line for each job that has machines which have stopped instead of ending."""
    there: dict[str, list[str]] = {}
    for machine in machines:
        if machine.state in ("stopping", "stopped"):
            there.setdefault(machine.job_url or machine.job, []).append(machine.id)
    for job, ids in there.items():
        one = len(ids) == 1
        yield (
            f"{', '.join(ids)}: {'has' if one else 'have'} stopped instead of ending, and "
            f"{'its disk costs' if one else 'their disks cost'}; removed by: {command_line('stop', job)}"
        )


def remark(found: Found) -> str:
    """One line on what is left of a job that has no machines."""
    parts = []
    if found.group is not None:
        wanted = found.group["DesiredCapacity"]
        parts.append(f"an Auto Scaling group ({wanted} machines wanted, none there)")
    if found.has_template:
        parts.append("a launch template")
    if found.security_groups:
        parts.append("a security group")
    job = found.job_url or found.job
    told = f"{found.job}: no machines, but {', '.join(parts)}"
    return f"{told}; removed by: {command_line('stop', job)}"


def _tell_json(machines: Sequence[Machine]) -> None:
    from sc.reports import json_line

    result("[")
    for position, machine in enumerate(machines):
        comma = "," if position + 1 < len(machines) else ""
        result("  " + json_line(machine._asdict()) + comma)
    result("]")


def _tell_table(machines: Sequence[Machine], now: float, me: str) -> None:
    from sc.reports import table

    rows = [row(machine, now) for machine in machines]
    for line in table(*with_owners(_HEADERS, rows, machines, me)):
        result(line)
    costs = [machine.dollars for machine in machines if machine.dollars is not None]
    word = "machine" if len(machines) == 1 else "machines"
    total = f", {dollars(sum(costs))} so far" if costs else ""
    say(f"{len(machines)} {word}{total}")


def with_owners(
    headers: tuple[str, ...], rows: Sequence[tuple[str, ...]], machines: Sequence[Machine], me: str
) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
    """One column more, if some of the machines are not yours."""
    from sc.fleets.ec2_names import is_same_owner, owner_to_tag

    mine = owner_to_tag(me)
    owners = ["" if is_same_owner(owner_to_tag(one.owner), mine) else one.owner for one in machines]
    if not any(owners):
        return headers, rows
    # What follows the account says who it is: user/ann, assumed-role/Admin/ann@example.com.
    told = [owner.split(":", 5)[-1] for owner in owners]
    return (*headers, "owner"), [(*cells, owner) for cells, owner in zip(rows, told)]


def row(machine: Machine, now: float) -> tuple[str, ...]:
    """The cells of one machine."""
    from sc.reports import duration

    return (
        machine.job,
        machine.id,
        f"{machine.kind} (spot)" if machine.spot else machine.kind,
        machine.state,
        "-" if machine.started is None else duration(max(0.0, now - machine.started)),
        dollars(machine.dollars),
    )


def dollars(amount: Optional[float]) -> str:
    """`-` where nobody knows."""
    return "-" if amount is None else f"${amount:,.2f}"
