"""Programs that a bare root lacks because it has no init: those which switch a machine off."""

from __future__ import annotations

_NOW = """#!/bin/sh
# Stands in for the program of this name: PID 1 of a machine in the box goes when it gets SIGUSR2.
for word; do case $word in --help) exit 0 ;; esac; done
kill -s USR2 1
"""

_REBOOT = """#!/bin/sh
# Stands in for reboot(8); with -f it is as after a kernel panic: nobody is asked to end.
case $1 in --help) exit 0 ;; -f) kill -s VTALRM 1 ;; *) kill -s INT 1 ;; esac
"""

_SHUTDOWN = """#!/bin/sh
# Stands in for shutdown(8): now, in +N minutes, or -c to take that back.
when=+1
for word; do
    case $word in
        -c) read -r pid </run/shutdown.pid && kill "$pid"; rm -f /run/shutdown.pid; exit 0 ;;
        -*) ;;
        now) when=+0 ;;
        +[0-9]* | [0-9]*) when=$word ;;
        *) break ;;
    esac
done
minutes=${when#+}
if [ "$minutes" = 0 ]; then
    kill -s USR2 1
else
    sh -c 'echo $$ >/run/shutdown.pid; sleep "$1" && kill -s USR2 1' sh "$((minutes * 60))" \\
        </dev/null >/dev/null 2>&1 &
    echo "Shutdown scheduled in $minutes minutes, use 'shutdown -c' to cancel."
fi
"""

_SYSTEMCTL = """#!/bin/sh
# Stands in for systemctl: it can switch the machine off, boot it again and enable timers, which PID 1 runs.
units=/etc/systemd/system/timers.target.wants
for word; do
    case $word in
        poweroff | halt | poweroff.target | halt.target) kill -s USR2 1; exit ;;
        reboot | kexec) kill -s INT 1; exit ;;
        daemon-reload) [ ! -d /run/systemd/system ] || exit 0 ;;
        *.timer) [ ! -d /run/systemd/system ] || { mkdir -p $units && ln -sf "../$word" $units; exit; } ;;
    esac
done
echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2
exit 1
"""

PROGRAMS = {
    "/usr/sbin/poweroff": _NOW,
    "/usr/sbin/halt": _NOW,
    "/usr/sbin/reboot": _REBOOT,
    "/usr/sbin/shutdown": _SHUTDOWN,
    "/usr/bin/systemctl": _SYSTEMCTL,
}
"""Path in the machine -> text."""
