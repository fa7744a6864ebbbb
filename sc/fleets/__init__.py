"""Ways to get machines. A fleet launches workers, lists them and ends them; it knows nothing about runs.

What ties a fleet to everything else is one command line, run on each machine it got:

    sc.pyz work JOB_URL [--fleet ec2]

The kinds stand beside this file: `local` (processes of this machine) and `ec2`. A new kind is one more file
and one more line in `pick`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable, NamedTuple, Optional, Protocol

from sc.model import NO_GPUS, GpuNeeds, Recipe
from sc.storage import Storage

Tell = Callable[[str], None]
"""Takes one line of talk for the person who waits (`commands` sends it to stderr)."""

AT_REST = ("stopped", "ended")
"""States of machines on which nobody works any more."""


@dataclass(frozen=True)
class Launch:
    """All that a fleet is told about a job that it shall bring machines for."""

    job_url: str
    """The job's own place (`sc.paths.job`); by it the job is known, its name is `recipe.name`."""
    recipe: Recipe
    machines: int
    """How many to start: `min(recipe.scale, parts)`, at least 1."""
    program: str
    """The path, on this machine, of the `sc.pyz` that staging has put or will put into the job's place."""
    program_sha256: str
    """Of that file; 64 hexadecimal digits."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the worker itself needs, such as `AWS_ENDPOINT_URL_S3`. Never a secret: it is stored."""
    gpus: GpuNeeds = NO_GPUS
    """A fleet refuses machines that have fewer than one run asks for."""
    nonce: str = ""
    """Of this start alone (`sc.start_lease`): all that a fleet makes is marked with it, and if the launch fails nothing
    else is unmade."""


class Machine(NamedTuple):
    """One machine of a job, as its fleet sees it."""

    job: str
    """The job's name."""
    job_url: str
    """The job's place, or "" where the fleet cannot tell."""
    fleet: str
    """`local` or `ec2`."""
    id: str
    """An instance id, or a process id with its host."""
    kind: str
    """`r6a.xlarge`, `local`."""
    state: str
    """`pending`, `running`, `ending` or `ended`; on EC2 also `stopping` or `stopped`, which should not be: such a
    machine will not go by itself, and its disk costs."""
    started: Optional[float] = None
    """Unix seconds."""
    spot: bool = False
    dollars: Optional[float] = None
    """What it has cost so far, as far as prices may be asked."""
    owner: str = ""
    """Who has started it: on EC2 an ARN. Empty: nobody else than you, or nobody knows."""


class Fleet(Protocol):
    """What every kind promises."""

    name: str

    def check(self, launch: Launch) -> None:
        """Every check that can be made before the first effect, staging included. Raises InputError or CloudError
        with all that is wrong, also if the job has machines already; changes nothing anywhere. Can be repeated."""

    def launch(self, launch: Launch, tell: Tell) -> None:
        """Start the machines; the job's keys are in their place. What was made is unmade before any error leaves
        (KeyboardInterrupt and `Interrupted` included). A job that has machines already is refused."""

    def follow(self, launch: Launch, storage: Storage, tell: Tell) -> None:
        """Stay until the first worker has reported (a heartbeat under `workers/`), telling the stages. When the
        machines fail alike: end them all, and raise CloudError with the last lines of what they said."""

    def list(self, job: Optional[str] = None) -> Sequence[Machine]:
        """The machines of one job (by its URL or its name), or of all jobs that this fleet can see; those that have
        ended are told as long as the fleet remembers them."""

    def stop(self, job: str, tell: Tell) -> Sequence[str]:
        """End the machines of a job (by its URL or its name) and remove all that `launch` made; returns when they are
        gone. Can be repeated. Each sentence returned says what could not be ended and how to do it by hand."""


def pick(recipe: Recipe, environment: Mapping[str, str]) -> Fleet:
    """The fleet that the recipe asks for. `environment` is that of this process (`os.environ`)."""
    if recipe.is_local:
        from sc.fleets.local import LocalFleet

        return LocalFleet(environment)
    from sc.fleets.ec2 import Ec2Fleet

    return Ec2Fleet(recipe.region, environment)
