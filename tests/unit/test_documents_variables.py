"""Words that look like variables: where they are filled in, where they stay, and where they are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sc.documents import check_names, read_batch, read_recipe
from sc.documents.outputs import absolute, below
from sc.documents.problems import Wrong
from sc.documents.variables import dropped_names, environment, folder_of_machine
from sc.errors import InputError
from sc.model import Batch
from tests.complaints import problems


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a reader."""
    values = {
        "HOME": "/home/me",
        "DATA": "/data",
        "BUCKET": "s3://bucket/p",
        "TILDE": "~/t",
        "DOLLAR": "/a/$HOME",
        "EMPTY": "",
        "BLANK": " ",
        "UP": "../up",
        "BYTES": os.fsdecode(b"/x\xff"),
        "LINE": "/a\nb",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UNSET", raising=False)


def read(tmp_path: Path, document: Mapping[str, Any], **options: Any) -> Batch:
    path = tmp_path / "b.json"
    path.write_text(json.dumps(document))
    return read_batch(str(path), **options)


PLACES = [
    ("~/out", "/home/me/out"),
    ("~", "/home/me"),
    ("$DATA/out", "/data/out"),
    ("${DATA}/out", "/data/out"),
    ("$DATA/${DATA}x", "/data/datax"),
    ("/x/$DATA", "/x/data"),
    ("$BUCKET/out", "s3://bucket/p/out"),
    ("$TILDE/x", "/home/me/t/x"),
    ("$DOLLAR/x", "file:///a/$HOME/x"),
    ("file:///a/$HOME/~", "file:///a/$HOME/~"),
    ("s3://bucket/$HOME/~/${X}", "s3://bucket/$HOME/~/${X}"),
    ("sfs://me/$HOME", "sfs://me/$HOME"),
    ("/a/~/$1/$(x)/$$", "/a/~/$1/$(x)/$$"),
]


@pytest.mark.parametrize(("written", "place"), PLACES)
def test_place_with_variables_is_the_same_for_batch_and_run(written: str, place: str) -> None:
    assert absolute(written, "/work") == place
    assert below(written, "/out") == place


@pytest.mark.parametrize(("written", "place"), PLACES)
def test_place_read_again_stays_the_same(written: str, place: str) -> None:
    assert absolute(place, "/work") == below(place, "/out") == below(place, "s3://b/o") == place


@pytest.mark.parametrize(
    ("written", "batch", "place"),
    [
        ("~/b", "s3://bucket/out", "s3://bucket/out/~/b"),
        ("$HOME/b", "sfs://me/out", "sfs://me/out/$HOME/b"),
        ("/$DATA/b", "s3://bucket/out", "/data/b"),
        ("$DATA/b", "file:///out", "/data/b"),
        ("./~b", "/out", "/out/~b"),
        ("a~/~", "/out", "/out/a~/~"),
        ("x$DATA", "/out", "/out/x/data"),
        ("x", "file:///a/$HOME", "file:///a/$HOME/x"),
    ],
)
def test_place_of_run_below_key_or_folder(written: str, batch: str, place: str) -> None:
    assert below(written, batch) == place


def test_current_folder_with_dollar_stays_as_it_is() -> None:
    assert absolute("out", "/work/$HOME") == "file:///work/$HOME/out"
    assert absolute("$UP/x", "/work/a") == "/work/up/x"


def test_current_folder_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Wrong, match="contains bytes that are not UTF-8"):
        absolute("out", os.fsdecode(b"/work/\xff"))


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("$UNSET/x", "the environment variable 'UNSET' is not set"),
        ("${UNSET}", "the environment variable 'UNSET' is not set"),
        ("a/$EMPTY/x", "the environment variable 'EMPTY' is empty"),
        ("$BLANK", "is empty"),
        ("${DATA:-x}", "'${DATA:-x}' is not understood"),
        ("${}", "'${}' is not understood"),
        ("$BYTES", "contains half of a surrogate pair"),
        ("$LINE", "contains a control character"),
        ("~no-such-user/x", "the home folder of 'no-such-user' is not known"),
    ],
)
def test_place_that_cannot_be_filled_in_is_refused(written: str, sentence: str) -> None:
    for read_place, top in ((absolute, "/work"), (below, "/out")):
        with pytest.raises(Wrong) as caught:
            read_place(written, top)
        assert sentence in str(caught.value)


