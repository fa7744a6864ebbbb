"""Trouble that passes, trouble that does not, and how long it takes to tell them apart."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from sc.errors import StorageError
from sc.storage.s3_http import Request, Trouble
from sc.storage.s3_patience import Pace, pause_seconds
from sc.storage.s3_receiver import Response
from tests.fakes.scripted_s3 import (
    REFUSED,
    RESET,
    STALL,
    START,
    FakeAccount,
    Said,
    Script,
    World,
    listing,
    no,
    ok,
    storage,
)

PLACE = "s3://bucket/a"
PASSING: list[Said] = [
    RESET,
    STALL,
    no(500, "InternalError"),
    no(502),
    no(503, "SlowDown"),
    no(503, "ServiceUnavailable"),
    no(503),
    no(504),
    no(429),
    no(429, "TooManyRequests"),
    no(400, "RequestTimeout"),
    no(400, "IncompleteBody"),
    no(400, "BadDigest"),
    no(409, "ConditionalRequestConflict"),
    no(409, "OperationAborted"),
]


@pytest.mark.parametrize("trouble", PASSING, ids=str)
def test_passing_trouble_is_waited_out(trouble: Said) -> None:
    world = World()
    script = Script(world, ok(), trouble, trouble, trouble, ok(headers={"etag": '"new"'}))
    s3 = storage(script, world)
    s3.put(PLACE, b"first")
    assert s3.put(PLACE, b"second") == "new"
    assert [heard.request.body for heard in script.heard[1:]] == [b"second"] * 4
    long = [pause for pause in world.pauses if pause >= 0.05]
    assert long == sorted(long)
    assert 3 <= len(long) <= 6


@pytest.mark.parametrize("trouble", PASSING, ids=str)
def test_an_outage_is_told_after_a_minute(trouble: Said) -> None:
    world = World()
    script = Script(world, ok(), trouble, costs=1.0)
    s3 = storage(script, world)
    s3.put(PLACE, b"first")
    begun = world.now
    with pytest.raises(StorageError, match=r"s3://bucket/a cannot be written, https://bucket"):
        s3.put(PLACE, b"second")
    assert 60 <= world.now - begun < 80
    assert len(script.heard) < 25


def test_nothing_listens_at_the_first_contact_is_told_soon() -> None:
    world = World()
    script = Script(world, REFUSED)
    with pytest.raises(
        StorageError, match=r"could not be reached in \d seconds .*AWS_ENDPOINT_URL"
    ):
        storage(script, world).check("s3://bucket")
    assert 3 <= world.now < 6


def test_a_black_hole_at_the_first_contact_is_told_soon() -> None:
    world = World()
    script = Script(world, Trouble("no answer in time", reached=False), costs=5.0)
    with pytest.raises(StorageError, match="could not be reached in 10 seconds"):
        storage(script, world).check("s3://bucket")
    assert [heard.connect_seconds for heard in script.heard] == [5.0, 5.0]


def test_a_listener_that_says_nothing_is_told_within_half_a_minute() -> None:
    world = World()
    script = Script(world, STALL, costs=10.0)
    with pytest.raises(StorageError, match="could not be reached"):
        storage(script, world).check("s3://bucket")
    assert {heard.read_seconds for heard in script.heard} == {10.0}
    assert world.now < 35


def test_a_restart_of_the_server_in_the_middle_of_work_is_waited_out() -> None:
    world = World()
    s3 = storage(Script(world, ok(), *[REFUSED] * 9, ok(b"content")), world)
    s3.put(PLACE, b"")
    assert s3.get(PLACE) == b"content"
    assert 20 < world.now < 60


def test_a_wrong_certificate_is_told_at_once() -> None:
    world = World()
    trouble = Trouble("its certificate is not trusted, self signed", False, distrusted=True)
    script = Script(world, trouble)
    with pytest.raises(StorageError, match=r"self signed.*AWS_CA_BUNDLE"):
        storage(script, world).check("s3://bucket")
    assert len(script.heard) == 1


def test_retry_after_is_granted_up_to_a_bound() -> None:
    assert pause_seconds(1, 0.5, "7") == 7
    assert pause_seconds(1, 0.5, "3600") == 20
    assert pause_seconds(1, 0.5, "Wed, 21 Oct 2015 07:28:00 GMT") == pytest.approx(0.1)
    assert [pause_seconds(tries, 0.0) for tries in (1, 2, 7, 8, 99)] == [0.05, 0.1, 3.2, 4.0, 4.0]


def slowed(world: World, answers: int, seconds: float) -> Pace:
    """A pace that was told SlowDown after so many answers in so many seconds."""
    pace = Pace(lambda: world.now)
    for _ in range(answers):
        world.now += seconds / answers
        assert pace.wait_seconds() == 0
        pace.answered()
    for _ in range(16):  # one burst of sixteen threads
        pace.slow_down()
    return pace


def distance(pace: Pace) -> float:
    """Seconds between the requests that start from now on."""
    first, second = pace.wait_seconds(), pace.wait_seconds()
    return second - first


def test_slow_down_spaces_the_requests_that_follow() -> None:
    """First to 0.7 of what was answered, then back to that, and far beyond when nothing is refused."""
    world = World()
    pace = slowed(world, answers=500, seconds=10.0)
    assert distance(pace) == pytest.approx(1 / (0.7 * 50), rel=0.03)
    world.now += (0.3 * 50 / 0.4) ** (1 / 3)
    assert distance(pace) == pytest.approx(1 / 50, rel=0.03)
    pace.slow_down()
    world.now += 10
    assert 100 < 1 / distance(pace) < 300
    world.now += 10
    assert [pace.wait_seconds() for _ in range(3)] == [0, 0, 0]


def test_a_pace_is_never_slower_than_one_a_second() -> None:
    world = World()
    pace = slowed(world, answers=2, seconds=300.0)
    for _ in range(20):
        world.now += 1
        pace.slow_down()
    assert distance(pace) <= 1.0


def test_a_wrong_clock_is_corrected_by_the_servers() -> None:
    """An hour fast, or slow: refused once, then signed with the server's time for good."""
    for error in (3600.0, -3600.0):
        world = World(clock_error=error)
        script = Script(world, no(403, "RequestTimeTooSkewed"), ok())
        s3 = storage(script, world)
        s3.put(PLACE, b"")
        s3.put(PLACE, b"")
        stamps = [heard.request.headers["x-amz-date"] for heard in script.heard]
        assert len(stamps) == 3
        assert stamps[0] != stamps[1] == stamps[2]
        assert stamps[1] == "20270115T080000Z"


