"""Each wrong input gives one sentence per problem, the right exit code, no traceback and no effect."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.program import Program
from tests.e2e.wrong_inputs import S3, TABLE, Wrong
from tests.servers import S3Server


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below, with its content, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def check(program: Program, folder: Path, wrong: Wrong) -> None:
    for name, text in wrong.files.items():
        (folder / name).write_text(text)
    for name, data in wrong.bytes_of.items():
        (folder / name).write_bytes(data)
    before = tree(folder)
    ran = program.run(*wrong.words, cwd=folder, environment=wrong.environment, stdin=wrong.stdin)
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    lines = ran.stderr.splitlines()
    assert [line[:4] for line in lines] == ["sc: "] * len(wrong.told), ran.stderr
    for line, part in zip(lines, wrong.told):
        assert part in line
    assert ran.returncode == wrong.code, ran.stderr
    assert tree(folder) == before


@pytest.mark.parametrize("wrong", TABLE, ids=[wrong.title for wrong in TABLE])
def test_the_table(program: Program, tmp_path: Path, wrong: Wrong) -> None:
    check(program, tmp_path, wrong)


def test_the_table_has_no_title_twice() -> None:
    assert len({wrong.title for wrong in TABLE}) == len(TABLE) >= 40


def test_a_bucket_that_does_not_exist(program: Program, tmp_path: Path, seaweed: S3Server) -> None:
    wrong = Wrong("", ["batch", "b.json"], ["there is no bucket a-bucket"], {"b.json": S3}, code=3)
    check(program, tmp_path, Wrong(**{**vars(wrong), "environment": seaweed.environment()}))


def test_a_wrong_key(program: Program, tmp_path: Path, seaweed: S3Server, bucket: str) -> None:
    environment = {**seaweed.environment(), "AWS_SECRET_ACCESS_KEY": "wrong"}
    text = S3.replace("a-bucket", bucket)
    check(
        program,
        tmp_path,
        Wrong(
            "",
            ["batch", "b.json"],
            ["AWS_SECRET_ACCESS_KEY"],
            {"b.json": text},
            code=3,
            environment=environment,
        ),
    )


def test_a_folder_that_may_not_be_written_to(program: Program, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    text = '{"remote_output_path": "out", "runs": [{"cmd": "true"}]}'
    wrong = Wrong("", ["batch", "b.json"], ["out"], {"b.json": text}, code=3)
    check(as_anybody(program), tmp_path, wrong)


def as_anybody(program: Program) -> Program:
    """Without root's right to write everywhere."""
    if os.getuid() != 0:
        return program
    rights = "-dac_override,-dac_read_search"
    return replace(program, words=["setpriv", "--bounding-set", rights, *program.words])