@pytest.mark.parametrize("home", ["", "relative"])
def test_home_that_is_no_folder_is_refused(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.raises(Wrong, match="the home folder that ~ stands for is not known"):
        absolute("~/x", "/work")


def test_option_is_filled_in_like_the_file(tmp_path: Path) -> None:
    batch = read(tmp_path, {"runs": [{"cmd": "a"}]}, remote_output_path="$DATA/x")
    assert batch.remote_output_path == "/data/x"


@pytest.mark.parametrize("folder", ["$HOME/x", "x/${HOME}", "${X:-y}"])
def test_folder_of_machine_with_variable_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(Wrong, match="is not filled in"):
        folder_of_machine(folder)
    run = {"cmd": "a", "local_results_dir": folder, "working_directory": folder}
    document = {"remote_output_path": "/o", "working_directory": folder, "runs": [run]}
    told = problems(tmp_path, "b.json", document)
    assert [line.split(": ")[1] for line in told] == [
        "working_directory",
        "runs[0].local_results_dir",
        "runs[0].working_directory",
    ]


@pytest.mark.parametrize("folder", ["~/x", "a$1", "a$", "{lr}", "$(x)"])
def test_folder_of_machine_without_variable_stays(folder: str) -> None:
    assert folder_of_machine(folder) == folder


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/x:$PATH"),
        ("PATH", "${PATH}:/x"),
        ("LD_LIBRARY_PATH", "/x${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"),
        ("A", "$A"),
        ("A", "$$A"),
    ],
)
def test_env_that_names_itself_is_refused(name: str, value: str) -> None:
    with pytest.raises(Wrong, match=f"{name}: |{name}': "):
        environment({name: value})


@pytest.mark.parametrize("value", ["pa$$word", "$AB", "^a$", "${now:%Y}", "$HOME", "A", "$a", "$"])
def test_env_with_other_dollars_stays(value: str) -> None:
    assert environment({"A": value}) == {"A": value}


def test_env_with_a_variable_that_is_set_is_told(tmp_path: Path) -> None:
    env = {"A": "$HOME/x", "B": "${A}", "C": "$NO_SUCH_NAME", "D": "p$$"}
    told: list[str] = []
    document = {
        "remote_output_path": "/o",
        "env": {"E": "$DATA"},
        "runs": [{"cmd": "a", "env": env}],
    }
    assert len(read(tmp_path, document, tell=told.append).runs) == 1
    assert [line.partition(": ")[2].split(" is not")[0] for line in told] == [
        "env: 'E': '$DATA'",
        "runs[0].env: 'A': '$HOME'",
        "runs[0].env: 'B': '${A}'",
    ]


@pytest.mark.parametrize("name", ["spark.master", "a-b", "1a", "a b", "é", "a%%"])
def test_env_name_that_sh_drops_is_refused_for_a_text_only(tmp_path: Path, name: str) -> None:
    assert repr(name) in dropped_names({"A": "", name: ""})
    for_list = {"cmd": ["a"], "env": {name: "x"}}
    document = {"remote_output_path": "/o", "runs": [for_list]}
    (run,) = read(tmp_path, document).runs
    assert run.env == {name: "x"}
    (told,) = problems(
        tmp_path, "b.json", {**document, "runs": [for_list, {**for_list, "cmd": "a"}]}
    )
    assert told.startswith("b.json: runs[1].env: /bin/sh drops")


def test_env_name_of_the_batch_that_sh_drops_is_told_once(tmp_path: Path) -> None:
    document = {"remote_output_path": "/o", "env": {"a.b": "x"}, "runs": [{"cmd": ["a"]}]}
    assert len(read(tmp_path, document).runs) == 1
    (told,) = problems(tmp_path, "b.json", {**document, "runs": [{"cmd": "a"}, {"cmd": "b"}]})
    assert told.startswith("b.json: env: /bin/sh drops")


def test_variables_of_a_recipe_reach_the_commands_of_the_batch(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    spec = "name: a, instance_type: local, environment_variables: {spark.master: x}"
    path.write_text(f"type: job\nspec: {{{spec}}}\n")
    recipe = read_recipe(str(path)).recipe
    document = {"remote_output_path": "/o", "runs": [{"cmd": ["a"]}]}
    check_names("r.yaml", recipe, read(tmp_path, document))
    batch = read(tmp_path, {**document, "runs": [{"cmd": ["a"]}, {"cmd": "a"}]})
    with pytest.raises(InputError, match=r"^r.yaml: spec.environment_variables: /bin/sh drops"):
        check_names("r.yaml", recipe, batch)
