"""Which job a name means to `sc stop` and `sc watch`. What stopping does: tests/cloud, tests/e2e."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

import pytest

from sc.commands.stop import by_name
from sc.errors import CloudError, InputError, ScError
from sc.fleets.ec2_aws import NoRegionError
from sc.fleets.local import LocalFleet


class There(NamedTuple):
    """As much of what EC2 has as is looked at."""

    job: str
    job_url: str


class Fleet:
    def __init__(self, there: Optional[There]) -> None:
        self._there = there

    def one(self, name: str) -> Optional[There]:
        return self._there


class NoRights:
    def __init__(self, error: ScError) -> None:
        self._error = error

    def one(self, name: str) -> Optional[There]:
        raise self._error


class Worker(NamedTuple):
    job_url: str


def found(monkeypatch: pytest.MonkeyPatch, here: list[str], fleet: Any) -> Optional[str]:
    monkeypatch.setattr(LocalFleet, "list", lambda self, name: [Worker(url) for url in here])
    return by_name(fleet, "job")


@pytest.mark.parametrize(
    ("here", "fleet", "meant"),
    [
        ([], Fleet(None), None),
        (["/a/.sc/job"] * 2, Fleet(None), "/a/.sc/job"),
        (["/a/.sc/job"], NoRights(CloudError("no credentials")), "/a/.sc/job"),
        (["/a/.sc/job"], NoRights(NoRegionError("no region")), "/a/.sc/job"),
        ([], Fleet(There("job", "s3://b/.sc/job")), "s3://b/.sc/job"),
        ([], Fleet(There("job", "")), "job"),
        (["s3://b/.sc/job"], Fleet(There("job", "s3://b/.sc/job")), "s3://b/.sc/job"),
    ],
)
def test_a_name_means_the_job_that_works_here_or_on_ec2(
    monkeypatch: pytest.MonkeyPatch, here: list[str], fleet: Any, meant: Optional[str]
) -> None:
    assert found(monkeypatch, here, fleet) == meant


@pytest.mark.parametrize("here", [["/a/.sc/job", "/b/.sc/job"], ["/a/.sc/job"]])
def test_several_jobs_of_a_name_are_for_the_person_to_choose_from(
    monkeypatch: pytest.MonkeyPatch, here: list[str]
) -> None:
    """One here was stopped, and the machines of the other ran on: that is what a person would never see."""
    with pytest.raises(InputError, match=r"Several jobs are named 'job': say which, /a/.* or s3:"):
        found(monkeypatch, here, Fleet(There("job", "s3://b/.sc/job")))


@pytest.mark.parametrize(
    ("here", "error"),
    [
        ([], CloudError("no credentials")),
        ([], NoRegionError("no region")),
        (["/a/.sc/job"], InputError("several on EC2")),
    ],
)
def test_why_ec2_cannot_tell_is_told(
    monkeypatch: pytest.MonkeyPatch, here: list[str], error: ScError
) -> None:
    with pytest.raises(type(error), match=str(error)):
        found(monkeypatch, here, NoRights(error))
