"""`--sync`: what runs read of a synced folder stays as it is while they may read it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import pytest

from tests.e2e.faults import wait_until
from tests.e2e.program import Program

LIMIT_SECONDS = 90
FILES = 40


def write_version(folder: Path, version: str) -> None:
    """Files that all say the same, and one of which is only in this version."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lib").mkdir(parents=True)
    for number in range(FILES):
        (folder / f"lib/{number}").write_text(version)
    (folder / "version").write_text(version)
    (folder / f"only-{version}").write_text(version)


READER = """\
import os, sys, time
name, code, gate = sys.argv[1:4]
seen = set()
open(f"{gate}/began-{name}-{os.getpid()}", "w").close()
while True:
    over = os.path.exists(f"{gate}/go")
    for number in range(40):
        seen.add(open(f"{code}/lib/{number}").read())
    seen.add(open(f"{code}/version").read())
    time.sleep(0.01)
    if over:
        break
print(*sorted(seen))
"""


class Project:
    """A folder with a batch, a recipe and code, as a user has it."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.gate = folder / "gate"
        self.gate.mkdir(parents=True)
        (folder / "reader.py").write_text(READER)

    def begin(
        self,
        name: str,
        commands: Sequence[Union[str, dict[str, Any]]],
        *words: str,
        wait: bool = True,
        scale: int = 1,
        **recipe: Any,
    ) -> subprocess.CompletedProcess[str]:
        """`sc split --start` of a job of this name."""
        runs = [{"cmd": one} if isinstance(one, str) else one for one in commands]
        batch = {"remote_output_path": f"out-{name}", "nprocs": 2, "runs": runs}
        (self.folder / f"{name}.json").write_text(json.dumps(batch))
        spec = {"name": name, "instance_type": "local", "scale": scale, **recipe}
        document = {"type": "job", "spec": spec}
        (self.folder / f"{name}.yaml").write_text(json.dumps(document))
        return self.program.run(
            *("split", f"{name}.yaml", f"{name}.json", f"commands-{name}", "--start"),
            *(["--wait"] if wait else []),
            *words,
            cwd=self.folder,
        )

    def reader(self, name: str, code: str) -> str:
        return f"python3 {self.folder}/reader.py {name} {code} {self.gate}"

    def readers(self, name: str) -> int:
        return len(list(self.gate.glob(f"began-{name}-*")))

    def let_go(self) -> None:
        (self.gate / "go").touch()

    def end(self, name: str) -> None:
        self.let_go()
        waited = self.program.run(
            "apply", f"commands-{name}/recipe.yaml", "--wait", cwd=self.folder
        )
        assert waited.returncode == 0, waited.stderr + self.log(name)

    def stdout(self, name: str, number: int) -> str:
        return (self.folder / f"out-{name}/{number}/stdout").read_text()

    def log(self, name: str) -> str:
        return "".join(
            path.read_text() for path in (self.folder / f"out-{name}/.sc/{name}/logs").glob("*")
        )


@pytest.fixture
def project(program: Program, tmp_path: Path) -> Iterator[Project]:
    one = Project(program, tmp_path / "project")
    yield one
    one.let_go()  # nobody reads for ever, if the test has failed


def test_sync_by_workers_of_one_job_disturbs_no_reader(project: Project) -> None:
    write_version(project.folder / "src", "v1")
    words = ["--sync", "src:code", "--batch-size", "2"]
    begun = project.begin("a", [project.reader("a", "code")] * 8, *words, wait=False, scale=4)
    assert begun.returncode == 0, begun.stderr
    wait_until(lambda: project.readers("a") == 8, "eight runs read")
    project.end("a")
    assert {project.stdout("a", number) for number in range(8)} == {"v1\n"}


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("where", ["inside", "below", "run"])
def test_sync_by_another_job_leaves_readers_their_version(
    project: Project, changed: bool, where: str
) -> None:
    """Those that work inside of it; who goes there by its path each time gets a whole version each time."""
    write_version(project.folder / "src", "v1")
    top = str(project.folder / "code")
    recipe: Mapping[str, Any] = {"working_directory": top} if where == "inside" else {}
    inside = project.reader("a", ".")
    commands: Mapping[str, Union[str, dict[str, Any]]] = {
        "inside": inside,
        "below": f"cd code/lib && {project.reader('a', '..')}",
        "run": {"cmd": inside, "working_directory": "code"},
    }
    words = ["--sync", f"src:{top}"]
    # The last two begin after the other job has put its version in place.
    begun = project.begin("a", [commands[where]] * 4, *words, wait=False, **recipe)
    assert begun.returncode == 0, begun.stderr
    wait_until(lambda: project.readers("a") == 2, "both runs read")
    write_version(project.folder / "src", "v2" if changed else "v1")
    other = project.begin("b", ["cat code/version code/only-*"], "--sync", f"src:{top}")
    assert other.returncode == 0, other.stderr + project.log("b")
    assert project.stdout("b", 0) == ("v2v2" if changed else "v1v1")
    project.end("a")
    seen = {project.stdout("a", number) for number in range(4)}
    assert seen == ({"v1\n", "v2\n"} if changed and where == "below" else {"v1\n"})


def test_sync_of_changed_content_fails_no_reader_by_path(project: Project) -> None:
    write_version(project.folder / "src", "v0")
    words = ["--sync", "src:code"]
    begun = project.begin("a", [project.reader("a", "code")] * 2, *words, wait=False)
    assert begun.returncode == 0, begun.stderr
    wait_until(lambda: project.readers("a") == 2, "both runs read")
    for number in range(1, 4):
        write_version(project.folder / "src", f"v{number}")
        other = project.begin(f"b{number}", ["ls code/only-*"], *words)
        assert other.returncode == 0, other.stderr
        assert project.stdout(f"b{number}", 0) == f"code/only-v{number}\n"
    project.end("a")


def test_sync_of_old_versions_are_removed_when_nobody_uses_them(project: Project) -> None:
    for number in range(3):
        write_version(project.folder / "src", f"v{number}")
        assert project.begin("a", ["cat code/version"], "--sync", "src:code").returncode == 0
        assert project.stdout("a", 0) == f"v{number}"
    assert len(list(project.folder.glob(".sc-sync-*"))) == 1
    assert len(list((project.folder / ".sc-sync").iterdir())) == 1


def test_sync_again_ends_as_it_is_at_home(project: Project) -> None:
    source = project.folder / "src"
    write_version(source, "v1")
    (source / "folder").mkdir()
    (source / "folder/x").write_text("x")
    (source / "file").write_text("file")
    (source / "link").symlink_to("file")
    words = ["--sync", "src:code"]
    make = "echo mine > code/lib/mine; echo out > code/out; echo more >> code/version; chmod -x code/lib/1"
    assert project.begin("a", [make], *words).returncode == 0
    shutil.rmtree(source / "folder")
    (source / "folder").write_text("a file now")
    (source / "file").unlink()
    (source / "file").mkdir()
    (source / "link").unlink()
    (source / "link").write_text("no link")
    (source / "lib/0").unlink()
    assert project.begin("a", ["true"], *words).returncode == 0
    found = project.folder / "code"
    assert (found / "folder").read_text() == "a file now"
    assert list((found / "file").iterdir()) == []
    assert not (found / "link").is_symlink()
    assert not (found / "lib/0").exists()
    assert (found / "version").read_text() == "v1"
    assert (found / "out").read_text() == "out\n"  # what runs have left stays
    assert (found / "lib/mine").read_text() == "mine\n"


def test_sync_of_unchanged_content_puts_right_what_runs_have_changed(project: Project) -> None:
    write_version(project.folder / "src", "v1")
    spoil = "echo more >> code/version; rm code/lib/3; mkdir -p code/new"
    for _ in range(2):
        assert (
            project.begin("a", [f"cat code/version; {spoil}"], "--sync", "src:code").returncode == 0
        )
        assert project.stdout("a", 0) == "v1"


@pytest.mark.parametrize("there", ["folder", "root"])
def test_sync_to_a_folder_with_other_files_loses_nothing(project: Project, there: str) -> None:
    write_version(project.folder / "src", "v1")
    code = project.folder / "code"
    (code / "lib").mkdir(parents=True)
    for name in ("mine", "version", "lib/mine", "lib/7"):
        (code / name).write_text("mine")
    (code / "lib/8").write_text("v1")
    (code / "only-v1").mkdir()
    (code / "only-v1/mine").write_text("mine")
    words = ["--sync", "src:."] if there == "root" else ["--sync", f"src:{code}"]
    recipe: dict[str, Any] = {"working_directory": "code"} if there == "root" else {}
    done = project.begin("a", [f"cat {code}/version"], *words, **recipe)
    assert done.returncode == 0, done.stderr + project.log("a")
    assert project.stdout("a", 0) == "v1"
    assert (code / "mine").read_text() == (code / "lib/mine").read_text() == "mine"
    for name in ("version", "lib/7", "only-v1"):
        kept = code / f"{name}.before-sync"
        assert (kept / "mine" if kept.is_dir() else kept).read_text() == "mine"
        assert f"kept as {kept}" in project.log("a")
    assert not (code / "lib/8.before-sync").exists()
    write_version(project.folder / "src", "v2")
    assert project.begin("a", [f"cat {code}/version"], *words, **recipe).returncode == 0
    assert project.stdout("a", 0) == "v2"
    assert {one.name for one in code.glob("only-*")} == {"only-v2", "only-v1.before-sync"}
    assert len(list(code.rglob("*.before-sync*"))) == 3


def test_sync_to_a_folder_with_other_files_waits_for_no_reader(project: Project) -> None:
    write_version(project.folder / "src", "v1")
    (project.folder / "code").mkdir()
    (project.folder / "code/mine").write_text("mine")
    words = ["--sync", "src:code"]
    begun = project.begin("a", [project.reader("a", "code")] * 2, *words, wait=False)
    assert begun.returncode == 0, begun.stderr
    wait_until(lambda: project.readers("a") == 2, "both runs read")
    assert project.begin("b", ["cat code/version"], *words).returncode == 0  # the same content
    write_version(project.folder / "src", "v2")
    refused = project.begin("c", ["cat code/version"], *words)
    assert refused.returncode == 3
    assert "uses what is synced there now" in refused.stderr
    project.end("a")
    assert project.stdout("a", 0) == project.stdout("a", 1) == "v1\n"


def test_sync_into_each_other_and_to_odd_places(project: Project) -> None:
    write_version(project.folder / "src", "v1")
    write_version(project.folder / "data", "d1")
    (project.folder / "elsewhere").mkdir()
    (project.folder / "linked").symlink_to("elsewhere")
    words = ["--sync", "src:code", "--sync", "data:code/data", "--sync", "src:linked"]
    words += ["--sync", "data:deep/er/data", "--sync", f"src:{project.folder}/absolute/"]
    command = "cat ../version version ../../linked/version ../../deep/er/data/version ../../absolute/version && pwd"
    for version in ("d1", "d2"):
        write_version(project.folder / "data", version)
        runs = [{"cmd": command, "working_directory": "code/data"}]
        done = project.begin("a", runs, *words)
        assert done.returncode == 0, done.stderr
        assert project.stdout("a", 0) == f"v1{version}v1{version}v1{project.folder}/code/data\n"
    assert (project.folder / "code/only-v1").exists()
    assert (project.folder / "linked").readlink() == Path("elsewhere")


def test_sync_keeps_the_shells_word_for_where_it_is(project: Project) -> None:
    write_version(project.folder / "src", "v1")
    done = project.begin(
        "a", ["pwd; ls ../src/version"], "--sync", "src:.", working_directory="work"
    )
    assert done.returncode == 0, done.stderr
    assert project.stdout("a", 0) == f"{project.folder}/work\n../src/version\n"


ODD = [
    b"new\nline",
    b"no utf-8 \xff\xfe",
    b"-rf",
    b"x" * 255,
    b"back\\slash",
    b" ",
    b"a:b",
    b"'\"$(x)`",
]


def test_sync_takes_every_legal_name(project: Project) -> None:
    source = os.fsencode(project.folder) + b"/s:r c\\\xff\n"
    os.mkdir(source)
    for name in ODD:
        os.mkdir(source + b"/d" + name[1:])
        for path in (source + b"/" + name, source + b"/d" + name[1:] + b"/" + name):
            with open(path, "wb") as file:
                file.write(name)
    os.mkdir(source + b"/empty")
    word = os.fsdecode(source)
    done = project.begin(
        "a", ["true"], "--sync", word.replace("s:r", "s\\:r").replace("c\\", "c\\\\") + ":code"
    )
    assert done.returncode == 0, done.stderr
    found = os.fsencode(project.folder) + b"/code"
    assert sorted(os.listdir(found)) == sorted(os.listdir(source))
    for name in ODD:
        with open(found + b"/d" + name[1:] + b"/" + name, "rb") as file:
            assert file.read() == name
    done = project.begin("b", ["true"], "--sync", word)  # there is but one folder that it can mean
    assert done.returncode == 0, done.stderr


def test_sync_tells_what_it_does_not_pack(project: Project) -> None:
    write_version(project.folder / "src", "v1")
    os.mkfifo(project.folder / "src/pipe")
    (project.folder / "src/here").symlink_to(project.folder / "src/version")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(project.folder / "src/socket"))
        done = project.begin("a", ["cat code/here; ls code"], "--sync", "src:code")
    assert done.returncode == 0, done.stderr
    assert "only files, folders and links are" in done.stderr
    assert f"{project.folder}/src/pipe, {project.folder}/src/socket" in done.stderr
    assert project.stdout("a", 0).splitlines() == ["v1here", "lib", "only-v1", "version"]


def test_sync_of_a_sparse_file_stays_sparse(project: Project) -> None:
    (project.folder / "src").mkdir()
    with (project.folder / "src/image").open("wb") as file:
        file.truncate(2**31)
        file.seek(2**30)
        file.write(b"in the middle")
    done = project.begin("a", ["stat -c '%s %b' code/image"], "--sync", "src:code")
    assert done.returncode == 0, done.stderr
    size, blocks = map(int, project.stdout("a", 0).split())
    assert size == 2**31
    assert blocks < 1000
    with (project.folder / "code/image").open("rb") as file:
        file.seek(2**30 - 1)
        assert file.read(14) == b"\0in the middle"


def test_sync_of_an_archive_that_was_changed_is_refused(project: Project) -> None:
    write_version(project.folder / "src", "v1")
    words = ["--sync", "src:code", "--file-syncs-base-dir-url", "kept"]
    assert project.begin("a", ["true"], *words).returncode == 0
    (archive,) = (project.folder / "kept").glob("*.tar.gz")
    write_version(project.folder / "evil", "evil")
    others = ["--sync", "evil:wicked", "--file-syncs-base-dir-url", "evil-kept"]
    assert project.begin("b", ["true"], *others).returncode == 0
    (evil,) = (project.folder / "evil-kept").glob("*.tar.gz")
    shutil.copy(evil, archive)
    shutil.rmtree(project.folder / ".sc-sync")
    (project.folder / "code").unlink()
    refused = project.begin("c", ["cat code/version"], *words)
    assert refused.returncode == 3
    assert "is not what was packed: its SHA-256 is" in refused.stderr
    assert not (project.folder / "code").exists()
