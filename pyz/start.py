"""The first thing that sc.pyz runs (its __main__.py): unpack once, then hand over to sc.cli.

    sc.pyz ──▶ unpacked already? ── yes ──────────────────────▶ sc.cli.main()
                      └── no: unpack beside, then rename ──▶ ───┘

Python cannot run all of sc from inside a zip (botocore reads its data from a folder), and what it compiles there it
forgets. So does shiv, whose bootstrap stays inside, and is used when one of its switches is set; but that takes a
lock, which on NFS may never be given, needs a HOME, and 50 ms for each start. Here two first starts at the same
moment each unpack for themselves, and the rename lets one of them win.

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
    site_packages = unpacked() or unpack_somewhere(archive)
    sys.argv[0] = archive
    sys.path[0] = site_packages
    from sc.cli import main

    sys.exit(main())


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
    """The folder to import from, or None at a first start."""
    for folder in folders():
        site_packages = os.path.join(folder, BUILD, "site-packages")
        if os.path.isdir(site_packages) and is_safe(folder):
            return site_packages
    return None


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
    target = os.path.join(folder, BUILD)
    try:
        with zipfile.ZipFile(archive) as packed:
            names = [name for name in packed.namelist() if name.startswith("site-packages/")]
            packed.extractall(new, names)
        os.rename(new, target)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        fail("%s is damaged: get it again." % archive)
    except OSError:
        if not os.path.isdir(target):  # else another first start has won
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return os.path.join(target, "site-packages")


def fail(sentence):
    sys.stderr.write("sc: " + sentence + "\n")
    sys.exit(REFUSED)


if __name__ == "__main__":
    start_or_tell()
