"""Which job a person means by what is at hand: its URL, its batch, its commands folder, the folder of its outputs, or
the name of its machines on EC2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Optional

from sc import commands_folder, paths, s3_settings
from sc.commands.voice import say
from sc.errors import InputError, ScError

if TYPE_CHECKING:
    from sc.storage import Storage

FindByName = Callable[[str], Optional[str]]
"""The URL (or, where that is too long for a tag, the name) of the job on EC2 that is called so, or None."""

HELP = "its URL, batch, commands folder or recipe.yaml, or the folder of its outputs"
"""What may stand for a job, for the help of a command."""


def one_job(word: Optional[str], storage: Storage, by_name: Optional[FindByName] = None) -> str:
    """The URL of the job that is meant; of several below one place the one that was started last.

    No word means the commands folder that `sc split` writes by default. Raises InputError.
    """
    urls = jobs(word, storage, by_name)
    if len(urls) == 1:
        return urls[0]
    newest = min(urls, key=lambda url: _age(url, storage))
    say(f"sc: of {len(urls)} jobs this one was started last: {newest}")
    return newest


def jobs(
    word: Optional[str], storage: Storage, by_name: Optional[FindByName] = None
) -> Sequence[str]:
    """The URLs of all jobs that are meant, at least one. Raises InputError."""
    if word is None:
        if not os.path.isfile(_recipe_in(commands_folder.DEFAULT)):
            raise InputError(f"say which job is meant: {HELP}")
        word = _recipe_in(commands_folder.DEFAULT)
    split = _split_of(word)
    if split is not None:
        return [_of_split(word, split)]
    if os.path.isfile(word):
        return _of_batch(word, storage)
    if "/" not in word and not os.path.isdir(word):
        return _by_name(word, by_name)
    url = absolute(word)
    if storage.stat(paths.recipe(url)) is not None:
        return [url]
    return _below(url, storage) or _of_far_batch(word, url, storage)


def absolute(word: str) -> str:
    """A place in the form in which jobs are known: a folder is named from the root."""
    place = word.rstrip("/") or "/"
    place = place[len("file://") :] if place.startswith("file://") else place
    return place if "://" in place else os.path.abspath(place)


def _recipe_in(folder: str) -> str:
    return os.path.join(folder, commands_folder.RECIPE)


def _split_of(word: str) -> Optional[commands_folder.Split]:
    """What `sc split` has left, if this is its folder, or the recipe in it."""
    recipe = _recipe_in(word) if os.path.isdir(word) else word
    return commands_folder.read(recipe) if os.path.isfile(recipe) else None


def _of_split(word: str, split: commands_folder.Split) -> str:
    from sc.documents import read_batch, read_recipe

    recipe = read_recipe(_recipe_in(word) if os.path.isdir(word) else word).recipe
    s3_settings.keep(recipe.s3, os.environ)
    if not split.parts:
        raise InputError(
            f"{word}: nothing was left to be run when it was split, so there is no job"
        )
    return paths.job(read_batch(split.parts[0], at_once=1).remote_output_path, recipe.name)


def _of_batch(word: str, storage: Storage) -> Sequence[str]:
    from sc.documents import read_batch

    batch = read_batch(
        word, fetch=storage.get_file, tell=lambda line: say(f"sc: {line}"), at_once=1
    )
    found = _below(batch.remote_output_path, storage)
    if not found:
        place = paths.join(batch.remote_output_path, paths.JOBS)
        raise InputError(f"No job was started for {word}: there is none below {place}.")
    return found


def _below(place: str, storage: Storage) -> Sequence[str]:
    """The jobs whose outputs lie there."""
    names = storage.list_folders(paths.join(place, paths.JOBS))
    found = [paths.job(place, name) for name in names]
    return [url for url in found if storage.stat(paths.recipe(url)) is not None]


def _of_far_batch(word: str, url: str, storage: Storage) -> Sequence[str]:
    if storage.local_path(url) is None and storage.stat(url) is not None:
        return _of_batch(word, storage)
    raise InputError(f"There is no job at {url}: it has no recipe.json, nor has it jobs below.")


def _by_name(word: str, by_name: Optional[FindByName]) -> Sequence[str]:
    from sc.fleets.ec2_aws import AwsRefused

    why = ""
    try:
        found = by_name(word) if by_name is not None else None
    except InputError as error:
        raise InputError(
            f"There is no file or folder '{word}'; as the name of a job:", *error.problems
        ) from error
    except ScError as error:
        if isinstance(error, AwsRefused) and not error.has_no_credentials:
            raise AwsRefused(
                f"There is no file or folder '{word}', and EC2 could not be asked for a job of that name: {error}",
                error.code,
            ) from error
        found, why = None, f" (EC2 could not be asked: {error})"
    if found is not None:
        return [found]
    raise InputError(f"There is no file, folder or job on EC2 called '{word}'{why}; name {HELP}.")


def _age(url: str, storage: Storage) -> float:
    entry = storage.stat(paths.recipe(url))
    return float("inf") if entry is None else entry.age_seconds
