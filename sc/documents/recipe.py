"""A recipe file -> Recipe.

The keys of a job's recipe as Saturn Cloud writes it are all accepted. Those that mean nothing here
are named in `Recipe.ignored`, and told in one line by whoever has a user to tell it to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sc import s3_settings
from sc.documents import scalars
from sc.documents.json_text import JsonError, read_json
from sc.documents.parameters import check_parameter
from sc.documents.problems import Problems, Wrong, kind_of, shown, unknown_key
from sc.documents.scalars import Plain
from sc.documents.source import Source, open_file
from sc.documents.variables import dropped_names, environment, folder_of_machine
from sc.documents.yaml_text import YamlError, read_yaml
from sc.errors import InputError
from sc.model import Batch, Recipe
from sc.widths import OPEN, Width

MOST_MACHINES = 10_000
_LARGEST_FILE = 4 * 1024**2
_LONGEST_HOURS = 10 * 8766
_MOST_TAGS = 40  # of the 50 that EC2 allows; some are ours

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d{1,2}", re.ASCII)
_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", re.ASCII)
_DOTLESS = re.compile(
    # r6a|xlarge, g4dn|12xlarge, p3|16xlarge: the family's generation is one digit, and
    # these letters are all that EC2 has used after it.
    r"([a-z]{1,3}\d[abdeginqsz]{0,4}?)(nano|micro|small|medium|large|\d{0,3}xlarge|metal)",
    re.ASCII,
)
_SATURN_IMAGE = re.compile(r"[^/:]+/[^:]+(:.*)?")

_IGNORED = frozenset(
    {
        "auto_shutoff",
        "auto_shutoff_default",
        "dask_cluster",
        "description",
        "disable_auto_shutoff",
        "env_name",
        "extra_apt_packages",
        "extra_conda_packages",
        "extra_packages",
        "extra_pip_packages",
        "git_repositories",
        "ide",
        "image_name",
        "image_tag",
        "image_uri",
        "instance_count",
        "is_public",
        "network_policies",
        "owner",
        "owner_name",
        "plugins",
        "routes",
        "schedule",
        "secrets",
        "shared_folders",
        "ssh",
        "ssh_enabled",
        "start_dind",
        "start_ssh",
        "startup_script_timeout",
        "token_scope",
        "viewers",
        "visibility",
    }
)
"""What Saturn Cloud's recipes hold and `sc` has no use for."""
_TOP = ("type", "spec")
_TOP_IGNORED = ("state", "version", "schema_version")


@dataclass(frozen=True)
class RecipeFile:
    """A recipe, and the file it came from."""

    recipe: Recipe
    raw: dict[str, Any]
    """The whole document with the overrides in its `spec`; for `write_yaml`, which keeps its spelling."""
    commands: tuple[str, ...]
    """`spec.command`, as `sc split` has written it; empty if there is none."""
    width: Width = OPEN
    """Who may read the file, and so what is derived from it."""


def read_recipe(path: str, overrides: Mapping[str, object] = {}) -> RecipeFile:
    """Read and check a recipe. Raises InputError with all of its problems.

    `overrides` are keys of `spec` that win over those of the file; None means not given.
    """
    source = open_file(path, path)
    raw = _document(path, source)
    problems = Problems(path)
    for key in raw:
        if key not in _TOP and key not in _TOP_IGNORED:
            problems.add("", unknown_key(key, _TOP))
    if raw.get("type") != "job":
        found = f", not {kind_of(raw['type'])}" if "type" in raw else ""
        problems.add("type", f"`type: job` is expected{found}; sc knows no other")
    spec = raw.get("spec")
    if not isinstance(spec, dict):
        problems.add("spec", "a mapping with name and instance_type is expected")
        raise problems.error()
    given = {key: _plain(value) for key, value in overrides.items() if value is not None}
    spec = {**spec, **given}
    recipe, commands = _recipe(spec, problems)
    problems.raise_if_any()
    return RecipeFile(recipe, {**raw, "spec": spec}, commands, source.width)


def check_names(path: str, recipe: Recipe, batch: Batch) -> None:
    """Raise InputError if a command of the batch would not get a variable of the recipe. `path` is the recipe's."""
    dropped = dropped_names(recipe.environment_variables)
    if dropped and any(isinstance(run.cmd, str) for run in batch.runs):
        problems = Problems(path)
        problems.add("spec.environment_variables", dropped)
        raise problems.error()


def _document(path: str, source: Source) -> dict[str, Any]:
    if source.size > _LARGEST_FILE:
        raise InputError(f"{path}: is larger than {_LARGEST_FILE // 1024**2} MiB; is it a recipe?")
    try:
        if path.lower().endswith(".json"):
            return {one.key: one.value for one in read_json(source.text(), streamed="")}
        document = read_yaml(source.text())
    except (JsonError, YamlError) as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        what = "is empty" if document is None else f"holds {kind_of(document)}"
        raise InputError(f"{path}: {what}; a recipe is a mapping with type and spec.")
    return document


def _plain(value: object) -> object:
    """An option's value, as if it had been written in the file."""
    if isinstance(value, bool):
        return Plain("true" if value else "false")
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return Plain(value) if isinstance(value, (str, int, float)) else value


