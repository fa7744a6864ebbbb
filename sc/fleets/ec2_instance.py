"""What a worker on EC2 asks of the machine that it runs on. For `sc work JOB_URL --fleet ec2`.

    here = InstanceSide.on_this_machine(job_url)
    here.id, here.kind          what to call this worker and its machine in heartbeats
    here.proved()               once, when the start script has passed and the first part is taken
    here.notice()               every 5 seconds or so: a Notice that this machine will be taken away, or None
    here.leave(job_over, tell)  at the end, whatever the reason: this machine goes, for good
    here.give_back(tell)        instead of `leave`, when work is left and AWS shall bring another machine
    here.alive()                every minute or so while work goes on, for the guard (see `bootstrap`)
    here.end_other(id, …)       for a machine of this job that hangs

The bootstrap's part of the bargain: whenever the worker ends, the machine powers itself off, and that
terminates it. A worker that ends with a code other than 0 has its log stored under `logs/<instance id>`; if it
had not called `proved` yet, that boot is counted as failed and its place in the group is given up.

AWS replaces lost machines only after somebody has called `proved` (see `ec2_requests`): until then a boot that
always fails cannot start machines for ever, even if nobody watches.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Callable, NamedTuple, Optional, Protocol

from sc.errors import CloudError
from sc.fleets import Tell
from sc.fleets.ec2_aws import Aws, AwsRefused, Boto3, Call
from sc.fleets.ec2_found import find_by_name
from sc.fleets.ec2_names import group_name
from sc.fleets.ec2_patience import Patient
from sc.fleets.ec2_remove import GONE, Removal

READY_FILE = "/var/lib/sc/ready"
"""There once the worker has proved that this image boots; the bootstrap's watchdog looks for it."""
LEFT_FILE = "/var/lib/sc/left"
"""There once the worker has nothing more to do; its end may come before it has exited, and is no failure then."""
LIFE_FILE = "/run/sc/life"
"""Holds the seconds of /proc/uptime at which work last went on here; the bootstrap's guard looks at it."""
METADATA = "http://169.254.169.254"
REBALANCE = "rebalance"
_LONGEST_ANSWER = 1 << 20
ENDS_PER_SECOND = 10.0
"""So many workers of a job may ask AWS for their ends in a second, by the choice of a random pause."""
LONGEST_SPREAD_SECONDS = 60.0
START_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between a worker's tries to learn from its metadata service where it is, as long as that is only late."""


class Notice(NamedTuple):
    """This machine is going to be taken away."""

    kind: str
    """`interruption` (spot, certain), `rebalance` (spot, likely, no date), `ending` (the group ends it)."""
    seconds_left: Optional[float]
    """How long runs may go on; None where nobody knows, and then they may finish."""


class Metadata:
    """The instance metadata service, version 2. Asked with urllib alone: a poll must cost nothing."""

    def __init__(self, endpoint: str = METADATA, seconds: float = 2.0) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._seconds = seconds
        self._token = ""

    def get(self, path: str) -> Optional[str]:
        """The text at a path, or None where there is nothing. Raises OSError when the service is away."""
        for _ in range(2):  # a token lives six hours, a worker may live longer: 401 means a new one
            try:
                return self._ask(
                    "GET", path, {"X-aws-ec2-metadata-token": self._token or self._renew()}
                )
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 404:
                    return None
                if error.code != 401:
                    raise
                self._token = ""
        return None

    def _renew(self) -> str:
        seconds = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
        self._token = self._ask("PUT", "api/token", seconds)
        return self._token

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(
            f"{self._endpoint}/latest/{path}", headers=headers, method=method
        )
        # No proxy, whatever the environment says: the address is the machine's own.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=self._seconds) as answer:
                return str(answer.read(_LONGEST_ANSWER).decode())
        except http.client.HTTPException as error:
            # Something else than HTTP: no service of Amazon's.
            raise OSError(f"the answer is none ({type(error).__name__})") from error


class Reads(Protocol):
    def get(self, path: str) -> Optional[str]: ...


