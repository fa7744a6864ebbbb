"""How a command speaks: results to stdout, talk to stderr, and nothing that a name holds can steer the terminal."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Optional, TextIO

from sc.reports import printable


class NobodyReadsError(BrokenPipeError):
    """The reader of our stdout has left (`| head`): it had what it wanted."""


@contextmanager
def to_reader() -> Iterator[None]:
    """Around what writes to stdout, so that its broken pipe is told from those of our own processes."""
    try:
        yield
    except BrokenPipeError as error:
        raise NobodyReadsError(*error.args) from None


def result(text: str = "") -> None:
    """One line of what was asked for, to stdout. The caller has made it `printable`."""
    with to_reader():
        sys.stdout.write(text + "\n")


def conclude(text: str) -> None:
    """The last result, of work that is done: what came of it is not changed by nobody reading it."""
    with suppress(NobodyReadsError):
        result(text)


def hand_over() -> None:
    """Have all results reach their reader now."""
    with to_reader():
        sys.stdout.flush()


def say(text: str = "") -> None:
    """One line of talk, to stderr. That nobody listens any more is no reason to stop working."""
    mutter(printable(text) + "\n")


def tell(text: str) -> None:
    """What goes on, said by `sc` itself."""
    say(f"sc: {text}")


def mutter(raw: str) -> None:
    """Write to stderr as it is; a terminal or pipe that has gone is ignored."""
    try:
        sys.stderr.write(raw)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def say_the_rest() -> None:
    """What can never be written is dropped: else Python tries again at its exit, fails, and ends with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)
        except ValueError:
            continue


def open_streams() -> None:
    """Make stdout and stderr take any text, whatever the locale is, and exist, even if they were closed."""
    _fill_closed_streams()
    for name in ("stdout", "stderr"):
        stream: Optional[TextIO] = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
            continue
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    _unbuffer_talk()


def _unbuffer_talk() -> None:
    """What could not be written, on a full disk say, must not lie in a buffer: it would fail again at every fork, and
    at the exit, which then is 120."""
    buffer = getattr(sys.stderr, "buffer", None)
    if isinstance(buffer, io.BufferedWriter):
        encoding = sys.stderr.encoding
        sys.stderr = io.TextIOWrapper(
            buffer.raw,
            encoding,
            errors="backslashreplace",
            write_through=True,
        )


def _fill_closed_streams() -> None:
    """Give each closed one of the three to /dev/null: else a pipe gets its number, and a fork writes over it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The kernel gives the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def is_terminal(environ: Mapping[str, str]) -> bool:
    """True where a line may be redrawn: stderr is a terminal that understands it."""
    try:
        return sys.stderr.isatty() and environ.get("TERM", "dumb") != "dumb"
    except ValueError:
        return False


def width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size((80, 24)).columns


def program(argv: Optional[Sequence[str]] = None, executable: Optional[str] = None) -> str:
    """How this program was called, quoted for a shell, so that the commands it names can be pasted.

    A file that cannot be executed is named behind its Python; what the PATH finds is named alone; what lies below
    the current folder is named from there, as `./sc.pyz`.
    """
    typed = (sys.argv if argv is None else argv)[0]
    python = executable or sys.executable or "python3"
    if os.path.basename(typed) in ("__main__.py", "-m", ""):
        return f"{shlex.quote(python)} -m sc"
    name = os.path.basename(typed)
    found = shutil.which(name)
    if found is not None and os.path.realpath(found) == os.path.realpath(typed):
        return shlex.quote(name)
    shown = _from_here(typed)
    if os.path.isfile(typed) and not os.access(typed, os.X_OK):
        return f"{shlex.quote(_short(python))} {shlex.quote(shown)}"
    return shlex.quote(shown)


def _from_here(path: str) -> str:
    try:
        below = os.path.relpath(path)
    except FileNotFoundError:  # the current folder was removed
        return path
    return path if below.startswith("..") else os.path.join(".", below)


def _short(python: str) -> str:
    """The Python's name alone, where the PATH leads to the same."""
    name = os.path.basename(python)
    found = shutil.which(name)
    same = found is not None and os.path.realpath(found) == os.path.realpath(python)
    return name if same else python


def command_line(*words: str) -> str:
    """A line that can be pasted into a shell: this program and the words."""
    return " ".join([program(), *(shlex.quote(word) for word in words)])
