"""Turns instances into machines, and what happens to machines into states of instances.

      moto ── launched, ending ──▶ Hypervisor ── boot, power_off, cut_power ──▶ Machine
        ◀── running, terminated ───────┘  ◀── its sockets, its end ────────────────┘

One thread does all of it; machines die with that thread. What it changes in moto it changes under `lock`.
"""

from __future__ import annotations

import select
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional

from moto.ec2.models.instances import StateReason

from tests.cloud import gate, machine
from tests.cloud.corrections import set_state
from tests.cloud.gate import Gate
from tests.cloud.imds import Metadata, stamp
from tests.cloud.machine import Blueprint, Machine

TICK_SECONDS = 0.1
SHUTDOWN_SECONDS = 5.0
"""After the power button, until the plug is pulled."""


@dataclass
class Boot:
    """One instance, from its launch on: what `Cloud.instances()` tells. Times are Unix seconds."""

    instance_id: str
    instance_type: str
    zone: str
    image_id: str
    spot: bool
    group: Optional[str]
    launched_at: float
    instance: Any = field(repr=False)
    """moto's."""
    booted_at: Optional[float] = None
    ended_at: Optional[float] = None
    end: Optional[str] = None
    """`off` (it switched itself off), `terminated` (over the API), `spot`, `power cut` or `lost`."""
    machine: Optional[Machine] = field(default=None, repr=False)
    metadata: Optional[Metadata] = field(default=None, repr=False)
    gates: dict[str, Gate] = field(default_factory=dict, repr=False)
    """`s3` and `aws`."""

    @property
    def state(self) -> str:
        return str(self.instance.state)

    @property
    def began_at(self) -> Optional[float]:
        """When its user-data began."""
        return self.machine.began_at if self.machine else None

    @property
    def user_data_code(self) -> Optional[int]:
        """With which its user-data ended, if it has."""
        return self.machine.user_data_code if self.machine else None

    @property
    def alive(self) -> bool:
        return self.booted_at is not None and self.ended_at is None

    def console(self) -> str:
        return (
            self.machine.console().decode(errors="replace").replace("\r\n", "\n")
            if self.machine
            else ""
        )


