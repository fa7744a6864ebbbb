"""Staying with a launch until its first worker has reported, or until the boots have failed alike.

group made ─▶ instance started ─▶ bootstrap ─▶ a heartbeat below workers/        good
         │                                └──▶ logs/<instance id> that says failed, or an instance that is
         │                                     gone, or stopped, without a word    bad, when it happened twice
         └──▶ AWS refuses to start machines, in a way that does not pass           bad, when nothing is alive
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from sc import paths
from sc.errors import CloudError
from sc.fleets import Tell
from sc.fleets.bootstrap import FAILED, MARK
from sc.fleets.ec2_aws import Aws, Call
from sc.fleets.ec2_found import Found, find_by_name
from sc.fleets.ec2_names import group_name
from sc.fleets.ec2_refusals import (
    cannot_start,
    is_about_one_zone,
    launch_failure,
    readable,
    refusal_of,
)
from sc.heartbeats import heartbeat_of
from sc.storage import Storage

POLL_SECONDS = 3.0
REMIND_SECONDS = 60.0
SETTLE_SECONDS = 20.0
"""For so long nothing must be alive before a refusal counts for all machines: AWS starts them one by one, and tells of
each a moment later."""
LAST_LINES = 15
_CONSOLE_TRIES = 10
"""The console's output of an instance that just ended takes some seconds to arrive, at times longer."""
_AWS_ENDED = "AWS ended it before it had begun"
_STOPPED = ("stopping", "stopped")
"""AWS has not taken over `InstanceInitiatedShutdownBehavior`, or somebody has stopped it: it will not go by itself, and
its disk costs."""
_OVER = ("Successful", "Failed", "Cancelled")
"""Status codes of activities that have ended: docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html"""


