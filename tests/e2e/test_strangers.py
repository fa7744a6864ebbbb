"""What was there before `sc` stays: it is refused by its name, before any run starts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.program import Program
from tests.e2e.test_executions import Place, end, place
from tests.servers import S3Server

__all__ = ["place"]

RECIPE = "type: job\nspec: {name: trial, instance_type: local}\n"


def put(place: Place, name: str, text: str = "mine") -> None:
    if place.client is None:
        path = Path(place.place, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    else:
        bucket, _, prefix = place.place[len("s3://") :].partition("/")
        place.client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=text.encode())


@pytest.mark.parametrize("name", ["1/results/a", "1/attempts/notes", "1/stdout", "1/stderr"])
@pytest.mark.parametrize(
    "words",
    [
        ("batch", "batch.json"),
        ("rerun", "batch.json", "1", "--save"),
        ("split", "recipe.yaml", "batch.json", "commands", "--start", "--wait"),
    ],
    ids=lambda words: words[0],
)
def test_strangers_are_refused_and_stay(place: Place, name: str, words: tuple[str, ...]) -> None:
    (place.folder / "recipe.yaml").write_text(RECIPE)
    began = place.folder / "began"
    place.batch("batch.json", {"0": f"touch {began}", "1": f"touch {began}"})
    put(place, name)
    refused = place.run(*words)
    assert refused.returncode == 3, refused.stderr
    assert f"{place.place}/{name}: " in refused.stderr
    assert not began.exists()
    assert place.files() == {name: "mine"}
    assert place.leases() == []


def test_other_files_at_an_output_path_stay_as_they_are(place: Place) -> None:
    place.batch("batch.json", {"0": "echo hi"})
    put(place, "0/src/main.py")
    put(place, "0/notes")
    assert place.run("batch", "batch.json").returncode == 0
    assert place.run("batch", "batch.json").returncode == 0
    assert place.files() == {
        "0/notes": "mine",
        "0/src/main.py": "mine",
        "0/status_code": "0",
        "0/stderr": "",
        "0/stdout": "hi\n",
    }


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_what_was_interrupted_can_be_executed_again(place: Place, how: int) -> None:
    """Results that an execution was storing when it was killed are known by its lease."""
    place.batch("batch.json", {"0": place.waits("0") + "echo hi", "1": "exit 0"})
    process = place.start("batch", "batch.json")
    place.wait_for("0")
    process.send_signal(how)
    end(process)
    put(place, "0/results/half")
    put(place, "0/stdout", "hal")
    place.go("0")
    again = place.run("batch", "batch.json")
    assert again.returncode == 0, again.stderr
    assert sorted(place.files()) == sorted(
        f"{run}/{name}" for run in "01" for name in ("status_code", "stderr", "stdout")
    )
    assert place.leases() == []


def test_strangers_that_are_found_late_are_not_stored(
    program: Program, tmp_path: Path, seaweed: S3Server, bucket: str
) -> None:
    """On S3, of all but the first thousand runs it is seen when their turn comes."""
    one = Place(program, tmp_path, f"s3://{bucket}/out", seaweed.environment())
    one.client = seaweed.client()
    one.batch("batch.json", {f"{n:04}": "true" for n in range(1002)}, nprocs=8)
    put(one, "1001/results/a")
    done = one.run("batch", "batch.json")
    assert done.returncode == 3
    assert "1,001 completed, 1 not stored" in done.stderr
    assert f"{one.place}/1001/results/a: it was there before" in done.stderr
    found = one.client.list_objects_v2(Bucket=bucket, Prefix="out/1001/")["Contents"]
    assert [entry["Key"] for entry in found] == ["out/1001/results/a"]


@pytest.mark.parametrize("made", ["a file", "a link", "a folder as stdout"])
def test_strangers_of_any_kind_in_a_folder_are_refused(
    program: Program, tmp_path: Path, made: str
) -> None:
    out = tmp_path / "out"
    (out / "0").mkdir(parents=True)
    if made == "a file":
        (out / "1").write_text("mine")
    elif made == "a link":
        (out / "0/results").symlink_to(tmp_path)
    else:
        (out / "0/stdout").mkdir()
    one = Place(program, tmp_path, str(out), {})
    one.batch("batch.json", {"0": "true", "1": "true"})
    assert one.run("batch", "batch.json").returncode == 3
    assert not [*out.rglob("status_code")]
