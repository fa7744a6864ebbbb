"""Making what a Plan says, and unmaking it when that cannot be finished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Callable

from sc.errors import CloudError, InputError
from sc.fleets import Tell
from sc.fleets.ec2_aws import Aws, AwsRefused, Call
from sc.fleets.ec2_found import Found, find_by_name
from sc.fleets.ec2_places import security_groups
from sc.fleets.ec2_refusals import refusal_of
from sc.fleets.ec2_remove import Removal
from sc.fleets.ec2_requests import (
    Plan,
    create_group,
    create_launch_template,
    end_at_max_hours,
    hold_processes,
    start_machines,
)

_SOON = ("nvalid IAM Instance Profile", "ervice-Linked Role", "ervice-linked role")
"""In what AWS says of what `sc setup`, or AWS itself for an account's first group, has made a moment ago."""
_EXISTS = ("AlreadyExists", "InvalidLaunchTemplateName.AlreadyExistsException")
"""docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html (Errors),
docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html"""


def refuse_if_running(found: Found) -> None:
    """A second launch of a job whose machines are there, or may come, would lose track of one of the two."""
    wanted = int(found.group["DesiredCapacity"]) if found.group else 0
    if found.alive or wanted:
        there = len(found.alive)
        what = f"{there} machine{'' if there == 1 else 's'}" if there else "a group that wants some"
        raise InputError(
            f"The job '{found.job}' has {what} already. Look with `sc ps`; end them with `sc stop {found.job}`."
        )


def launch(
    aws: Aws, plan: Plan, tell: Tell, now: Callable[[], float], sleep: Callable[[float], None]
) -> frozenset[str]:
    """Carry out the plan. Whatever this launch has made, told by its nonce, is unmade before an error, or an interrupt,
    leaves.

    Returns the ids of instances of an earlier attempt, of which AWS tells for an hour after their end.
    """
    leftover = find_by_name(aws, plan.name)
    refuse_if_running(leftover)
    if not leftover.is_nothing:
        # Its parts are asked for one after the other: what has come between them is no leftover.
        leftover = find_by_name(aws, plan.name)
        refuse_if_running(leftover)
        tell("Removing what an earlier attempt left")
        removal = Removal.from_now(aws, tell, now, sleep)
        for sentence in removal.from_outside(leftover):
            tell(sentence)
    try:
        groups = security_groups(aws, plan, tell, sleep)
        for call, done in steps(plan, groups, now()):
            tell(done)
            _send_patiently(aws, call, plan, sleep)
    except BaseException:  # a Ctrl-C as well: nothing may stay that nobody knows of
        tell("That could not be finished: taking away what was made")
        removal = Removal.from_now(aws, tell, now, sleep, plan.nonce)
        for sentence in removal.from_outside_by_name(plan.name):
            tell(sentence)
        raise
    return frozenset(instance["InstanceId"] for instance in leftover.instances)


def steps(plan: Plan, groups: Sequence[str], now: float) -> Iterator[tuple[Call, str]]:
    """The calls in their order, each with what is said before it. The machines come last."""
    yield create_launch_template(plan, groups), f"Making the launch template {plan.name}"
    yield create_group(plan), f"Making the Auto Scaling group {plan.name}"
    yield hold_processes(plan), "Holding back what AWS would do by itself"
    end = end_at_max_hours(plan, now)
    yield (
        end,
        f"AWS ends all machines at {end.parameters['StartTime']:%Y-%m-%d %H:%M} UTC at the latest",
    )
    yield start_machines(plan), f"Asking for {machines_text(plan)}"


def machines_text(plan: Plan) -> str:
    kinds = " or ".join(plan.recipe.instance_types)
    market = " spot" if plan.recipe.use_spot_instance else ""
    word = "machine" if plan.machines == 1 else "machines"
    return f"{plan.machines}{market} {word} ({kinds}) in {len(plan.place.subnets)} zones"


def _send_patiently(aws: Aws, call: Call, plan: Plan, sleep: Callable[[float], None]) -> None:
    """A role or profile that was made a moment ago is not known everywhere yet: then try again."""
    for pause in (2.0, 4.0, 8.0, 16.0, 0.0):
        try:
            aws.send(call)
        except AwsRefused as error:
            if error.code in _EXISTS:
                _refuse_unless_own(aws, call, plan)
                return
            if not pause or not any(words in str(error) for words in _SOON):
                raise _with_next_step(error) from None
            sleep(pause)
        else:
            return


def _with_next_step(error: AwsRefused) -> AwsRefused:
    """AWS tries a template when a group is made of it, and refuses in the words in which it would refuse machines."""
    refusal = refusal_of(str(error)) if error.code == "ValidationError" else None
    return AwsRefused(f"{error} {refusal.next_step}", error.code) if refusal else error


def _refuse_unless_own(aws: Aws, call: Call, plan: Plan) -> None:
    """What is there already is ours if the answer to an earlier request for it was lost. Else raises CloudError."""
    own = find_by_name(aws, plan.name, plan.nonce)
    is_template = call.operation == "create_launch_template"
    if plan.nonce and (own.has_template if is_template else own.group is not None):
        return
    what = "launch template" if is_template else "Auto Scaling group"
    raise CloudError(
        f"Another start of this job is under way: the {what} {plan.name} has just been made by it. Look with `sc ps`, "
        "and start the job again when that one has ended; nothing of it was changed."
    )