@dataclass
class Hypervisor:
    folder: Path
    lock: threading.RLock
    prepare: Callable[[Boot], tuple[Blueprint, Metadata, dict[str, Gate]]]
    """What a machine for this instance is made of; `listen` is that of IMDS, and those of the gates in order."""
    tick: Callable[[], None]
    """What else is to do in the world, under the lock."""
    boots: dict[str, Boot] = field(default_factory=dict)
    """By instance id, in the order of their launches. Nothing is ever removed."""
    most_alive: int = 0
    errors: list[str] = field(default_factory=list)
    """What went wrong in the box itself, also that something outlived its machine."""
    _ends: dict[str, float] = field(default_factory=dict)
    """When the plug is pulled, by the monotonic clock."""
    _reclaims: dict[str, float] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: Optional[threading.Thread] = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="hypervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all machines, now."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=60)
        self.errors.extend(f"outlived its machine: {one}" for one in self.processes())
        for boot in self.boots.values():
            if boot.machine is not None:
                boot.machine.forget()

    def processes(self) -> list[str]:
        """What runs on this host and belongs to a machine."""
        booted = [(boot.instance_id, boot.machine) for boot in self.boots.values() if boot.machine]
        return [f"{pid} of {name}" for name, one in booted for pid in one.processes()]

    # What the corrected moto tells and asks (see `corrections.Machines`).

    def launched(self, instance: Any) -> None:
        tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
        self.boots[instance.id] = Boot(
            instance_id=instance.id,
            instance_type=instance.instance_type,
            zone=instance.placement.zone,
            image_id=instance.image_id,
            spot=instance.lifecycle == "spot",
            group=tags.get("aws:autoscaling:groupName"),
            launched_at=time.time(),
            instance=instance,
        )

    def ending(self, instance: Any) -> None:
        boot = self.boots[instance.id]
        boot.end = boot.end or "terminated"
        self._ends[instance.id] = time.monotonic() + SHUTDOWN_SECONDS
        if boot.machine is not None:
            boot.machine.power_off()

    def console(self, instance_id: str) -> bytes:
        found = self.boots[instance_id].machine
        return found.console() if found else b""

    # What a test does to a machine.

    def cut_power(self, instance_ids: Sequence[str]) -> None:
        """All of them are gone, and known to be, on return."""
        with self.lock:
            boots = [self.boots[instance_id] for instance_id in instance_ids]
            for boot in boots:
                if boot.machine is None:
                    raise ValueError(f"{boot.instance_id} has not booted")
                boot.end = boot.end or "power cut"
                boot.machine.cut_power()
            for boot in boots:
                self._look_at(boot)

    def spot_notice(self, instance_id: str, seconds: float) -> None:
        metadata = self.boots[instance_id].metadata
        if metadata is None:
            raise ValueError(f"{instance_id} has not booted")
        when = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        metadata.action = {"action": "terminate", "time": stamp(when)}
        self._reclaims[instance_id] = time.monotonic() + seconds

    # The thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - told by whoever waits for something
                self.errors.append(traceback.format_exc())
                self._stopping.wait(TICK_SECONDS)
        for boot in self._alive():
            if boot.machine is not None:
                boot.machine.cut_power()
                self._unplug(boot)

    def _turn(self) -> None:
        with self.lock:
            new = [
                boot
                for boot in self.boots.values()
                if boot.machine is None and boot.ended_at is None
            ]
        for boot in new:
            self._boot(boot)
        with self.lock:
            for boot in list(self._alive()):
                self._look_at(boot)
            self._reclaim_what_is_due()
            self.tick()
        controls = [boot.machine.control for boot in self._alive() if boot.machine]
        select.select([one for one in controls if one.fileno() >= 0], [], [], TICK_SECONDS)

    def _alive(self) -> Iterator[Boot]:
        return (boot for boot in list(self.boots.values()) if boot.alive)

    def _boot(self, boot: Boot) -> None:
        with self.lock:
            if boot.state != "pending":
                boot.ended_at = time.time()
                set_state(boot.instance, "terminated")
                return
            blueprint, boot.metadata, boot.gates = self.prepare(boot)
        boot.machine = machine.boot(blueprint, self.folder / boot.instance_id)
        boot.booted_at = time.time()
        self.most_alive = max(self.most_alive, len(list(self._alive())))

    def _look_at(self, boot: Boot) -> None:
        found = boot.machine
        if found is None or not boot.alive:
            return
        had_sockets = bool(found.sockets)
        code = found.poll()
        if found.sockets and not had_sockets:
            self._plug_in(boot)
        if code is not None:
            self._unplug(boot)
            self._settle(boot, code)
        elif time.monotonic() > self._ends.get(boot.instance_id, float("inf")):
            found.cut_power()

    def _plug_in(self, boot: Boot) -> None:
        if boot.machine is None or boot.metadata is None:
            return
        handlers = [boot.metadata.handler(), *(one.handler() for one in boot.gates.values())]
        for listening, handler in zip(boot.machine.sockets, handlers):
            gate.serve(listening, handler)
        if boot.state == "pending":
            set_state(boot.instance, "running")

    def _unplug(self, boot: Boot) -> None:
        boot.ended_at = time.time()
        for one in boot.gates.values():
            one.close()
        if boot.machine is not None:
            for listening in boot.machine.sockets:
                gate.hang_up(listening)
            boot.machine.close()

    def _settle(self, boot: Boot, code: int) -> None:
        """The instance's state after its machine's end."""
        instance = boot.instance
        if boot.end is None:
            boot.end = "off" if code == 0 else "lost"
        if instance.state == "stopping" or (
            boot.end == "off" and instance.instance_initiated_shutdown_behavior == "stop"
        ):
            set_state(instance, "stopped")
            return
        instance.terminate()
        set_state(instance, "terminated")
        reason = _REASONS.get(boot.end)
        if reason:
            instance.state_reason = StateReason(f"{reason[0]}: {reason[1]}", reason[0])

    def _reclaim_what_is_due(self) -> None:
        for instance_id, due in list(self._reclaims.items()):
            if time.monotonic() >= due:
                del self._reclaims[instance_id]
                boot = self.boots[instance_id]
                if boot.alive:
                    boot.end = boot.end or "spot"
                    with suppress(KeyError):
                        boot.instance.terminate()


_REASONS = {
    "off": ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown"),
    "spot": ("Server.SpotInstanceTermination", "Spot instance termination"),
    "power cut": ("Server.InternalError", "Internal error on launch"),
    "lost": ("Server.InternalError", "Internal error on launch"),
}
