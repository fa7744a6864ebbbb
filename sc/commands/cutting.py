"""What `sc split` finds out before it changes anything, and what it writes."""

from __future__ import annotations

import argparse
import os
import shlex
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

from sc import commands_folder, paths, s3_settings
from sc.commands.longest import known_times
from sc.commands.starting import check_gpus, check_sync
from sc.commands.voice import say
from sc.errors import InputError
from sc.widths import Widths

if TYPE_CHECKING:
    from sc.documents import RecipeFile
    from sc.model import Batch, GpuNeeds, Run
    from sc.ordering import Times
    from sc.splitting import Selection, Standing
    from sc.standing import Commands
    from sc.storage import Storage


class Cut(NamedTuple):
    """All that is known before anything is written."""

    file: RecipeFile
    batch: Batch
    selection: Selection
    times: Times
    """How long the selected runs take, as far as that is known."""
    sizes: list[int]
    folder: str
    sync: tuple[str, ...]


def prepare(args: argparse.Namespace, storage: Storage) -> Cut:
    """Everything that can be wrong is found here."""
    from sc.splitting import select

    folder = _folder(args)
    sync = tuple(check_sync(word) for word in args.sync)
    file, batch = _read(args, storage)
    storage.check(batch.remote_output_path)
    commands, standing = _known(args, file, batch, storage)
    selection = select(
        batch.runs,
        standing,
        skip_completed=args.skip_completed,
        skip_failures=args.skip_failures,
        max_jobs=args.max_jobs,
    )
    check_gpus(args.batch, batch.gpus, file.recipe, selection.runs)
    times = known_times(args.keep_order, batch, selection.runs, commands)
    sizes = _sizes(args, file, batch, selection.included, times)
    commands_folder.check(folder, len(sizes))
    return Cut(file, batch, selection, times, sizes, folder, sync)


def _folder(args: argparse.Namespace) -> str:
    named = [word for word in (args.commands_dir, args.local_commands_directory) if word]
    if len(named) == 2:
        raise InputError(
            "COMMANDS_DIR and --local-commands-directory are the same; give one of them"
        )
    if args.wait and not args.start:
        raise InputError("--wait needs --start: there is nothing to wait for")
    if args.on_end and not args.wait:
        raise InputError("--on-end needs --wait: who does not wait does not see the end")
    if args.max_failures and not args.start:
        raise InputError("--max-failures needs --start; give it to 'sc apply' otherwise")
    return named[0] if named else commands_folder.DEFAULT


def _read(args: argparse.Namespace, storage: Storage) -> tuple[RecipeFile, Batch]:
    """Both files, with the problems of both."""
    from sc.documents import check_names, read_batch, read_recipe

    overrides = {"name": args.name, "instance_type": args.instance_type, "scale": args.scale}
    problems: list[str] = []

    def attempt(reading: Callable[[], Any]) -> Any:
        try:
            return reading()
        except InputError as error:
            problems.extend(error.problems)

    file = attempt(lambda: read_recipe(args.recipe, overrides))
    if file is not None:
        attempt(lambda: s3_settings.keep(file.recipe.s3, os.environ))
    shares = file is not None and file.recipe.is_local and file.recipe.scale > 1
    batch = attempt(
        lambda: read_batch(
            args.batch,
            remote_output_path=args.remote_output_path,
            nprocs=args.nprocs,
            fetch=storage.get_file,
            tell=lambda line: say(f"sc: {line}"),
            at_once=file.recipe.scale if shares else None,  # its workers are all on this machine
        )
    )
    if not problems:
        attempt(lambda: check_names(args.recipe, file.recipe, batch))
    if problems:
        raise InputError(*problems)
    ignored = file.recipe.ignored
    if ignored:
        say(f"sc: {args.recipe}: not used here: {', '.join(ignored)}")
    return file, batch


def _known(
    args: argparse.Namespace, file: RecipeFile, batch: Batch, storage: Storage
) -> tuple[Commands, Optional[Callable[[Run], Standing]]]:
    """What earlier jobs tell of the runs; how each ended only if that matters."""
    from sc.standing import read_commands, read_standings

    if args.skip_completed or args.skip_failures:
        return read_standings(storage, batch, file.recipe.given)
    return read_commands(storage, batch), None


def _sizes(
    args: argparse.Namespace, file: RecipeFile, batch: Batch, included: int, times: Times
) -> list[int]:
    from sc.splitting import part_sizes

    slots = batch.nprocs or _usual_nprocs(file.recipe.instance_types, batch.gpus)
    costs = array("d", times.costs()) if times.is_useful else None
    return list(part_sizes(included, slots, file.recipe.scale, args.batch_size, costs))


def _usual_nprocs(instance_types: tuple[str, ...], needs: GpuNeeds) -> int:
    """How many runs at a time its machines will have, to cut parts; the machines themselves decide."""
    if instance_types == ("local",):
        from sc.executor.gpus import find_gpus
        from sc.machine import count_vcpus, default_nprocs

        return default_nprocs(len(find_gpus(os.environ)), count_vcpus(), needs)
    from sc.fleets.ec2_sizes import usual_slots

    return min(usual_slots(name) * needs.per_gpu for name in instance_types)


def write(args: argparse.Namespace, cut: Cut) -> Iterator[bytes]:
    """Write the commands folder; gives back each part when its file is there. To be iterated to its end."""
    from sc.documents import write_yaml
    from sc.ordering import longest_first
    from sc.splitting import part_documents

    remote = args.remote_commands_directory or os.path.abspath(cut.folder)
    names = map(commands_folder.part_name, range(len(cut.sizes)))
    lines = [f"sc batch {shlex.quote(paths.join(remote, name))}" for name in names]
    document = {**cut.file.raw, "spec": {**cut.file.raw["spec"], "command": lines}}
    notes = {
        "sync": list(cut.sync),
        "file_syncs_base_dir_url": args.file_syncs_base_dir_url,
        "folder": os.getcwd(),
    }
    runs = cut.selection.runs
    if cut.times.is_useful:
        runs = longest_first(runs, cut.times.classes)
    documents = part_documents(cut.batch, runs, cut.sizes)
    widths = Widths(cut.batch.width, cut.file.width)
    return commands_folder.write(cut.folder, documents, write_yaml(document), notes, widths)
