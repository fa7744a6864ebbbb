"""A shell where a run would be: its environment, its folder, its command at hand."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Optional

from sc.commands.voice import tell
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from sc.model import Run


def open_shell(run: Run, environment: Mapping[str, str], folder: Optional[str]) -> int:
    """Until the user leaves it. Nothing is stored."""
    from sc.executor.messages import Start
    from sc.executor.removal import temporary_folder
    from sc.executor.slot import as_bytes, encode, run_environment
    from sc.model import command_text

    cwd = os.path.expanduser(run.working_directory) if run.working_directory else folder
    cwd = os.path.join(folder or os.getcwd(), cwd) if cwd else None
    if cwd is not None and not os.path.isdir(cwd):
        raise InputError(f"the run begins in {cwd}, which is not here; make that folder first")
    shell = os.environ.get("SHELL") or "/bin/sh"
    with temporary_folder("sc-rerun-", tell) as results:
        outer = {**os.environb, **as_bytes(environment)}
        start = Start(0, run, 1, True, _devices(run))
        inside = dict(run_environment(outer, start, 0, results))
        inside[b"SC_CMD"] = encode(command_text(run.cmd))
        tell(f'{run.remote_output_path}: its command is in $SC_CMD; run it with: eval "$SC_CMD"')
        tell(f"  {command_text(run.cmd)}")
        _wait_for(shell, inside, cwd)
        left = sum(len(files) for _, _, files in os.walk(results))
    if left:
        files = "1 file" if left == 1 else f"{left} files"
        tell(f"{files} in the results folder not stored; '--save' instead of '--shell' does that")
    return ExitCode.OK


def _wait_for(shell: str, environment: Mapping[bytes, bytes], cwd: Optional[str]) -> None:
    """Ctrl-C is for what runs in the shell, not for us."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        subprocess.run(
            [shell],
            env=environment,
            cwd=cwd,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    except OSError as error:
        raise InputError(
            f"the shell {shell} cannot be started ({error.strerror}); set SHELL"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)


def _devices(run: Run) -> Optional[str]:
    """The GPUs that the executor would give to the only run of this machine."""
    from sc.executor.gpus import GpuPool, find_gpus

    if not run.gpus:
        return None
    pool = GpuPool(find_gpus(os.environ, tell=tell))
    taken = pool.take(run.gpus, 0)
    if taken is None:
        raise InputError(f"the run asks for {run.gpus:g} GPUs, and this machine has {pool.size}")
    return pool.names(taken)
