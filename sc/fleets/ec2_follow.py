"""Staying with a launch until its first worker has reported, or until the boots have failed alike.

group made ─▶ instance started ─▶ bootstrap ─▶ a heartbeat below workers/        good
                                          └──▶ logs/<instance id> that says failed, or an instance that is
                                               gone without a word                 bad, when it happened twice
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from sc import paths
from sc.errors import CloudError
from sc.fleets import Tell
from sc.fleets.bootstrap import FAILED, MARK
from sc.fleets.ec2_aws import Aws, Call
from sc.fleets.ec2_found import find_by_name
from sc.fleets.ec2_names import group_name
from sc.heartbeats import heartbeat_of
from sc.storage import Storage

POLL_SECONDS = 3.0
REMIND_SECONDS = 60.0
LAST_LINES = 15
_CONSOLE_TRIES = 10
"""The console's output of an instance that just ended takes some seconds to arrive, at times longer."""


@dataclass
class Following:
    """One launch that somebody waits for. Reads AWS and the storage, changes nothing."""

    aws: Aws
    storage: Storage
    job_url: str
    machines: int
    earlier: frozenset[str]
    """Instances of an attempt before this one. One that ended a second ago has left a young heartbeat."""
    tell: Tell
    now: Callable[[], float]
    sleep: Callable[[float], None]
    _told: set[str] = field(default_factory=set)
    _failed: dict[str, str] = field(default_factory=dict)
    """Instance id -> the last lines of its boot."""

    def until_first_report(self) -> Optional[str]:
        """None when a worker has reported; a sentence, with what the machines said, when their boots failed."""
        start = reminded = self.now()
        while True:
            worker = self._reported(start)
            if worker:
                self._once(f"The first worker is at work: {worker}")
                return None
            self._look_at_machines()
            hopeless = self._look_at_activities()
            if hopeless:
                return hopeless
            if len(self._failed) >= min(2, self.machines):
                return self._verdict()
            if self.now() - reminded >= REMIND_SECONDS:
                reminded = self.now()
                self.tell(f"Still waiting for the first worker, since {int(reminded - start)} s")
            self.sleep(POLL_SECONDS)

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

    def _look_at_machines(self) -> None:
        for instance in find_by_name(self.aws, group_name(self.job_url)).instances:
            identity, state = instance["InstanceId"], instance["State"]["Name"]
            if identity in self.earlier or identity in self._failed:
                continue
            kind, zone = instance["InstanceType"], instance["Placement"]["AvailabilityZone"]
            self._once(f"Instance {identity} ({kind}, {zone}) was started")
            if state == "running":
                self._once(f"Instance {identity} runs its bootstrap")
            log = self._failed_log(identity)
            if log or state in ("shutting-down", "terminated"):
                self._once(f"The boot of {identity} failed")
                self._failed[identity] = log or self._console(identity)

    def _failed_log(self, identity: str) -> str:
        place = paths.log(self.job_url, identity)
        if self.storage.stat(place) is None:
            return ""
        text = self.storage.get(place, -20000).decode("utf-8", "replace")
        return text if FAILED in text else ""

    def _look_at_activities(self) -> Optional[str]:
        """Tell why AWS starts no machine (no capacity, say); a sentence if it never will."""
        asked = {"AutoScalingGroupName": group_name(self.job_url), "MaxRecords": 20}
        try:
            activities = self.aws.send(Call("autoscaling", "describe_scaling_activities", asked))
        except CloudError as error:
            self._once(str(error))
            return None
        for activity in activities["Activities"]:
            if activity["StatusCode"] not in ("Failed", "Cancelled"):
                continue
            said = str(activity.get("StatusMessage", ""))
            if is_hopeless(said):
                return f"AWS cannot start these machines: {said}"
            self._once(f"AWS could not start a machine yet, and goes on trying: {said}")
        return None

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
        shown = "\n".join(
            f"--- {identity}:\n{last_lines(text)}"
            for identity, text in list(self._failed.items())[:1]
        )
        reasons = sorted({reason(text) for text in self._failed.values()} - {""})
        word = "machine" if len(self._failed) == 1 else "machines"
        why = f": {'; '.join(reasons)}" if reasons else ""
        return f"{len(self._failed)} {word} came up and failed before doing any work{why}\n{shown}"

    def _once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
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
    said = [line for line in text.splitlines() if FAILED in line]
    return said[-1].split(FAILED, 1)[1].strip() if said else ""


def last_lines(text: str) -> str:
    """The last lines, without what a terminal would obey."""
    lines = [line for line in text.splitlines() if line.strip()][-LAST_LINES:]
    return "\n".join(
        "".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in lines
    )


_HOPELESS = (
    "not authorized",
    "UnauthorizedOperation",
    "Invalid IAM Instance Profile",
    "does not exist",
    "not supported",
    "VcpuLimitExceeded",
    "vCPU limit",
    "Client.InternalError",
    "Client.InvalidKMSKey",
    "OptInRequired",
)


def is_hopeless(message: str) -> bool:
    """Whether AWS would say the same for ever. Lack of capacity is not hopeless: it comes and goes."""
    return any(words in message for words in _HOPELESS)
