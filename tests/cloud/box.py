"""The cloud in a box.

    laptop ──────────────▶ Front ─▶ moto (EC2, Auto Scaling, IAM, SSM, STS), corrected
      │                      ▲         ▲ launched, ended
      │        ┌── aws gate ─┘     Hypervisor ─▶ machines, each with an IMDS
      ▼        │                       ▲
    SeaweedFS ◀┴── s3 gate ─── a machine's only ways out

`with Cloud(folder, s3) as cloud:` starts it, and leaves nothing behind. `cloud.environment()` is what `sc` on the
laptop needs to be in it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional, Union
from urllib.parse import urlsplit

from moto.autoscaling.models import autoscaling_backends
from moto.core.base_backend import BackendDict
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.cloud import account, corrections, permissions, roots, scaling, signing
from tests.cloud.front import LAPTOP, Call, Front
from tests.cloud.gate import Gate, Refusal
from tests.cloud.groups import Groups
from tests.cloud.hypervisor import Boot, Hypervisor
from tests.cloud.imds import Metadata
from tests.cloud.machine import Blueprint
from tests.cloud.permissions import Attempt
from tests.cloud.signing import Credentials, Request
from tests.servers import ACCESS_KEY, SECRET_KEY, S3Server

REGION = account.REGION
MOTO_SERVICES = ("autoscaling", "ec2", "iam", "ssm", "sts")


class Cloud:
    """Everything a test asks of the box. `front` has the API's calls, hooks and faults."""

    def __init__(self, folder: Path, s3: S3Server, root: str = "bullseye") -> None:
        self.folder, self.s3, self.root = folder, s3, root
        """`root` is what machines of any but the box's own images boot from (see `roots`)."""
        self.lock = threading.RLock()
        self.groups = Groups(_scaling_backends, self.now)
        self.hypervisor = Hypervisor(
            folder / "machines", self.lock, self._prepare, self.groups.tick
        )
        self.front = Front(
            DomainDispatcherApplication(create_backend_app),
            self.lock,
            self._caller_of,
            self._allow,
            {**dict.fromkeys(MOTO_SERVICES), "pricing": account.price_list},
        )
        self.systemd: Callable[[], bool] = lambda: True
        """Whether a machine has it; asked at the first boot of each."""
        self.enforce_policies = True
        """Whether a machine may do only what its role's policies say."""
        self.s3_requests: list[tuple[str, str, str]] = []
        """(instance id, method, path and query) of each request that a machine made to S3."""
        self._ahead = timedelta()
        self._images: dict[str, str] = {}
        self._roles: dict[str, Credentials] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Cloud:
        with contextlib.ExitStack() as undo:
            BackendDict.reset()
            undo.callback(BackendDict.reset)
            changes = corrections.ec2(self.hypervisor) + scaling.changes(self.groups)
            undo.enter_context(corrections.corrected(changes))
            self._images = account.furnish(roots.VARIANTS)
            server = make_server("127.0.0.1", 0, self.front, True, request_handler=_Quiet)
            self.url = f"http://127.0.0.1:{server.server_port}"
            threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
            undo.callback(server.server_close)
            undo.callback(server.shutdown)
            self.hypervisor.start()
            undo.callback(self.hypervisor.stop)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    # How to be in it.

    def environment(self) -> dict[str, str]:
        """The environment of a program on the laptop, whole: nothing of this process's but PATH and HOME."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {
            **kept,
            **self.s3.environment(),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_S3": self.s3.url,
        }

    def client(self, service: str) -> Any:
        """A boto3 client of the laptop's; what it asks is counted like everything that the laptop asks."""
        import boto3
        from botocore.config import Config

        session: Any = boto3.session.Session()
        return session.client(
            service,
            endpoint_url=self.s3.url if service == "s3" else self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(proxies={}, retries={"max_attempts": 1}),
        )

    def image(self, variant: str) -> str:
        """The id of an image whose machines boot from this variant (see `roots.VARIANTS`)."""
        return next(image for image, name in self._images.items() if name == variant)

    def credentials(self, instance_id: str) -> Credentials:
        """The keys that a machine's metadata service gives out."""
        return self._roles[instance_id]

    # What there is.

    def instances(self) -> list[Boot]:
        """Every instance that there ever was, in the order of their launches."""
        return list(self.hypervisor.boots.values())

    def alive(self) -> list[Boot]:
        return [boot for boot in self.instances() if boot.alive]

    @property
    def most_alive(self) -> int:
        """The most machines that ran at any moment."""
        return self.hypervisor.most_alive

    def console(self, instance_id: str) -> str:
        return self.hypervisor.boots[instance_id].console()

    def leftovers(self) -> dict[str, list[str]]:
        """What is still in the account, and on this host, that costs or clutters; empty when all is clean."""
        with self.lock:
            found = account.leftovers()
        found["processes"] = self.processes()
        return {kind: names for kind, names in found.items() if names}

    def processes(self) -> list[str]:
        """What runs on this host and belongs to a machine."""
        return self.hypervisor.processes()

    def wait(self, condition: Callable[[], object], seconds: float = 30, what: str = "") -> Any:
        """What `condition` returns once it is true. Raises AssertionError, with all that is known, after `seconds`."""
        limit = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            if self.hypervisor.errors:
                raise AssertionError("\n".join(self.hypervisor.errors))
            if time.monotonic() > limit:
                told = [f"{boot}\n{boot.console()[-3000:]}" for boot in self.instances()]
                told += [f"{call.caller} {call}" for call in self.front.calls[-60:]]
                told.append(f"left: {self.leftovers()}")
                raise AssertionError("\n".join([f"waited {seconds} s in vain: {what}", *told]))
            time.sleep(0.05)

    # What happens to it.

    def now(self) -> datetime:
        """AWS's clock: scheduled actions go by it."""
        return datetime.now(timezone.utc) + self._ahead

    def advance(self, **by: float) -> None:
        """Let AWS's clock jump, as in `advance(hours=24)`. Nobody else's does."""
        self._ahead += timedelta(**by)

    def power_cut(self, *instance_ids: str) -> None:
        """Machines end without a word, as when the power fails. All of them at once."""
        self.hypervisor.cut_power(instance_ids)

    def spot_notice(self, instance_id: str, seconds: float = 120) -> None:
        """Tell a machine that it is taken away in `seconds`, and take it away then."""
        self.hypervisor.spot_notice(instance_id, seconds)

    def rebalance_notice(self, instance_id: str) -> None:
        """Tell a machine that it is likelier than others to be taken away."""
        self._metadata(instance_id).rebalance_at = datetime.now(timezone.utc)

    def cut_network(self, instance_id: str, s3: bool = True, aws: bool = False) -> None:
        """From now on nothing comes back from there, and nobody says so, until `mend_network`."""
        gates = self.hypervisor.boots[instance_id].gates
        for name, cut in (("s3", s3), ("aws", aws)):
            if cut:
                gates[name].open.clear()

    def mend_network(self, instance_id: str) -> None:
        for one in self.hypervisor.boots[instance_id].gates.values():
            one.open.set()

    def pass_half_an_hour(self, instance_id: str) -> None:
        """By what one machine knows of its uptime, which then stands still."""
        found = self.hypervisor.boots[instance_id].machine
        if found is None:
            raise ValueError(f"{instance_id} has not booted")
        found.jump()

    def _metadata(self, instance_id: str) -> Metadata:
        found = self.hypervisor.boots[instance_id].metadata
        if found is None:
            raise ValueError(f"{instance_id} has not booted")
        return found

    # How a machine is made.

    def _prepare(self, boot: Boot) -> tuple[Blueprint, Metadata, dict[str, Gate]]:
        variant = self._images.get(boot.image_id, self.root)
        secret, token = secrets.token_urlsafe(30), secrets.token_urlsafe(200)
        credentials = Credentials("ASIA" + secrets.token_hex(8).upper(), secret, token)
        self._roles[boot.instance_id] = credentials
        gates = {
            "s3": Gate(self.s3.url, lambda request: self._admit_to_s3(boot, request)),
            "aws": Gate(self.url, lambda request: request),
        }
        ports = [("127.0.0.1", urlsplit(one.upstream).port or 80) for one in gates.values()]
        blueprint = Blueprint(
            boot.instance_id,
            roots.layers(variant, self.folder / "layers"),
            account.user_data(boot.instance).replace(b"do sleep 300", b"do sleep 5"),
            str(boot.instance.private_ip),
            {"AWS_ENDPOINT_URL": self.url, "AWS_ENDPOINT_URL_S3": self.s3.url},
            [("169.254.169.254", 80), *ports],
            self.systemd(),
        )
        return blueprint, account.metadata(boot, credentials), gates

    def _admit_to_s3(self, boot: Boot, request: Request) -> Union[Request, Refusal]:
        """Check a machine's request as S3 would, and sign it as the server knows it."""
        self.s3_requests.append((boot.instance_id, request.method, request.target))
        signed = signing.read(request.headers.get("authorization", ""))
        mine = self._roles[boot.instance_id]
        if signed is None:
            return request
        if signed.key != mine.key:
            return _s3_refusal("InvalidAccessKeyId")
        wrong = signing.refusal(request, signed, mine)
        if wrong is None and self._denied(boot, permissions.s3_attempts(request)):
            wrong = "AccessDenied"
        if wrong:
            return _s3_refusal(wrong)
        headers = {
            name: value for name, value in request.headers.items() if name != "x-amz-security-token"
        }
        kept = Request(request.method, request.target, headers)
        known = Credentials(ACCESS_KEY, SECRET_KEY)
        return Request(
            kept.method,
            kept.target,
            {**headers, "authorization": signing.sign(kept, signed, known)},
        )

    def _caller_of(self, key: str) -> Optional[str]:
        if key == ACCESS_KEY:
            return LAPTOP
        return next((name for name, one in self._roles.items() if one.key == key), None)

    def _allow(self, call: Call) -> Optional[str]:
        if call.caller == LAPTOP:
            return None
        return self._denied(self.hypervisor.boots[call.caller], account.attempts(call))

    def _denied(self, boot: Boot, attempts: Sequence[Attempt]) -> Optional[str]:
        """What a machine's role does not allow of this, as AWS puts it."""
        documents = account.policies(boot.instance) if self.enforce_policies else []
        for attempt in attempts if self.enforce_policies else []:
            if not permissions.permits(documents, attempt):
                who, what = boot.instance_id, f"{attempt.action} on resource: {attempt.arn}"
                return f"{who} is not authorized to perform: {what}"
        return None


class _Quiet(WSGIRequestHandler):  # type: ignore[misc]
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name is werkzeug's
        return


def _s3_refusal(code: str) -> Refusal:
    return Refusal(403, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


def _scaling_backends() -> Iterator[Any]:
    for regions in list(autoscaling_backends.values()):
        yield from list(regions.values())
