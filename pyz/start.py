"""The first thing that sc.pyz runs (its __main__.py): unpack once, then hand over to sc.cli.

    sc.pyz ──▶ unpacked already, and whole? ── yes ──────────────────────▶ sc.cli.main()
                      └── no: unpack beside, then rename ──▶ ──────────────┘

Python cannot run all of sc from inside a zip (botocore reads its data from a folder), and what it compiles there it
forgets. So does shiv, whose bootstrap stays inside, and is used when one of its switches is set; but that takes a
lock, which on NFS may never be given, needs a HOME, and 50 ms for each start. Here two first starts at the same
moment each unpack for themselves, and the rename lets one of them win.

    ~/.cache/sc/<build>[.N]/site-packages    a damaged copy stays, as others may use it, and the next N is made
                           /complete         written last: the size of every file; locked (shared) by who uses it,
                                             touched once a day; a copy not touched for 30 days is removed

A folder counts only if nobody but this user and root can write to it: what is in it will be run.
The program is then found at sys.argv[0], an absolute path, which is how it copies itself to machines.
The syntax is that of old Pythons, whose users are to read a sentence.
"""

import os
import sys

BUILD = "@BUILD@"  # put in by make.py: a hash of all that is in the zip
SHIV_SWITCHES = (
    "SHIV_INTERPRETER",
    "SHIV_ENTRY_POINT",
    "SHIV_MODULE",
    "SHIV_CONSOLE_SCRIPT",
    "SHIV_FORCE_EXTRACT",
)
MARKER = "complete"
COPIES = 100
"""Of one build; each but the last is damaged."""
DAY = 86400.0
KEPT_DAYS = 30
RESTARTED = "SC_RESTARTED"
OLDEST = (3, 9)
REFUSED = 3
NO_MEMORY = "there is not enough memory; this machine has to be put right first"


def start_or_tell():
    """What sc.cli can tell it tells; only where it cannot be imported, or has no memory to tell, that arrives here."""
    try:
        start()
    except (MemoryError, SystemError):  # the latter is Python that cannot make the former
        fail(NO_MEMORY)
    except ImportError as error:
        if "failed to map segment" not in str(error):
            raise
        fail(NO_MEMORY)


def start():
    archive = os.path.abspath(os.path.dirname(__file__))
    if sys.version_info < OLDEST:
        fail("it needs Python %d.%d or newer, and this is %d.%d." % (OLDEST + sys.version_info[:2]))
    if any(switch in os.environ for switch in SHIV_SWITCHES):
        import _bootstrap

        _bootstrap.bootstrap()
    is_restarted = os.environ.pop(RESTARTED, "") != ""
    version = unpacked() or unpack_somewhere(archive)
    mine = sys.path[0] = os.path.join(version, "site-packages")
    sys.argv[0] = archive

    def mend(may_restart):
        """Where this copy is damaged: make another, and begin again if nothing has been done. False: it is whole."""
        if not is_damaged(archive, mine):
            return False
        discard(version)
        unpack_somewhere(archive)
        if may_restart and not is_restarted:
            restart(archive)
        return True

    try:
        from sc.cli import main
    except MemoryError:
        raise
    except Exception:
        mend(True)
        raise
    sys.exit(main(mend=mend))


def restart(archive):
    words = [sys.executable]
    if hasattr(sys, "orig_argv"):
        words.extend(sys.orig_argv[1:])  # with Python's own options
    else:
        words.append(archive)
        words.extend(sys.argv[1:])
    os.environ[RESTARTED] = "1"
    os.execv(sys.executable, words)


def folders():
    """Where to unpack, best first. SHIV_ROOT is the user's word, and then the only one."""
    if os.environ.get("SHIV_ROOT"):
        return [os.path.abspath(os.environ["SHIV_ROOT"])]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(home(), ".cache")
    temp = os.path.join(os.environ.get("TMPDIR") or "/tmp", "sc-%d" % os.geteuid())
    # Relative if there is neither a HOME nor such a user: not where the shell happens to be.
    return [folder for folder in (os.path.join(cache, "sc"), temp) if os.path.isabs(folder)]


def home():
    """The user's folder, also where HOME is not set, as under cloud-init; empty if there is none."""
    if os.environ.get("HOME"):
        return os.environ["HOME"]
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def unpacked():
    """A whole copy to import from, locked until this process ends; or None, as at a first start."""
    for folder in folders():
        for version in versions(folder):
            if not os.path.isdir(version):
                break
            if is_safe(folder) and is_whole(version):
                return version
    return None


def versions(folder):
    """Where the copies of this build are, in the order in which they are made."""
    yield os.path.join(folder, BUILD)
    for number in range(1, COPIES):
        yield os.path.join(folder, "%s.%d" % (BUILD, number))


def is_whole(version):
    """Whether all files are there in their sizes (a millisecond); locks the copy, and notes that it is used."""
    try:
        marker = os.open(os.path.join(version, MARKER), os.O_RDONLY)
    except OSError:
        return False
    if is_locked(marker) and has_all_files(version, marker):
        touch(version, marker)
        return True  # and the lock is held as long as this process lives
    os.close(marker)
    return False