def test_a_clock_that_cannot_be_corrected_is_told() -> None:
    world = World()
    script = Script(world, no(403, "RequestTimeTooSkewed"))
    with pytest.raises(StorageError, match="clock differs too much"):
        storage(script, world).put(PLACE, b"")
    assert len(script.heard) == 4


def test_a_head_that_is_refused_for_the_clock_is_mended_too() -> None:
    world = World(clock_error=7200.0)

    def judge(request: Request) -> Response:
        if request.headers["x-amz-date"] == "20270115T080000Z":
            return ok(b"12345", {"last-modified": formatdate(START - 60, usegmt=True)})
        return no(403) if request.method == "HEAD" else no(403, "RequestTimeTooSkewed")

    script = Script(world, judge)
    entry = storage(script, world).stat(PLACE)
    assert entry is not None
    assert (entry.size, entry.age_seconds) == (5, 60)
    assert script.methods == ["HEAD", "GET", "GET", "HEAD"]


def test_expired_credentials_are_renewed_once() -> None:
    world, account = World(), FakeAccount()
    script = Script(world, no(400, "ExpiredToken"), ok())
    storage(script, world, account).put(PLACE, b"")
    used = [heard.request.headers["authorization"].split("/")[0] for heard in script.heard]
    assert [text.rpartition("=")[2] for text in used] == ["key-1", "key-2"]


def test_credentials_that_stay_expired_are_told() -> None:
    world, account = World(), FakeAccount()
    script = Script(world, no(400, "ExpiredToken"))
    with pytest.raises(StorageError, match="have expired: run `aws configure` or `aws sso login`"):
        storage(script, world, account).put(PLACE, b"")
    assert account.generation == 2
    assert len(script.heard) == 2


MOVED = [
    no(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}),
    no(307, "TemporaryRedirect", headers={"x-amz-bucket-region": "eu-west-1"}),
    no(400, "AuthorizationHeaderMalformed", more="<Region>eu-west-1</Region>"),
    no(400, headers={"x-amz-bucket-region": "eu-west-1"}),
]


@pytest.mark.parametrize("moved", MOVED, ids=str)
def test_a_bucket_elsewhere_is_followed_and_remembered(moved: Response) -> None:
    world = World()
    script = Script(world, moved, ok())
    s3 = storage(script, world)
    s3.put(PLACE, b"")
    s3.get(PLACE)
    urls = [heard.request.url for heard in script.heard]
    there = "https://bucket.s3.eu-west-1.example"
    assert urls == ["https://bucket.s3.us-east-1.example", there, there]
    assert "/eu-west-1/s3/aws4_request" in script.heard[1].request.headers["authorization"]


def test_a_bucket_that_is_sent_in_circles_ends() -> None:
    world = World()
    script = Script(world, MOVED[0])
    with pytest.raises(StorageError, match="PermanentRedirect"):
        storage(script, world).put(PLACE, b"")
    assert len(script.heard) == 2


def test_a_listing_that_breaks_off_is_asked_for_again() -> None:
    world = World()
    whole = listing("x/a", "x/b")
    cut = whole._replace(body=whole.body[:-60])
    script = Script(world, cut, whole._replace(body=b""), whole)
    places = [entry.place for entry in storage(script, world).list("s3://bucket/x")]
    assert places == ["s3://bucket/x/a", "s3://bucket/x/b"]
    assert len(script.heard) == 3
