"""Results in a folder that the run has chosen: each attempt finds it empty, and keeps what it puts there."""

from __future__ import annotations

import os
import signal

import pytest

from tests.processes.conftest import Execution, wait_until
from tests.processes.test_frozen import named

INTO = "$SATURN_RUN_LOCAL_RESULTS_DIR"


@pytest.mark.parametrize("left", [":", f"echo half >{INTO}/log"], ids=["nothing", "a file"])
def test_an_attempt_that_is_stored_late_takes_nothing_from_the_next_one(
    far: Execution, left: str
) -> None:
    second, go = far.folder / "second", far.folder / "go"
    rest = f"echo whole >{INTO}/model; touch {second}; until test -e {go}; do sleep 0.02; done"
    script = f"if [ $SATURN_RUN_ATTEMPT = 1 ]; then {left}; exit 1; fi; {rest}"
    (far.out / ".down").write_text("not yet")
    far.start({"cmd": script, "retries": 2, "local_results_dir": str(far.folder / "wanted")})
    wait_until(second.exists, "the second attempt has its results")
    (far.out / ".down").unlink()
    wait_until((far.out / "0/attempts/1/stderr").exists, "the first one is stored")
    wait_until(lambda: far.gauge().get("saving") == 0, "and removed here")
    go.touch()
    assert [(one.code, one.attempt) for one in far.finish()] == [(0, 2)]
    assert far.read("0/results/model") == "whole\n"
    assert not (far.out / "0/results/log").exists()
    assert os.listdir(far.folder / "wanted") == []


def test_a_run_whose_keeper_was_killed_finds_its_folder_empty(execution: Execution) -> None:
    once, wanted = execution.folder / "once", execution.folder / "wanted"
    script = f"echo $$ >{INTO}/$$; mkdir {once} && sleep 600; true"
    execution.start({"cmd": script, "local_results_dir": str(wanted)}, nprocs=1)
    wait_until(once.exists, "the run goes on")
    os.kill(named(execution, b"sc keeper 0"), signal.SIGKILL)
    assert [one.code for one in execution.finish()] == [0]
    assert len(list((execution.out / "0/results").iterdir())) == 1


def test_what_lay_there_before_stays_there(execution: Execution) -> None:
    wanted = execution.folder / "wanted"
    wanted.mkdir()
    (wanted / "mine").touch()
    (ended,) = execution.run({"cmd": "true", "local_results_dir": str(wanted)})
    assert (ended.code, ended.cause) == (None, "upload")
    assert "is not empty" in ended.reason
    assert os.listdir(wanted) == ["mine"]


def test_runs_that_share_a_folder_follow_one_another(execution: Execution) -> None:
    """As in files of Saturn Cloud's client: the next one waits until the results before are stored."""
    wanted = execution.folder / "shared"
    spellings = [str(wanted), f"{wanted}/", f"{wanted}/../shared", str(wanted)] * 3
    ended = execution.run(
        *(
            {"cmd": f"echo {number} > {wanted}/n", "local_results_dir": spelling}
            for number, spelling in enumerate(spellings)
        ),
        nprocs=1,
    )
    assert {one.code for one in ended} == {0}
    stored = [execution.read(f"{number}/results/n").strip() for number in range(len(spellings))]
    assert stored == [str(number) for number in range(len(spellings))]
    assert list(wanted.iterdir()) == []
