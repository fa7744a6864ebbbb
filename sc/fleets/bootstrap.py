r"""The text that a bare machine runs when it boots: user-data. Pure.

    user-data (POSIX sh) ─▶ finds or installs Python ≥ 3.9 ─▶ courier fetches sc.pyz, checks its SHA-256
                                                           └▶ courier becomes `sc.pyz work JOB_URL --fleet ec2`
      its EXIT trap, whatever happened ─▶ last lines to logs/<instance id> and the console ─▶ power off = terminated
      its watchdog, beside it ─▶ the same, when no worker has started, or proved itself, in time

Nothing that a person wrote is part of the shell text: the job's facts are one line of JSON in a here-document whose
delimiter is quoted, read by the courier only. So a name such as `a'; echo foo` stays what it is. A proxy, if there is
one, is another here-document, since a package manager needs it before there is a Python that reads JSON.

cloud-init runs user-data as root, without HOME and with a PATH of its own (machines of others have died of that), and
AWS takes at most 16 KB of it.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from sc.errors import InputError

LIMIT_BYTES = 16384
"""docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html: 16 KB in raw form, before base64."""
START_SECONDS = 15 * 60
"""Within this time the worker must have been started."""
PROOF_SECONDS = 60 * 60
"""Within this time the worker must have run the start script and taken a part."""
MARK = "sc-bootstrap:"
"""Begins every line that the bootstrap says; the console's output is searched for it."""
FAILED = f"{MARK} failed:"
"""Begins the line with which a boot tells that it failed, and why."""


@dataclass(frozen=True)
class JobFacts:
    """What the courier is told: no secret is among it, since whoever is on the machine can read user-data."""

    job_url: str
    bucket: str
    key: str
    """Of the job's place in the bucket, without a slash at either end."""
    s3_endpoint: str
    s3_region: str
    autoscaling_endpoint: str
    region: str
    sha256: str
    """Of sc.pyz."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the worker."""
    s3_headers: Mapping[str, str] = field(default_factory=dict)
    """Of every request to the storage."""
    s3_new_headers: Mapping[str, str] = field(default_factory=dict)
    """Of one that stores an object, besides."""


def user_data(
    facts: JobFacts, start_seconds: int = START_SECONDS, proof_seconds: int = PROOF_SECONDS
) -> str:
    """The whole script. Raises InputError if the job's names make it too long for AWS."""
    courier = pkgutil.get_data("sc.fleets", "courier.py")
    if courier is None:
        raise RuntimeError("sc.fleets.courier is not in this package")
    parts = {
        "@JOB@": json.dumps(asdict(facts), ensure_ascii=True),
        "@PROXY@": _proxy_lines(facts.environment),
        "@COURIER@": courier.decode().rstrip("\n"),
        "@START@": str(start_seconds),
        "@PROOF@": str(proof_seconds),
    }
    # In one pass: a name may itself contain such a word.
    text = re.sub("@[A-Z]+@", lambda found: parts[found.group()], _SCRIPT)
    if len(text.encode()) > LIMIT_BYTES:
        raise InputError(
            f"The user-data of this job would have {len(text.encode())} bytes, and AWS takes {LIMIT_BYTES}: "
            "choose a shorter remote_output_path."
        )
    return text


def _proxy_lines(environment: Mapping[str, str]) -> str:
    proxies = [
        f"{name}={value}" for name, value in environment.items() if name.lower().endswith("_proxy")
    ]
    if not proxies:
        return ""
    return "\n".join([_PROXY, *proxies, "SC_PROXY", ""])


