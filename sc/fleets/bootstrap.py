r"""The text that a bare machine runs when it boots: user-data. Pure.

    user-data (POSIX sh) ─▶ finds or installs Python ≥ 3.9 ─▶ courier fetches sc.pyz, checks its SHA-256
                                                           └▶ courier becomes `sc.pyz work JOB_URL --fleet ec2`
      its EXIT trap, whatever happened ─▶ last lines to logs/<instance id> and the console ─▶ power off = terminated
      its watchdog, beside it ─▶ the same, when no worker has started, or proved itself, in time
      the guard, every 5 minutes ─▶ power off, whatever has become of all of the above

The guard is written first of all, and needs nothing of the rest. It powers off a machine that has booted a second
time, on which neither this shell nor the worker lives, or whose worker has given no sign of life for SILENT_SECONDS.
PID 1 calls it (a systemd timer survives `kill -9 -1`), and cloud-init does at each boot; without systemd a loop in a
session of its own does. Seconds are those of /proc/uptime: clocks may step. What it writes is in /run, which has room
where the disk is full, and outside of the folder where runs begin.

It never asks for a power-off at a later time: logind keeps those, and forgets them or acts at once when it dies
(systemd#10061, #17575, #22522). It asks in the order of the damage: logind (which a dead bus makes `systemctl
poweroff` do without), PID 1 alone (`--force`), the kernel (`--force` twice, and sysrq, which /proc/sysrq-trigger allows
always). www.freedesktop.org/software/systemd/man/latest/systemctl.html, docs.kernel.org/admin-guide/sysrq.html

Nothing that a person wrote is part of the shell text: the job's facts are one line of JSON in a here-document whose
delimiter is quoted, read by the courier only. So a name such as `a'; echo foo` stays what it is. A proxy, if there is
one, is another here-document, since a package manager needs it before there is a Python that reads JSON.

cloud-init runs user-data as root, without HOME and with a PATH of its own (machines of others have died of that), and
AWS takes at most 16 KB of it.
"""

from __future__ import annotations

import ast
import json
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Optional

from sc.errors import InputError

LIMIT_BYTES = 16384
"""docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html: 16 KB in raw form, before base64."""
START_SECONDS = 15 * 60
"""Within this time the worker must have been started."""
PROOF_SECONDS = 60 * 60
"""Within this time the worker must have run the start script and taken a part."""
SLACK_SECONDS = 15 * 60
"""What the watchdog has beyond both, to store the log and give up the place, before the guard just powers off."""
SILENT_SECONDS = 24 * 60
"""The age of the worker's sign of life at which the guard powers off: with GUARD_SECONDS, within half an hour."""
GUARD_SECONDS = 5 * 60
"""Between two looks of the guard."""
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
        "@COURIER@": _bare(courier.decode()),
        "@GUARD@": guard(start_seconds, proof_seconds),
        "@START@": str(start_seconds),
        "@PROOF@": str(proof_seconds),
        "@EVERY@": str(GUARD_SECONDS),
    }
    text = _filled(_SCRIPT, parts) + "\n"
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


def guard(start_seconds: int = START_SECONDS, proof_seconds: int = PROOF_SECONDS) -> str:
    """The script that decides, whenever it is called, whether this machine is to be powered off, and does it."""
    begun = start_seconds + SLACK_SECONDS
    parts = {
        "@UNSTARTED@": str(begun),
        "@UNPROVED@": str(begun + proof_seconds),
        "@SILENT@": str(SILENT_SECONDS),
        "@EVERY@": str(GUARD_SECONDS),
    }
    return _filled(_GUARD, parts)


def _bare(program: str) -> str:
    """Without its docstrings: nobody reads them there, and room is scarce."""
    lines: list[Optional[str]] = list(program.rstrip("\n").split("\n"))
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node):
            said = node.body[0]
            for number in range(said.lineno - 1, said.end_lineno or said.lineno):
                lines[number] = None
    return "\n".join(line for line in lines if line)


def _filled(script: str, parts: Mapping[str, str]) -> str:
    """In one pass: a name may itself contain such a word. What explains the script is left out: room is scarce."""
    script = re.sub(r"(?m)(^|[ \t]+)# (?!shellcheck|Made by sc).*$", "", script)
    script = re.sub(r"\n{2,}", "\n", script).rstrip("\n")
    return re.sub("@[A-Z]+@", lambda found: parts[found.group()], script)