class InstanceSide:
    """The worker's view of its own EC2 instance."""

    def __init__(
        self,
        job_url: str,
        metadata: Reads,
        aws: Optional[Callable[[str], Aws]] = None,
        ready_file: str = READY_FILE,
        left_file: str = LEFT_FILE,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        life_file: str = LIFE_FILE,
        random: Optional[Random] = None,
    ) -> None:
        identity = _identity(metadata.get("dynamic/instance-identity/document") or "{}")
        self.id = str(identity.get("instanceId") or metadata.get("meta-data/instance-id") or "")
        self.kind = str(
            identity.get("instanceType") or metadata.get("meta-data/instance-type") or ""
        )
        self.region = str(
            identity.get("region") or metadata.get("meta-data/placement/region") or ""
        )
        if not self.id or not self.region:
            raise CloudError(
                "This is no EC2 instance: its metadata service tells no id or region. "
                "`sc work JOB_URL` without --fleet ec2 works anywhere."
            )
        self.group = group_name(job_url)
        self._metadata = metadata
        self._connect = aws or Boto3
        self._aws: Optional[Aws] = None
        self._ready_file, self._left_file, self._life_file = ready_file, left_file, life_file
        self._random = random or Random()
        self._now = now
        self._sleep = sleep

    @classmethod
    def on_this_machine(
        cls, job_url: str, pauses: Sequence[float] = START_PAUSES, seconds: float = 2.0
    ) -> InstanceSide:
        """Raises CloudError where there is no metadata service; one that is only late is asked again."""
        endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA
        left = list(pauses)
        while True:
            try:
                return cls(job_url, Metadata(endpoint, seconds))
            except (OSError, ValueError) as error:
                if not left or not _is_late(error):
                    raise CloudError(
                        f"This is no EC2 instance: its metadata service does not answer ({error}). "
                        "`sc work JOB_URL` without --fleet ec2 works anywhere."
                    ) from error
                time.sleep(left.pop(0))

    def notice(self) -> Optional[Notice]:
        """Whether this machine is going to be taken away. One or a few requests to the machine's own metadata
        service; silence there is no notice, and never an error."""
        try:
            action = self._metadata.get("meta-data/spot/instance-action")
            if action:
                return Notice("interruption", self._seconds_until(action))
            if self._metadata.get("meta-data/autoscaling/target-lifecycle-state") == "Terminated":
                return Notice("ending", None)
            if self._metadata.get("meta-data/events/recommendations/rebalance"):
                return Notice(REBALANCE, None)
        except (OSError, ValueError):
            return None
        return None

    def proved(self) -> None:
        """This image boots and does the job's work: from now on AWS replaces what is lost.

        Never raises; a refusal only means that lost machines are not replaced, and is returned by `refused`.
        """
        self.alive()
        _touch(self._ready_file)
        asked = {"AutoScalingGroupName": self.group, "ScalingProcesses": ["ReplaceUnhealthy"]}
        resume = Call("autoscaling", "resume_processes", asked)
        self.refused = self._try(
            resume, self._connect(self.region)
        )  # claims are to be renewed: no patience

    def alive(self) -> None:
        """Work goes on here. Never raises: always the same few bytes, which a disk without room takes as well."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open("/proc/uptime", encoding="ascii") as file:
                text = b"%10d\n" % int(float(file.read().split()[0]))
            os.makedirs(os.path.dirname(self._life_file), exist_ok=True)
            descriptor = os.open(self._life_file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.pwrite(descriptor, text, 0)
            finally:
                os.close(descriptor)

    def end_other(self, instance_id: str, is_replaced: bool, tell: Tell) -> None:
        """End another machine of this job, which hangs; with a new one in its place, or without. Never raises.

        It is left alone unless it belongs to the job's own group, and is not on its way out.
        """
        named = {"AutoScalingGroupNames": [self.group]}
        try:
            # One of its own, as this may be called from a thread.
            aws = Patient(self._connect(self.region), self._sleep, self._random)
            found = aws.send(Call("autoscaling", "describe_auto_scaling_groups", named))
            states = {
                one["InstanceId"]: str(one.get("LifecycleState", ""))
                for group in found["AutoScalingGroups"]
                if group["AutoScalingGroupName"] == self.group
                for one in group["Instances"]
            }
            if states.get(instance_id, "Terminated").startswith("Terminat"):
                return
            aws.send(_end(instance_id, decrement=not is_replaced))
        except CloudError as error:
            tell(f"{instance_id} says nothing any more, and could not be ended: {error}")
        else:
            tell(f"{instance_id} has said nothing for 15 minutes, and was ended")

    refused: Optional[str] = None
    """Why `proved` or `leave` could not do all that they should, as a sentence for the log."""

    def leave(self, job_over: bool, tell: Tell, workers: int = 1) -> None:
        """End this machine without a replacement. `job_over`: every part is done or lost, or `stop` is there.
        `workers`: so many may do the same now, which are spread over a moment.

        When the job is over, one of the machines still there stays till the others are gone, and then removes the
        group and the security group: the one that could delete the launch template, which AWS lets only one do. (To
        choose it by looking at who is there would miss one that is just leaving because it found nothing to take.)
        Returns quickly or after some minutes; the caller then just exits. Never raises.
        """
        _touch(self._left_file)
        self._spread(workers)
        try:
            if job_over and self._is_mine_to_remove():
                tell(f"The job is over: {self.id} removes what was made for it")
                removal = Removal.from_now(self._cloud(), tell, self._now, self._sleep)
                found = find_by_name(self._cloud(), self.group)
                for sentence in removal.from_inside(found, self.id):
                    tell(sentence)
                return
        except CloudError as error:
            self.refused = str(error)
            tell(self.refused)
        self._end_myself(decrement=True, tell=tell)

    def give_back(self, tell: Tell, workers: int = 1) -> None:
        """End this machine and let AWS bring another in its place (spot notice, or a machine that is unwell)."""
        _touch(self._left_file)
        self._spread(workers)
        self._end_myself(decrement=False, tell=tell)

    def _is_mine_to_remove(self) -> bool:
        template = {"LaunchTemplateName": self.group}
        try:
            self._cloud().send(Call("ec2", "delete_launch_template", template))
        except AwsRefused as error:
            if error.code in GONE:
                return False
            raise
        return True

    def _spread(self, workers: int) -> None:
        longest = min(workers / ENDS_PER_SECOND, LONGEST_SPREAD_SECONDS)
        if longest > 1.0:
            self._sleep(self._random.uniform(0.0, longest))

    def _end_myself(self, decrement: bool, tell: Tell) -> None:
        trouble = self._try(_end(self.id, decrement))
        if trouble:  # powering off ends the machine all the same; AWS may then bring another, which leaves in turn
            self.refused = trouble
            tell(trouble)

    def _try(self, call: Call, aws: Optional[Aws] = None) -> Optional[str]:
        try:
            (aws or self._cloud()).send(call)
        except CloudError as error:
            return str(error)
        return None

    def _cloud(self) -> Aws:
        if self._aws is None:
            self._aws = Patient(self._connect(self.region), self._sleep, self._random)
        return self._aws

    def _seconds_until(self, action: str) -> float:
        import datetime

        try:
            moment = str(json.loads(action)["time"]).replace("Z", "+00:00")
            return datetime.datetime.fromisoformat(moment).timestamp() - self._now()
        except (LookupError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError("an action without a time") from error


def _end(instance_id: str, decrement: bool) -> Call:
    asked = {"InstanceId": instance_id, "ShouldDecrementDesiredCapacity": decrement}
    return Call("autoscaling", "terminate_instance_in_auto_scaling_group", asked)


def _is_late(error: Exception) -> bool:
    """There is a service, or may be one, that has more to do than to answer."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code == 429 or error.code >= 500
    return isinstance(getattr(error, "reason", error), socket.timeout)


def _identity(text: str) -> Mapping[str, Any]:
    """What a machine of EC2 tells of itself; nothing, if it is something else. Raises ValueError for no JSON."""
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested without an end") from error
    return document if isinstance(document, dict) else {}


def _touch(path: str) -> None:
    """A disk that is full must not keep a machine alive."""
    with contextlib.suppress(OSError), open(path, "a", encoding="ascii"):
        pass