def is_locked(marker):
    """False while somebody removes this copy. What knows no locks (some network folders) is never removed."""
    import fcntl

    try:
        fcntl.flock(marker, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def has_all_files(version, marker):
    try:
        lines = os.read(marker, 1 << 20).decode().split("\n")
        if lines.pop() != "" or int(lines.pop(0)) != len(lines):
            return False
        for line in lines:
            size, _, name = line.partition(" ")
            found = os.stat(os.path.join(version, name))
            if found.st_size != int(size) or not found.st_mode & 0o400:
                return False
    except (OSError, ValueError, IndexError):
        return False
    return True


def touch(version, marker):
    """Once a day. That is also when others are looked for that nobody uses any more."""
    import time

    if time.time() - os.fstat(marker).st_mtime < DAY:
        return
    try:
        os.utime(os.path.join(version, MARKER))
    except OSError:
        return  # it is another user's, or read-only: whoever unpacked it removes it
    remove_unused(os.path.dirname(version))


def remove_unused(folder):
    """Remove what nobody has used for so long, and nobody uses: copies of all builds, and unfinished ones."""
    import re
    import time

    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        try:
            is_ours = re.match(r"([0-9a-f]{20}(\.[0-9]+)?|new-\w+)$", name) is not None
            is_ours = is_ours and os.lstat(path).st_uid == os.geteuid() and not os.path.islink(path)
            if is_ours and time.time() - last_used(path) > KEPT_DAYS * DAY:
                remove(path)
        except OSError:
            continue


def last_used(version):
    """Also of a copy that has no marker (sc 0.1.0 made none), as far as the file system tells."""
    times = [os.stat(version).st_mtime]
    for name in (MARKER, "site-packages", "site-packages/sc", "site-packages/sc/__init__.py"):
        try:
            found = os.stat(os.path.join(version, name))
        except OSError:
            continue
        times.append(found.st_mtime if name == MARKER else max(found.st_mtime, found.st_atime))
    return max(times)


def remove(version):
    """Raises OSError where somebody uses it, or locks are not known."""
    import fcntl
    import shutil

    try:
        marker = os.open(os.path.join(version, MARKER), os.O_RDONLY)
    except FileNotFoundError:
        marker = None
    try:
        if marker is not None:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(version)
    finally:
        if marker is not None:
            os.close(marker)


def is_safe(folder):
    if os.environ.get("SHIV_ROOT"):  # the user's word
        return True
    found = os.stat(folder)
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022


def unpack_somewhere(archive):
    refusals = []
    for folder in folders():
        try:
            return unpack(archive, folder)
        except OSError as error:
            refusals.append("%s (%s)" % (folder, error.strerror or error))
    return fail(
        "it cannot unpack itself into %s. Free some space, or set SHIV_ROOT to a folder that can be written."
        % " or ".join(refusals)
    )


def unpack(archive, folder):
    """Unpack into `folder`; nobody ever sees half of it there. Raises OSError."""
    import shutil
    import tempfile
    import zipfile
    import zlib

    os.makedirs(folder, 0o700, exist_ok=True)
    if not is_safe(folder):
        raise OSError("others can write there")
    new = tempfile.mkdtemp(prefix="new-", dir=folder)
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = carried(packed)
            packed.extractall(new, entries)
        mark(new, entries)
        version = put_in_place(new, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        fail("%s is damaged: get it again." % archive)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    remove_unused(folder)
    return version


def carried(packed):
    return [entry for entry in packed.infolist() if entry.filename.startswith("site-packages/")]


def mark(version, entries):
    lines = ["%d" % len(entries)] + ["%d %s" % (one.file_size, one.filename) for one in entries]
    with open(os.path.join(version, MARKER), "w") as marker:
        marker.write("\n".join(lines) + "\n")


def put_in_place(new, folder):
    """Under the first name that is free; or the copy that another first start has made meanwhile."""
    for version in versions(folder):
        try:
            os.rename(new, version)
        except OSError:
            if not os.path.isdir(version):
                raise
        if is_whole(version):
            return version
    raise OSError("all copies there are damaged; remove them")


def is_damaged(archive, site_packages):
    """Whether a file is not what is in the archive, or cannot be compiled code. Takes a moment."""
    import zipfile
    import zlib

    above = os.path.dirname(site_packages)
    try:
        with zipfile.ZipFile(archive) as packed:
            for entry in carried(packed):
                with open(os.path.join(above, entry.filename), "rb") as file:
                    if zlib.crc32(file.read()) != entry.CRC:
                        return True
    except (OSError, zipfile.BadZipFile):
        return os.path.isfile(archive)
    return any(map(is_bad_code, compiled(site_packages)))


def compiled(site_packages):
    """The files in which this Python keeps what it has compiled."""
    ending = ".%s.pyc" % sys.implementation.cache_tag
    for parent, _, names in os.walk(site_packages):
        for name in names:
            if name.endswith(ending):
                yield os.path.join(parent, name)


def is_bad_code(path):
    import marshal

    try:
        with open(path, "rb") as file:
            code = file.read()[16:]
        return bool(code) and not hasattr(marshal.loads(code), "co_code")
    except OSError:
        return False  # Python compiles it again
    except Exception:  # noqa: BLE001 - whatever marshal makes of it
        return True


def discard(version):
    """Nobody is to begin with it any more; those who use it hold the lock on its marker, which therefore stays."""
    import contextlib

    with contextlib.suppress(OSError):
        os.truncate(os.path.join(version, MARKER), 0)


def fail(sentence):
    sys.stderr.write("sc: " + sentence + "\n")
    sys.exit(REFUSED)


if __name__ == "__main__":
    start_or_tell()