def _recipe(spec: Mapping[str, Any], problems: Problems) -> tuple[Recipe, tuple[str, ...]]:
    values: dict[str, Any] = {}
    commands: tuple[str, ...] = ()
    ignored = []
    for key, content in spec.items():
        if key in _IGNORED or (key == "image" and _is_saturn_image(content)):
            ignored.append(key)
        elif key not in _READERS:
            problems.add("spec", unknown_key(key, _READERS))
        elif content is not None:
            try:
                value = _READERS[key](content)
            except Wrong as wrong:
                problems.add(f"spec.{key}", str(wrong))
                value = None
            if key == "command":
                commands = value or ()
            else:
                values[_FIELDS.get(key, key)] = value
    for key in ("name", "instance_type"):
        if _FIELDS.get(key, key) not in values:
            option = f"--{key.replace('_', '-')}"
            problems.add(f"spec.{key}", f"is missing; add it, or give {option}")
    s3 = {key: values.pop(key) for key in s3_settings.KEYS if values.get(key)}
    if s3_settings.ENCRYPTION in s3 and s3_settings.contradiction(s3):
        problems.add(f"spec.{s3_settings.ENCRYPTION}", s3_settings.contradiction(s3))
    if problems.count:
        return Recipe("", ()), ()
    for key in s3_settings.KEYS:  # `null` as none given
        values.pop(key, None)
    return Recipe(ignored=tuple(ignored), s3=s3, **values), commands


def _is_saturn_image(value: object) -> bool:
    """Container images, such as saturncloud/saturn-python:2023.09.01, run on no machine of ours."""
    return isinstance(value, dict) or (
        isinstance(value, str)
        and not value.startswith(("resolve:", "arn:"))
        and _SATURN_IMAGE.fullmatch(value) is not None
    )


def _name(value: object) -> str:
    name = scalars.text(value)
    if not _NAME.fullmatch(name):
        raise Wrong(
            f"{shown(name)} is no name of a job: it takes 1 to 63 letters, digits, '.', '_' and "
            "'-', and begins with a letter or a digit"
        )
    return name


def _instance_types(value: object) -> tuple[str, ...]:
    types = tuple(dict.fromkeys(_instance_type(one) for one in scalars.texts(value)))
    if not types:
        raise Wrong("is an empty list; name an instance type, or `local`")
    if "local" in types and len(types) > 1:
        raise Wrong("`local` is this machine and cannot be mixed with instance types")
    return types


def _instance_type(written: str) -> str:
    if written == "local" or _INSTANCE_TYPE.fullmatch(written):
        return written
    match = _DOTLESS.fullmatch(written)
    if match is None:
        raise Wrong(
            f"{shown(written)} is no instance type: write one such as r6a.xlarge, or `local`; "
            "`sc options` lists them"
        )
    return f"{match.group(1)}.{match.group(2)}"


def _scale(value: object) -> int:
    return scalars.whole(value, 1, MOST_MACHINES)


def _max_hours(value: object) -> float:
    return scalars.number_above_zero(value, _LONGEST_HOURS)


def _region(value: object) -> str:
    region = scalars.text(value)
    if not _REGION.fullmatch(region):
        raise Wrong(f"{shown(region)} is no region of AWS; write one such as eu-west-1")
    return region


def _tags(value: object) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for key, content in scalars.mapping(value).items():
        name = scalars.filled_text(key)
        if name.lower().startswith(("aws:", "sc:")):
            raise Wrong(f"{shown(name)} begins with a prefix that is kept for AWS and sc")
        try:
            tags[name] = scalars.text(content)
        except Wrong as wrong:
            raise Wrong(f"{shown(name)}: {wrong}") from None
        if len(name) > 128 or len(tags[name]) > 256:
            raise Wrong(f"{shown(name)}: AWS takes 128 characters of a name and 256 of a value")
    if len(tags) > _MOST_TAGS:
        raise Wrong(f"there are {len(tags)} tags; at most {_MOST_TAGS} fit beside those of sc")
    return tags


def _environment(value: object) -> Mapping[str, str]:
    variables = environment(value)
    for name, content in variables.items():
        try:
            check_parameter(content)
        except Wrong as wrong:
            raise Wrong(f"{shown(name)}: {wrong}") from None
    return variables


def _s3_setting(key: str, value: object) -> str:
    try:
        return s3_settings.read(key, scalars.filled_text(value))
    except ValueError as error:
        raise Wrong(str(error)) from None


_READERS: Mapping[str, Callable[[object], Any]] = {
    "name": _name,
    "instance_type": _instance_types,
    "scale": _scale,
    "working_directory": folder_of_machine,
    "start_script": scalars.text,
    "environment_variables": _environment,
    "use_spot_instance": scalars.switch,
    "image": scalars.filled_text,
    "disk_space": scalars.gibibytes,
    "region": _region,
    "subnets": scalars.texts,
    "security_groups": scalars.texts,
    "instance_profile": scalars.filled_text,
    "key_name": scalars.filled_text,
    "max_hours": _max_hours,
    "tags": _tags,
    **{key: partial(_s3_setting, key) for key in s3_settings.KEYS},
    "command": scalars.texts,
}
_FIELDS: Mapping[str, str] = {"instance_type": "instance_types"}
"""Where the field of Recipe is not named as the key."""