_PROXY = r"""while IFS='=' read -r name value; do export "$name=$value"; done <<'SC_PROXY'"""
_SCRIPT = r"""#!/bin/sh
# Made by sc: brings this machine to work, and ends it when the work is over or cannot begin.
set -u
export HOME=/root LC_ALL=C.UTF-8 TMPDIR=/var/lib/sc/tmp
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
home=/var/lib/sc
log=$home/log
why='the bootstrap was ended'
python=
umask 022
mkdir -p "$home/tmp" "$HOME"
exec 3>&1 >>"$log" 2>&1 </dev/null
cd "$home" || exit 1
@PROXY@
say() {
  printf 'sc-bootstrap: %s\n' "$*"
  printf 'sc-bootstrap: %s\n' "$*" >&3
}

power_off() {
  sync
  for how in 'shutdown -h now' 'poweroff' 'halt -p' 'poweroff -f'; do
    $how && sleep 60
  done
  echo o >/proc/sysrq-trigger
}

finish() {
  trap '' HUP INT TERM
  trap - EXIT
  if [ -n "$why" ]; then
    tail -n 20 "$log" >&3
    say "failed: $why"
    if [ -n "$python" ]; then
      "$python" courier.py log "$log"
      [ -e ready ] || "$python" courier.py give-up-place -
    fi
  fi
  power_off
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

fail() {
  why=$*
  exit 1
}

late() { # seconds, file, what did not happen
  n=0
  while [ "$n" -lt "$1" ]; do
    [ -e "$2" ] && return 0
    sleep 5
    n=$((n + 5))
  done
  echo "$3 within $1 s" >too-late
  kill -TERM "$$"
  sleep 120 # a shell that waits for a hung package manager hears no signal
  why=$(cat too-late)
  find_python
  finish
}
usable() {
  command -v "$1" >/dev/null 2>&1 && "$1" -c '
import hashlib, hmac, json, multiprocessing, ssl, sys, urllib.request, zipfile
sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1
}

find_python() {
  for name in python3 python3.13 python3.12 python3.11 python3.10 python3.9 /usr/libexec/platform-python; do
    if usable "$name"; then
      python=$(command -v "$name")
      return 0
    fi
  done
  return 1
}

add() { # one package; 3: there is no package manager
  export DEBIAN_FRONTEND=noninteractive
  if command -v dnf; then dnf -y install "$1"
  elif command -v apt-get; then
    apt-get -oDPkg::Lock::Timeout=300 update
    apt-get -oDPkg::Lock::Timeout=300 -y --no-install-recommends install "$1"
  elif command -v microdnf; then microdnf -y install "$1"
  elif command -v yum; then yum -y install "$1"
  elif command -v zypper; then zypper -n install "$1"
  elif command -v apk; then apk add --no-cache "$1"
  else return 3
  fi
}

add_python() { # the names that its package may have, the first that brings a usable Python wins
  for package in python3 python3.12 python3.11 python39 python3.9; do
    for pause in 5 10 0; do
      add "$package" && break
      case "$?:$package" in
        3:*) return 1 ;;
        *:python3) ;;
        *) break ;;
      esac
      sleep "$pause"
    done
    find_python && return 0
  done
  return 1
}

(
  trap - EXIT HUP INT TERM
  late @START@ started 'no worker was started' && late @PROOF@ ready 'the worker took no part'
) &

cat >job.json <<'SC_JOB'
@JOB@
SC_JOB
cat >courier.py <<'SC_COURIER'
@COURIER@
SC_COURIER

if ! find_python; then
  say 'no Python 3.9 or newer is here, installing one'
  add_python || fail 'no Python 3.9 or newer, and no package manager brought one'
fi
if [ ! -e /etc/ssl/certs/ca-certificates.crt ] && [ ! -e /etc/pki/tls/certs/ca-bundle.crt ]; then
  add ca-certificates # that fails where storage and API are asked without TLS, and then nothing is lost
fi
say "fetching sc.pyz with $python"
if ! "$python" courier.py fetch sc.pyz >fetched 2>&1; then
  cat fetched
  fail "no usable sc.pyz: $(tail -c 500 fetched | tr '\n' ' ')"
fi
say 'starting the worker'
: >started
"$python" courier.py work sc.pyz &
worker=$!
trap 'kill -TERM "$worker"; [ -e too-late ] && sleep 30 && kill -KILL "$worker"' HUP INT TERM
while :; do
  wait "$worker"
  code=$?
  kill -0 "$worker" 2>/dev/null || break
done
if [ -e too-late ]; then fail "$(cat too-late)"; fi
if [ "$code" -eq 1 ] && [ -e ready ]; then code=0; fi # some runs failed: that is no failure of the machine's
if [ -e left ]; then code=0; fi # it had asked for its end, and was perhaps still there when that came
if [ "$code" -ne 0 ]; then fail "the worker ended with code $code"; fi
why=
say 'the work is done'
"""
