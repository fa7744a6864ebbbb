"""`sc apply`: start what an earlier split has written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from sc import commands_folder, paths, s3_settings
from sc.commands.arguments import add_max_failures, add_on_end
from sc.commands.following import after_start, follow, follow_started
from sc.commands.starting import (
    Work,
    check_gpus,
    check_here,
    check_sync,
    intend,
    start,
    tell_keys,
)
from sc.commands.voice import command_line, say, tell
from sc.commands.watch import followed_by_url
from sc.errors import ExitCode, InputError
from sc.model import GpuNeeds
from sc.widths import OPEN, Widths

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.documents import RecipeFile
    from sc.model import Recipe

EXAMPLES = f"""
Examples:
  sc apply {commands_folder.DEFAULT}/recipe.yaml                 check that it can be started
  sc apply {commands_folder.DEFAULT}/recipe.yaml --start         start its machines
  sc apply {commands_folder.DEFAULT}/recipe.yaml --start --wait  and stay until the job has ended
  sc apply {commands_folder.DEFAULT}/recipe.yaml --wait          watch the job that is running

Starts the recipe that 'sc split' has written, with the parts that lie beside it. On this machine a job begins
where it was split, wherever 'sc apply' is called.
"""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc apply`."""
    parser = subparsers.add_parser("apply", description=EXAMPLES)
    parser.add_argument("recipe", metavar="RECIPE_YAML", help="as 'sc split' has written it")
    parser.add_argument("--start", action="store_true", help="start the machines")
    parser.add_argument("--wait", action="store_true", help="stay until the job has ended")
    add_max_failures(parser.add_argument)
    add_on_end(parser.add_argument)
    parser.add_argument(
        "--sync",
        metavar="SRC[:DEST]",
        action="append",
        default=[],
        help="a folder that each machine gets, besides those that split was told; repeatable",
    )
    parser.add_argument(
        "--file-syncs-base-dir-url", metavar="PLACE", help="where synced folders are kept"
    )
    parser.add_argument(
        "--json", action="store_true", help="with --wait: how it ended, as an object"
    )
    return parser


class Found(NamedTuple):
    """A split, read again."""

    file: RecipeFile
    work: Work
    parts: tuple[str, ...]


def run(args: argparse.Namespace) -> int:
    """Check, start, follow."""
    from sc.storage import open_storage

    if args.on_end and not args.wait:
        raise InputError("apply: --on-end needs --wait: who does not wait does not see the end")
    if args.max_failures and not args.start:
        raise InputError("apply: --max-failures needs --start: a job has it from its beginning")
    found = _find(args)
    if not found.parts:
        say("sc: nothing is left to be run")
        return ExitCode.OK
    storage = open_storage()
    if args.wait and not args.start:
        recipe = found.file.recipe
        url = paths.job(found.work.remote_output_path, recipe.name)
        return follow(followed_by_url(storage, url, recipe.region or ""), args, only_last=True)
    check_here(found.file.recipe)
    with TemporaryDirectory(prefix="sc-") as packing:
        intended = intend(found.file.recipe, found.work, storage, packing)
        if args.start:
            tell_keys(found.file.recipe, args.wait)
            start(intended, _contents(found), tell)
    if args.start and args.wait:
        return follow_started(intended, args, args.recipe)
    if args.start:
        return after_start(intended, args.recipe)
    say(f"sc: {args.recipe} is ready; start it with:")
    say(f"sc: {command_line('apply', args.recipe, '--start')}")
    return ExitCode.OK


def _find(args: argparse.Namespace) -> Found:
    """Read recipe, manifest and parts, all strictly. Raises InputError."""
    from sc.documents import read_recipe

    extra = [check_sync(word) for word in args.sync]
    file = read_recipe(args.recipe)
    s3_settings.keep(file.recipe.s3, os.environ)
    split = commands_folder.read(args.recipe)
    if split is None:
        raise InputError(
            f"{args.recipe} was not written by 'sc split', so there are no parts beside it; make them "
            f"with: {command_line('split', args.recipe, 'BATCH', 'COMMANDS_DIR')}"
        )
    base = args.file_syncs_base_dir_url or split.file_syncs_base_dir_url or ""
    plain = _work(args.recipe, file, split, extra, base)
    check_gpus(args.recipe, plain.gpus, file.recipe)
    outputs = partial(_output_paths, split.parts)
    folder = _folder(file.recipe, split, args.recipe)
    given = {"max_failures": args.max_failures, "outputs": outputs, "folder": folder}
    work = replace(plain, **given)
    return Found(file, work, split.parts)


def _folder(recipe: Recipe, split: commands_folder.Split, path: str) -> str:
    """Where a job of this machine begins: where it was split. Raises InputError if that folder is needed, and gone."""
    if split.folder is None:
        return os.getcwd()
    if not recipe.is_local or os.path.isdir(split.folder):
        return split.folder
    if (recipe.working_directory or "").startswith(("/", "~")):
        return ""
    raise InputError(
        f"{split.folder}, where {path} was written by 'sc split' and its commands begin, is not there; bring it back, "
        "write an absolute working_directory into the recipe, or split again where they shall begin"
    )


def _work(
    recipe: str, file: RecipeFile, split: commands_folder.Split, extra: list[str], base: str
) -> Work:
    from sc.documents import check_names, read_batch

    place, nprocs, runs, width = "", None, 0, OPEN
    gpus: list[GpuNeeds] = []
    for path in split.parts:
        batch = read_batch(path)
        if runs and batch.remote_output_path != place:
            raise InputError(f"{path}: its remote_output_path is not that of the other parts")
        check_names(recipe, file.recipe, batch)
        place, nprocs = batch.remote_output_path, batch.nprocs
        runs += len(batch.runs)
        width = width.and_(batch.width)
        gpus.append(batch.gpus)
    sync, needs = [*split.sync, *extra], GpuNeeds.together(gpus)
    widths = Widths(width, file.width)
    return Work(place, nprocs, len(split.parts), runs, sync, base, gpus=needs, widths=widths)


def _output_paths(parts: Sequence[str]) -> Iterator[str]:
    from sc.documents import read_batch

    for path in parts:
        for run in read_batch(path).runs:
            yield run.remote_output_path


def _contents(found: Found) -> Iterator[bytes]:
    for path in found.parts:
        with open(path, "rb") as file:
            yield file.read()