_GUARD = r"""#!/bin/sh
# Made by sc: powers this machine off when no work goes on here any more, or when it boots a second time.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
first=/var/lib/sc-guard/first # what was known at the first boot
run=/run/sc                   # pids: one of them must live; life: when the worker gave a sign

born() { # when a process has started; nothing if it has ended
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  set -f
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  case $1 in Z | X) ;; *) echo "${20}" ;; esac
}

boot_id() { cat /proc/sys/kernel/random/boot_id; }

machine() { # images are made of machines, and this file is on their disk
  tag=$(cat /sys/class/dmi/id/board_asset_tag 2>/dev/null)
  case $tag in i-?*) ;; *) tag=$(cat /sys/hypervisor/uuid 2>/dev/null) ;; esac
  [ -n "$tag" ] || tag=$(cat /var/lib/cloud/data/instance-id 2>/dev/null)
  echo "$tag"
}

up() {
  read -r seconds _ </proc/uptime
  echo "${seconds%%.*}"
}

why() { # the machine is to go; nothing if it is to stay
  boot='' begin=0 here=$(machine) noted=0 alive=
  [ -r "$first" ] && { read -r boot; read -r begin; read -r here; } <"$first"
  [ "$here" = "$(machine)" ] || return
  if [ -n "$boot" ] && [ "$boot" != "$(boot_id)" ]; then
    echo 'this machine has booted a second time'
    return
  fi
  if [ -r "$run/pids" ]; then
    while read -r pid start; do
      noted=$((noted + 1))
      [ -n "$start" ] && [ "$start" = "$(born "$pid")" ] && alive=yes
    done <"$run/pids"
    if [ -z "$alive" ]; then
      echo 'the worker and the bootstrap have been killed'
      return
    fi
  fi
  if [ -r "$run/life" ] && read -r life <"$run/life"; then
    case $life in *[!0-9]*) life=0 ;; esac
    since=$(($(up) - life)) limit=@SILENT@ what='the worker has given no sign of life'
  else
    since=$(($(up) - begin)) limit=@UNSTARTED@ what='no worker has taken a part'
    [ "$noted" -lt 2 ] || limit=@UNPROVED@
  fi
  [ "$since" -lt "$limit" ] || echo "$what for $since s"
}

off() { # in the order of the damage; what hangs is left alone
  if [ -n "$1" ]; then # said by processes of their own, as nobody may be left to hear it
    printf 'sc-bootstrap: failed: %s\n' "$1" &
    [ -c /dev/console ] && printf 'sc-bootstrap: failed: %s\n' "$1" >/dev/console &
  fi
  t=
  command -v timeout >/dev/null && t='timeout -s KILL 45'
  for how in 'systemctl poweroff' 'shutdown -h now' poweroff 'halt -p' \
    'systemctl -f poweroff' 'poweroff -f' 'systemctl -f -f poweroff'; do
    # shellcheck disable=SC2086
    $t $how && sleep 60
  done
  echo o >/proc/sysrq-trigger
  sleep 60
  echo b >/proc/sysrq-trigger
}

case ${1-} in
  begin)
    mkdir -p "$run"
    rm -f "$run/pids" "$run/life"
    { boot_id && up && machine; } >"$first"
    ;;
  note) echo "$2 $(born "$2")" >>"$run/pids" ;;
  loop) while :; do sleep @EVERY@; "$0"; done ;; # also when somebody has said `pkill sleep`
  off) off '' ;;
  *)
    reason=$(why)
    [ -z "$reason" ] || off "$reason"
    ;;
esac
"""

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
guard=/var/lib/sc-guard/guard
mkdir -p "$home/tmp" "$HOME" "${guard%/*}"
exec 3>&1 >>"$log" 2>&1 </dev/null
cd "$home" || exit 1
rm -f ready started left too-late # of the machine of which this one's image was made

[ ! -x "$guard" ] || "$guard" # powers off, should user-data be run at a second boot
cat >"$guard" <<'SC_GUARD'
@GUARD@
SC_GUARD
chmod +x "$guard"
"$guard" begin
"$guard" note "$$"

timed() { # by PID 1, which nobody can kill
  unit=/etc/systemd/system/sc-guard
  [ -d /run/systemd/system ] || return
  # Without the default dependencies a shutdown does not end what asks for it, and asks again.
  printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh %s\n' "$guard" >$unit.service
  printf '[Timer]\nOnBootSec=60\nOnUnitActiveSec=%s\nAccuracySec=5\n' @EVERY@ >$unit.timer
  printf '[Install]\nWantedBy=timers.target\n' >>$unit.timer
  timeout 60 systemctl daemon-reload
  timeout 60 systemctl enable --now sc-guard.timer && sync
}
timed || setsid "$guard" loop >&3 &
if [ -d /var/lib/cloud ]; then
  each=/var/lib/cloud/scripts/per-boot
  mkdir -p $each
  printf '#!/bin/sh\nexec /bin/sh %s\n' "$guard" >$each/sc-guard
  chmod +x $each/sc-guard
fi
sync & # else a panic within half a minute leaves all of this empty, and nothing powers off
[ "$(cat /proc/sys/kernel/panic)" != 0 ] || echo 10 >/proc/sys/kernel/panic # a panic boots, then
@PROXY@
say() {
  printf 'sc-bootstrap: %s\n' "$*"
  printf 'sc-bootstrap: %s\n' "$*" >&3
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
  "$guard" off
  poweroff -f
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
"$guard" note "$worker"
# Nothing else that is told to this shell ends the worker: a run may say `pkill sh`.
trap '[ -e too-late ] && kill -TERM "$worker" && sleep 30 && kill -KILL "$worker"' HUP INT TERM
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