@dataclass
class Following:
    """One launch that somebody waits for. Reads AWS and the storage; ends instances that have stopped, and changes
    nothing else."""

    aws: Aws
    storage: Storage
    job_url: str
    machines: int
    earlier: frozenset[str]
    """Instances of an attempt before this one. One that ended a second ago has left a young heartbeat."""
    tell: Tell
    now: Callable[[], float]
    sleep: Callable[[float], None]
    nonce: str = ""
    """Of the launch; empty: of any."""
    _told: set[str] = field(default_factory=set)
    _failed: dict[str, str] = field(default_factory=dict)
    """Instance id -> the last lines of its boot."""
    _refused: str = ""
    """The sentence of the latest refusal that does not pass."""
    _start: float = 0.0
    _refused_at: Optional[float] = None
    """When such a refusal was seen first and nothing was alive."""
    _gone_at: Optional[float] = None
    _had_group: bool = False

    def until_first_report(self) -> Optional[str]:
        """None when a worker has reported; a sentence, with what the machines said, when their boots failed, or when
        AWS will start none."""
        self._start = reminded = self.now()
        while True:
            worker = self._reported(self._start)
            if worker:
                self._look_at_activities(self._find())
                self._once(f"The first worker is at work: {worker}")
                return None
            trouble = self._look()
            if trouble:
                return trouble
            if self.now() - reminded >= REMIND_SECONDS:
                reminded = self.now()
                self.tell(
                    f"Still waiting for the first worker, since {int(reminded - self._start)} s"
                )
            self.sleep(POLL_SECONDS)

    def _find(self) -> Found:
        return find_by_name(self.aws, group_name(self.job_url), self.nonce)

    def _look(self) -> Optional[str]:
        """What there is now: a sentence if there is no hope."""
        found = self._find()
        self._had_group = self._had_group or found.group is not None
        alive = self._look_at_machines(found)
        is_starting = self._look_at_activities(found)
        own = [text for text in self._failed.values() if not text.startswith(_AWS_ENDED)]
        if len(own if alive else self._failed) >= min(2, self.machines):
            return self._verdict()
        if alive or is_starting:
            self._refused_at = None if alive else self._refused_at
            self._gone_at = None
            return None
        return self._hopeless(found)

    def _hopeless(self, found: Found) -> Optional[str]:
        """Nothing is alive: a sentence if nothing will be."""
        if self._refused:
            self._refused_at = self.now() if self._refused_at is None else self._refused_at
            if self.now() - self._refused_at >= SETTLE_SECONDS:
                return self._verdict() if self._failed else self._refused
        wants_some = found.group is not None and found.group.get("DesiredCapacity", 1) > 0
        if wants_some or not self._had_group:
            self._gone_at = None
            return None
        self._gone_at = self.now() if self._gone_at is None else self._gone_at
        if self.now() - self._gone_at < SETTLE_SECONDS:
            return None
        return (
            "The machines' Auto Scaling group is gone, or wants none any more: somebody has stopped this job, "
            "or max_hours are over."
        )

    def _reported(self, start: float) -> str:
        """The id of a worker whose heartbeat is younger than this launch, or "". One that could not begin reports
        that too, and then its log tells why."""
        for entry in self.storage.list(paths.join(self.job_url, "workers")):
            if entry.age_seconds > self.now() - start + POLL_SECONDS:
                continue
            heartbeat = heartbeat_of(self.storage.get(entry.place))
            if heartbeat is None or heartbeat.machine in self.earlier:
                continue
            if heartbeat.state not in ("failed", "interrupted"):
                return heartbeat.worker
        return ""

    def _look_at_machines(self, found: Found) -> bool:
        """Tell what is new. True if one of this launch is alive."""
        is_alive = False
        for instance in found.instances:
            identity, state = instance["InstanceId"], instance["State"]["Name"]
            if identity in self.earlier or identity in self._failed:
                continue
            kind, zone = instance["InstanceType"], instance["Placement"]["AvailabilityZone"]
            self._once(f"Instance {identity} ({kind}, {zone}) was started")
            if state == "running":
                self._once(f"Instance {identity} runs its bootstrap")
            if state in _STOPPED:
                self._end_stopped(identity)
            log = self._failed_log(identity)
            if log or state in ("shutting-down", "terminated", *_STOPPED):
                self._once(f"The boot of {identity} failed")
                self._failed[identity] = log or self._last_words(instance)
            else:
                is_alive = True
        return is_alive

    def _end_stopped(self, identity: str) -> None:
        self._once(
            f"Instance {identity} has stopped instead of ending, and its disk costs: ending it"
        )
        try:
            self.aws.send(Call("ec2", "terminate_instances", {"InstanceIds": [identity]}))
        except CloudError as error:
            self._once(str(error))

    def _last_words(self, instance: dict[str, Any]) -> str:
        """Of one that has left no log: why AWS has ended it, or its console."""
        why = launch_failure(instance)
        if not why:
            return self._console(instance["InstanceId"])
        refusal = refusal_of(why)
        if refusal is not None:
            self._refused = cannot_start(why, refusal)
        return f"{_AWS_ENDED}: {why}"

    def _failed_log(self, identity: str) -> str:
        place = paths.log(self.job_url, identity)
        if self.storage.stat(place) is None:
            return ""
        text = self.storage.get(place, -20000).decode("utf-8", "replace")
        return text if FAILED in text else ""

    def _look_at_activities(self, found: Found) -> bool:
        """Tell, once, why AWS starts no machine (no capacity, say), and keep what it will say for ever. True if it is
        about to start one."""
        if found.group is None and self._had_group:
            return False
        asked = {"AutoScalingGroupName": group_name(self.job_url), "MaxRecords": 20}
        try:
            activities = self.aws.send(Call("autoscaling", "describe_scaling_activities", asked))
        except CloudError as error:
            self._once(str(error))
            return False
        ours = [one for one in activities["Activities"] if _is_of(one, found)]
        failed = [one for one in ours if one["StatusCode"] in ("Failed", "Cancelled")]
        self._weigh([readable(str(one.get("StatusMessage", ""))) for one in failed])
        return any(
            one["StatusCode"] not in _OVER
            and str(one.get("Description", "")).startswith("Launching")
            for one in ours
        )

    def _weigh(self, messages: Sequence[str]) -> None:
        """`messages` of failed activities, the newest first: that one tells how things are now."""
        newest = True
        for said in messages:
            refusal = refusal_of(said)
            if refusal and self.now() - self._start < refusal.patience_seconds:
                refusal = None
            if newest and not is_about_one_zone(said):
                newest = False
                self._refused = cannot_start(said, refusal) if refusal else ""
            step = f" {refusal.next_step}" if refusal else ""
            self._once(
                f"AWS could not start a machine yet, and goes on trying: {said}{step}",
                of=refusal.next_step if refusal else re.sub(r"\d", "", said),
            )

    def _console(self, identity: str) -> str:
        """What the bootstrap said on the console, for want of a log."""
        asked: dict[str, Any] = {"InstanceId": identity, "Latest": True}
        for _ in range(_CONSOLE_TRIES):
            try:
                answer = self.aws.send(Call("ec2", "get_console_output", asked))
            except CloudError as error:
                if not asked.pop("Latest", False):  # which only Nitro instances know
                    return str(error)
                continue
            text = decoded(answer)
            if MARK in text:
                return text
            self.sleep(POLL_SECONDS)
        return "It ended without a log and without a word on its console."

    def _verdict(self) -> str:
        """Of boots that failed; what AWS has to say goes first."""
        if self._refused and all(text.startswith(_AWS_ENDED) for text in self._failed.values()):
            return self._refused
        shown = "\n".join(
            f"--- {identity}:\n{last_lines(text)}"
            for identity, text in list(self._failed.items())[:1]
        )
        reasons = sorted({reason(text) for text in self._failed.values()} - {""})
        word = "machine" if len(self._failed) == 1 else "machines"
        why = f": {'; '.join(reasons)}" if reasons else ""
        told = f"{len(self._failed)} {word} came up and failed before doing any work{why}\n{shown}"
        return f"{told}\n{self._refused}" if self._refused else told

    def _once(self, line: str, of: str = "") -> None:
        """`of`: what the line is about, where each of them is a little different."""
        if (of or line) not in self._told:
            self._told.add(of or line)
            self.tell(line)


def decoded(answer: dict[str, Any]) -> str:
    """The text of a console; botocore decodes it already, a stand-in may not."""
    text = str(answer.get("Output") or "")
    if MARK not in text:
        try:
            return base64.b64decode(text, validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return text
    return text


def reason(text: str) -> str:
    """Why a boot failed, out of what it printed, or ""."""
    if text.startswith(_AWS_ENDED):
        return text
    said = [line for line in text.splitlines() if FAILED in line]
    return said[-1].split(FAILED, 1)[1].strip() if said else ""


def last_lines(text: str) -> str:
    """The last lines, without what a terminal would obey."""
    lines = [line for line in text.splitlines() if line.strip()][-LAST_LINES:]
    return "\n".join(
        "".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in lines
    )


def _is_of(activity: dict[str, Any], found: Found) -> bool:
    """Whether an activity is of this launch, and not of a group that had the name before: by AWS's own times."""
    made, began = (found.group or {}).get("CreatedTime"), activity.get("StartTime")
    if made is None or began is None:
        return True
    return float(began.timestamp()) > float(made.timestamp()) - 1.0
