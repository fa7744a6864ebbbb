"""`sc options`: the machines that a recipe may name."""

from __future__ import annotations

import argparse
import os
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Optional

from sc.commands.voice import result, say
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.fleets.ec2_options import Option

EXAMPLES = """
Examples:
  sc options                              this machine, and every instance type of your region
  sc options --glob 'r6a*' --region us-east-2
  sc options --option-type gpu            only what has GPUs
  sc options --option-type local --json   this machine, for a script

Lists what a recipe may name as `instance_type`: `local` is this machine, all others are
instance types of EC2. Without AWS credentials it lists `local` and says what is missing.
"""

KINDS = ("sizes", "local", "ec2", "gpu")
_HEADERS = ("name", "vcpus", "memory", "gpus", "gpu_model", "architecture", "spot_per_hour")


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc options`."""
    parser = subparsers.add_parser("options", description=EXAMPLES)
    parser.add_argument("--glob", metavar="PATTERN", help="only names that match, such as 'r6a*'")
    parser.add_argument(
        "--option-type",
        metavar="TYPE",
        default="sizes",
        help="sizes: all machines (the default); local: this one; ec2: those of EC2; gpu: those with GPUs",
    )
    parser.add_argument("--region", help="of EC2; by default that of your AWS settings")
    parser.add_argument(
        "--json", action="store_true", help="a list of objects, the same names as the columns"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """List; the exit code is 0 also where nobody has ever logged in to AWS, as `local` can always be told."""
    if args.option_type not in KINDS:
        told = ", ".join(KINDS)
        raise InputError(f"options: --option-type {args.option_type!r} is none of {told}")
    pattern = args.glob or ""
    options: list[Option] = []
    code = ExitCode.OK
    if args.option_type != "ec2":
        options.append(_local())
    if args.option_type != "local":
        found, code = _of_ec2(pattern, args.region)
        options += found
    chosen = [option for option in options if _matches(option.name, pattern)]
    if args.option_type == "gpu":
        chosen = [option for option in chosen if option.gpus]
    chosen.sort(key=lambda option: (option.name != "local", option.gpus, option.vcpus, option.name))
    _tell(chosen, args.json)
    return code


def _local() -> Option:
    from sc.fleets.ec2_options import Option
    from sc.machine import this_machine

    here = this_machine(os.environ)
    return Option(
        "local", here.vcpus, here.memory_bytes, len(here.gpus), here.gpu_model, here.architecture
    )


def _of_ec2(pattern: str, region: Optional[str]) -> tuple[list[Option], ExitCode]:
    """What EC2 offers; what it refuses to tell is said in one line."""
    from sc.fleets.ec2_aws import AwsRefused
    from sc.fleets.ec2_options import ec2_options

    try:
        found, trouble = ec2_options(os.environ, region, pattern, datetime.now(timezone.utc))
    except AwsRefused as error:
        say(f"sc: {error}")
        return [], ExitCode.OK if error.has_no_credentials else ExitCode.REFUSED
    if trouble:
        say(f"sc: {trouble}")
    return found, ExitCode.OK


def _matches(name: str, pattern: str) -> bool:
    """Saturn Cloud's names have no dot (`r6axlarge`), and are understood too."""
    return not pattern or fnmatchcase(name, pattern) or fnmatchcase(name.replace(".", ""), pattern)


def _tell(options: list[Option], as_json: bool) -> None:
    from sc.reports import gibibytes, json_line, table

    if as_json:
        result("[")
        for position, option in enumerate(options):
            comma = "," if position + 1 < len(options) else ""
            result("  " + json_line(option._asdict()) + comma)
        result("]")
        return
    rows = [
        (
            option.name,
            str(option.vcpus),
            gibibytes(option.memory_bytes),
            str(option.gpus or ""),
            option.gpu_model,
            option.architecture,
            "" if option.spot_dollars_per_hour is None else f"${option.spot_dollars_per_hour:.4f}",
        )
        for option in options
    ]
    for line in table(_HEADERS, rows):
        result(line)
