"""Recipes: on which machines, and what Saturn Cloud's recipes say that means nothing here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sc.documents import RecipeFile, read_recipe, write_yaml
from sc.errors import InputError
from sc.model import Recipe

FULL = """\
type: job
spec:
  name: backfill
  instance_type: [r6axlarge, m5.large]
  scale: 2
  working_directory: /home/jovyan/workspace
  start_script: |
    ### BEGIN SATURN_CLIENT GENERATED CODE
    echo hello
    ### END SATURN_CLIENT GENERATED CODE
  environment_variables: {A: 0.10, B: yes, C: 2024-01-01}
  use_spot_instance: yes
  image: ami-0123456789
  disk_space: 100Gi
  region: eu-west-1
  subnets: subnet-1
  security_groups: [sg-1, sg-2]
  instance_profile: worker
  key_name: laptop
  max_hours: 1.5
  tags: {team: data, year: 2024}
  command: [sc batch /tmp/0.json, sc batch /tmp/1.json]
  owner: internal/hugo
  schedule: null
  start_dind: false
  git_repositories:
  - {url: git@github.com:x/y.git, path: /home/jovyan/y, public: false}
state:
  id: 30ea539fdef64274a9a777ada32535ae
"""


def recipe_file(tmp_path: Path, text: str, **overrides: Any) -> RecipeFile:
    (tmp_path / "recipe.yaml").write_text(text)
    return read_recipe(str(tmp_path / "recipe.yaml"), overrides)


def problems(tmp_path: Path, text: str, **overrides: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        recipe_file(tmp_path, text, **overrides)
    return [line.replace(f"{tmp_path}/recipe.yaml: ", "") for line in caught.value.problems]


def test_everything_that_a_recipe_can_say(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, FULL)
    assert file.recipe == Recipe(
        name="backfill",
        instance_types=("r6a.xlarge", "m5.large"),
        scale=2,
        working_directory="/home/jovyan/workspace",
        start_script="### BEGIN SATURN_CLIENT GENERATED CODE\necho hello\n"
        "### END SATURN_CLIENT GENERATED CODE\n",
        environment_variables={"A": "0.10", "B": "yes", "C": "2024-01-01"},
        use_spot_instance=True,
        image="ami-0123456789",
        disk_space=100,
        region="eu-west-1",
        subnets=("subnet-1",),
        security_groups=("sg-1", "sg-2"),
        instance_profile="worker",
        key_name="laptop",
        max_hours=1.5,
        tags={"team": "data", "year": "2024"},
        ignored=("owner", "schedule", "start_dind", "git_repositories"),
    )
    assert file.commands == ("sc batch /tmp/0.json", "sc batch /tmp/1.json")


def test_a_recipe_written_again_means_the_same(tmp_path: Path) -> None:
    raw = recipe_file(tmp_path, FULL, scale=3).raw
    raw["spec"]["command"] = ["sc batch '/tmp/a b/0.json'", "sc batch 1.json  # no", "yes"]
    text = write_yaml(raw)
    expected = yaml.safe_load(FULL)
    expected["spec"].update(scale=3, command=raw["spec"]["command"])
    assert yaml.safe_load(text) == expected
    assert "A: 0.10\n" in text
    assert "start_script: |\n    ### BEGIN" in text
    assert recipe_file(tmp_path, text).raw == raw


def test_yaml_that_we_write_keeps_texts_apart_from_numbers() -> None:
    document = {"a": ["1", "yes", "null", "", "2024-01-01", "a: b", "# c", " x", "é", "a\nb"]}
    assert yaml.safe_load(write_yaml(document)) == document


def test_overrides_win_and_none_means_not_given(tmp_path: Path) -> None:
    text = "type: job\nspec: {name: a, instance_type: local, scale: 1}"
    file = recipe_file(tmp_path, text, name="b", instance_type="r6axlarge", scale=4, region=None)
    assert file.recipe == Recipe("b", ("r6a.xlarge",), scale=4)
    assert yaml.safe_load(write_yaml(file.raw)) == {
        "type": "job",
        "spec": {"name": "b", "instance_type": "r6axlarge", "scale": 4},
    }


def test_a_missing_name_can_come_from_the_command_line(tmp_path: Path) -> None:
    text = "type: job\nspec: {instance_type: local}"
    assert recipe_file(tmp_path, text, name="x").recipe == Recipe("x", ("local",))
    assert problems(tmp_path, text) == ["spec.name: is missing; add it, or give --name"]


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("local", "local"),
        ("r6a.xlarge", "r6a.xlarge"),
        ("r6axlarge", "r6a.xlarge"),
        ("m5large", "m5.large"),
        ("g4dnxlarge", "g4dn.xlarge"),
        ("g4dn12xlarge", "g4dn.12xlarge"),
        ("p316xlarge", "p3.16xlarge"),
        ("t3amedium", "t3a.medium"),
        ("x2iedn32xlarge", "x2iedn.32xlarge"),
        ("trn132xlarge", "trn1.32xlarge"),
        ("m7i-flex.large", "m7i-flex.large"),
        ("u-6tb1.112xlarge", "u-6tb1.112xlarge"),
    ],
)
def test_instance_types(tmp_path: Path, written: str, understood: str) -> None:
    file = recipe_file(tmp_path, f"type: job\nspec: {{name: a, instance_type: {written}}}")
    assert file.recipe.instance_types == (understood,)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("instance_type: large", "spec.instance_type: 'large' is no instance type: write one such"),
        ("instance_type: m7iflexlarge", "spec.instance_type: 'm7iflexlarge' is no instance type"),
        ("instance_type: []", "spec.instance_type: is an empty list; name an instance type, or"),
        ("instance_type: [local, m5.large]", "spec.instance_type: `local` is this machine and"),
        ("name: -a", "spec.name: '-a' is no name of a job"),
        ("name: 'a/b'", "spec.name: 'a/b' is no name of a job"),
        ('name: "a\'; echo foo"', 'spec.name: "a\'; echo foo" is no name of a job'),
        ("name: ''", "spec.name: '' is no name of a job"),
        (f"name: {'a' * 64}", "spec.name: 'aaa"),
        ('name: "a\\n"', "spec.name: 'a\\n' is no name of a job"),
        ("scale: 0", "spec.scale: a whole number from 1 to 10,000 is expected, not 0"),
        ("scale: two", "spec.scale: a whole number is expected, not 'two'"),
        ("scales: 2", "spec: unknown key 'scales', did you mean scale?"),
        ("max_hours: 0", "spec.max_hours: a number above 0 and up to 87,660 is expected, not 0"),
        ("disk_space: lots", "spec.disk_space: a size in GiB such as 100 or 100Gi is expected"),
        ("disk_space: 0", "spec.disk_space: a size from 1 to 65,536 GiB is expected, not 0"),
        ("use_spot_instance: maybe", "spec.use_spot_instance: true or false is expected, not"),
        ("region: Europe", "spec.region: 'Europe' is no region of AWS; write one such as eu-w"),
        ("subnets: {a: b}", "spec.subnets: a text is expected, not a mapping"),
        ("environment_variables: [A]", "spec.environment_variables: a mapping of names to"),
        ("environment_variables: {A: null}", "spec.environment_variables: 'A': a text is"),
        ("tags: {'aws:x': y}", "spec.tags: 'aws:x' begins with a prefix that is kept"),
        ("start_script: [a]", "spec.start_script: a text is expected, not a list"),
    ],
)
def test_what_is_wrong_in_a_recipe(tmp_path: Path, line: str, sentence: str) -> None:
    rest = [other for other in ("name: a", "instance_type: local") if other[:5] != line[:5]]
    text = "type: job\nspec:\n" + "".join(f"  {one}\n" for one in [*rest, line])
    told = problems(tmp_path, text)
    assert told[0].startswith(sentence)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("type: deployment\nspec: {name: a, instance_type: local}", ["type: `type: job` is exp"]),
        ("spec: {name: a, instance_type: local}", ["type: `type: job` is expected; sc knows no"]),
        ("type: job", ["spec: a mapping with name and instance_type is expected"]),
        ("typ: job\nspec: 5", ["unknown key 'typ', did you mean type?", "type: ", "spec: "]),
        ("type: job\nspec: {}", ["spec.name: is missing", "spec.instance_type: is missing"]),
        ("", ["is empty; a recipe is a mapping with type and spec."]),
        ("[]", ["holds a list; a recipe is a mapping with type and spec."]),
        ("type: job\n  spec: x", ["line 2, column 7: is not YAML: mapping values are not allowed"]),
    ],
)
def test_what_is_no_recipe(tmp_path: Path, text: str, told: list[str]) -> None:
    found = problems(tmp_path, text)
    assert len(found) == len(told)
    assert all(line.startswith(begin) for line, begin in zip(found, told))


def test_images_of_saturn_cloud_are_ignored(tmp_path: Path) -> None:
    for image in ("saturncloud/saturn-python:2023.09.01", "{name: a, version: b}"):
        text = f"type: job\nspec: {{name: a, instance_type: local, image: {image}}}"
        recipe = recipe_file(tmp_path, text.replace(image, f"'{image}'" if "/" in image else image))
        assert recipe.recipe == Recipe("a", ("local",), ignored=("image",))


def test_an_alias_bomb_in_what_is_ignored_is_written_again_as_short(tmp_path: Path) -> None:
    levels = "".join(f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    text = f"type: job\nspec:\n  name: a\n  instance_type: local\n  secrets:\n  - &a0 [x]\n{levels}"
    assert len(write_yaml(recipe_file(tmp_path, text).raw)) < 10_000


def test_a_recipe_in_json(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text('{"type": "job", "spec": {"name": "a", "instance_type": "local", "scale": 3}}')
    assert read_recipe(str(path)).recipe == Recipe("a", ("local",), scale=3)


PARAMETER_ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter"


def with_value(folder: Path, value: str) -> Path:
    path = folder / "recipe.json"
    spec = {"name": "j", "instance_type": "local", "environment_variables": {"KEY": value}}
    path.write_text(json.dumps({"type": "job", "spec": spec}))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "/sc/key",
        "key",
        "/a/b.c-d_e/F9",
        "/sc/key:3",
        "/sc/key:stable",
        "/sc/key:v1.2_x-y",
        f"{PARAMETER_ARN}/sc/key",
        f"{PARAMETER_ARN}/key:12",
        f"{PARAMETER_ARN}/sc/key:stable",
        "arn:aws-us-gov:ssm:us-gov-west-1:123456789012:parameter/a",
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        "/aws/reference/secretsmanager/team/db+1@x",
        "/aws/reference/secretsmanager/db:AWSCURRENT",
        "/aws/reference/secretsmanager/db:11111111-aaaa-4aaa-8aaa-1234567890ab",
        "/" + "/".join("abcdefghijklmno"),
    ],
)
def test_parameter_is_named_as_parameter_store_takes_it(tmp_path: Path, name: str) -> None:
    recipe = read_recipe(str(with_value(tmp_path, f"ssm:{name}"))).recipe
    assert recipe.environment_variables == {"KEY": f"ssm:{name}"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "no name of a parameter"),
        ("/", "no name of a parameter"),
        (" /sc/key", "no name of a parameter"),
        ("/sc/key ", "no name of a parameter"),
        ("/sc//key", "no name of a parameter"),
        ("/sc/kéy", "no name of a parameter"),
        ("/" + "/".join("abcdefghijklmnop"), "no name of a parameter"),
        ("/sc/key:", "neither a version"),
        ("/sc/key:0", "neither a version"),
        ("/sc/key:3a", "neither a version"),
        ("/sc/key:aws-x", "neither a version"),
        ("/sc/key:SSM", "neither a version"),
        ("/sc/key:3:4", "neither a version"),
        ("/sc/key:a b", "neither a version"),
        ("arn:aws:ssm:eu-west-1:1234:parameter/sc/key", "an ARN of a parameter is"),
        ("arn:aws:s3:::bucket/key", "an ARN of a parameter is"),
        (f"{PARAMETER_ARN}", "an ARN of a parameter is"),
        (f"{PARAMETER_ARN}/", "no name of a parameter"),
        (f"{PARAMETER_ARN}/a:", "neither a version"),
        ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:x", "an ARN of a parameter is"),
    ],
)
def test_what_is_no_parameter_is_refused_when_the_recipe_is_read(
    tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(InputError) as refused:
        read_recipe(str(with_value(tmp_path, f"ssm:{name}")))
    assert words in str(refused.value)
    assert "spec.environment_variables: " in str(refused.value)
    assert "KEY" in str(refused.value)
    assert len(refused.value.problems) == 1
