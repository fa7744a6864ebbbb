"""What a bare machine can do before it has sc.pyz: fetch it, tell why a boot failed, start the worker.

This file travels as text inside of user-data (see `sc.fleets.bootstrap`) and runs by itself: it imports nothing but
the standard library, and knows the job only from the JSON that stands beside it. Requests are signed here (AWS
Signature Version 4, docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html) with
the credentials of the instance's role, so that user-data holds no secret, and nothing in it expires.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Callable

IMDS = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
BUSY = (
    "Throttl",
    "RequestLimitExceeded",
    "TooManyRequests",
    "SlowDown",
    "ResourceContention",
    "ScalingActivityInProgress",
)
BUSY_SECONDS = 180.0
clock = {"offset": 0.0}


def metadata(path: str) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    ask = urllib.request.Request(IMDS + "/latest/api/token", headers=ttl, method="PUT")
    token = {"X-aws-ec2-metadata-token": direct.open(ask, timeout=5).read().decode()}
    ask = urllib.request.Request(IMDS + "/latest/meta-data/" + path, headers=token)
    return str(direct.open(ask, timeout=5).read().decode())


def role_keys() -> Any:
    role = metadata("iam/security-credentials/").split("\n")[0]
    return json.loads(metadata("iam/security-credentials/" + role))


def sign(
    method: str,
    url: str,
    body: bytes,
    service: str,
    region: str,
    keys: Any,
    now: float,
    more: Any = (),
) -> dict[str, str]:
    """The headers of a request, signed, and `more` with them."""
    at = urllib.parse.urlsplit(url)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    digest = hashlib.sha256(body).hexdigest()
    headers = dict(more)
    headers.update({"host": at.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp})
    if keys.get("Token"):
        headers["x-amz-security-token"] = keys["Token"]
    if service != "s3":
        headers["content-type"] = "application/x-www-form-urlencoded"
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join([method, at.path or "/", at.query, lines, names, digest])
    scope = "/".join([stamp[:8], region, service, "aws4_request"])
    request = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, request])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    scope = f"{keys['AccessKeyId']}/{scope}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def checksum(body: bytes) -> dict[str, str]:
    """Object Lock demands one."""
    try:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
    except (ValueError, AttributeError):  # a Python without MD5
        digest = hashlib.sha256(body).digest()
    name = "content-md5" if len(digest) == 16 else "x-amz-checksum-sha256"
    return {name: base64.b64encode(digest).decode()}


def send(method: str, url: str, body: bytes, service: str, region: str, more: Any = ()) -> Any:
    now = time.time() + clock["offset"]
    headers = sign(method, url, body, service, region, role_keys(), now, more)
    ask = urllib.request.Request(url, data=body or None, headers=headers, method=method)
    return urllib.request.urlopen(ask, timeout=30)


def patiently(seconds: float, refused_seconds: float, act: Callable[[], Any]) -> Any:
    """Try again with growing pauses; what AWS refuses (4xx) only for as long as new roles take to be known, and what
    it has no time for (which some APIs tell with 400) for some minutes: hundreds may ask at the same moment."""
    start, pause = time.monotonic(), 0.5
    while True:
        try:
            return act()
        except (OSError, ValueError, KeyError) as error:
            why, limit = str(error), seconds
            if "CERTIFICATE" in why:
                limit = 0
            if isinstance(error, urllib.error.HTTPError):
                body = error.read(999).decode("utf-8", "replace")
                limit = refused_seconds if error.code < 500 else seconds
                if error.code in (429, 503) or any(word in body for word in BUSY):
                    limit = max(seconds, BUSY_SECONDS)
                told = error.headers.get("Date")
                if error.code == 403 and told:  # a clock that is wrong spoils every signature
                    at = calendar.timegm(time.strptime(told, "%a, %d %b %Y %H:%M:%S GMT"))
                    clock["offset"] = at - time.time() if abs(at - time.time()) > 240 else 0.0
                why = f"HTTP {error.code} {body[:300]}"
        if time.monotonic() - start + pause > limit:
            raise SystemExit(why)
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, 10)


def object_url(job: Any, name: str) -> str:
    path = "/".join(filter(None, [job["bucket"], job["key"], name]))
    return str(job["s3_endpoint"]).rstrip("/") + "/" + urllib.parse.quote(path, safe="/-_.~")


def fetch(job: Any, target: str) -> None:
    def act() -> str:
        digest = hashlib.sha256()
        url, more = object_url(job, "sc.pyz"), job["s3_headers"]
        answer = send("GET", url, b"", "s3", job["s3_region"], more)
        with answer, open(target, "wb") as file:
            for piece in iter(lambda: answer.read(1 << 20), b""):
                digest.update(piece)
                file.write(piece)
        return digest.hexdigest()

    found = patiently(120, 15, act)
    if found != job["sha256"]:
        raise SystemExit(f"it has SHA-256 {found}, but {job['sha256']} was expected")


def store_log(job: Any, path: str) -> None:
    """The last lines, below logs/ in the job's storage."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 60000))
        text = file.read()
    identity = patiently(10, 5, lambda: metadata("instance-id"))
    url = object_url(job, "logs/" + identity)
    more = {**job["s3_headers"], **job["s3_new_headers"], **checksum(text)}
    patiently(15, 5, lambda: send("PUT", url, text, "s3", job["s3_region"], more).close())


def give_up_place(job: Any, _: str) -> None:
    """End this machine, and its place in the group: a boot that failed is not tried again."""
    identity = patiently(10, 5, lambda: metadata("instance-id"))
    form = {
        "Action": "TerminateInstanceInAutoScalingGroup",
        "InstanceId": identity,
        "ShouldDecrementDesiredCapacity": "true",
        "Version": "2011-01-01",
    }
    body = urllib.parse.urlencode(form).encode()
    url = job["autoscaling_endpoint"].rstrip("/") + "/"
    patiently(15, 5, lambda: send("POST", url, body, "autoscaling", job["region"]).close())


def work(job: Any, program: str) -> None:
    words = [sys.executable, program, "work", job["job_url"], "--fleet", "ec2"]
    os.execv(sys.executable, words)


COMMANDS = {"fetch": fetch, "log": store_log, "give-up-place": give_up_place, "work": work}

if __name__ == "__main__":
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "job.json")) as about:
        facts = json.load(about)
    os.environ.update(facts["environment"])  # a proxy, say, whoever has called this
    COMMANDS[sys.argv[1]](facts, sys.argv[2])
