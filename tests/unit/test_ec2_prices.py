"""What machines have cost, where prices may be asked."""

from __future__ import annotations

import datetime
import json
from typing import Any, Optional

import pytest

from sc.errors import InputError, ScError
from sc.fleets.ec2_prices import Prices, read_price
from tests.fakes.aws import FakeAws, instance, refused

STARTED = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc).timestamp()


def product(dollars: str, unit: str = "Hrs") -> str:
    dimension = {"unit": unit, "pricePerUnit": {"USD": dollars}}
    return json.dumps({"terms": {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}}})


def history(*prices: tuple[int, str]) -> dict[str, Any]:
    entries = [
        {"Timestamp": datetime.datetime(2026, 1, day), "SpotPrice": price}  # noqa: DTZ001
        for day, price in prices
    ]
    return {"SpotPriceHistory": entries}


@pytest.mark.parametrize(
    ("more", "ended", "dollars"),
    [
        ({}, None, 0.5),
        ({}, STARTED + 3600, 0.25),
        ({}, STARTED + 1, 0.25 / 60),
        ({"InstanceLifecycle": "spot"}, None, 0.2),
        ({"State": {"Name": "terminated"}}, None, None),
    ],
)
def test_hours_at_the_price_of_now(
    more: dict[str, Any], ended: Optional[float], dollars: Optional[float]
) -> None:
    aws = FakeAws(
        get_products={"PriceList": [product("0"), product("0.25")]},
        describe_spot_price_history=history((2, "0.1"), (1, "0.9")),
    )
    prices = Prices(aws, lambda: STARTED + 7200)
    cost = prices.so_far(instance("i-1", **more), ended)
    assert cost == (None if dollars is None else pytest.approx(dollars))


@pytest.mark.parametrize("no", [refused("AccessDenied"), InputError("No AWS region is known.")])
def test_each_price_is_asked_once_and_a_refusal_is_no_error(no: ScError) -> None:
    aws = FakeAws(get_products=no)
    prices = Prices(aws, lambda: STARTED + 7200)
    assert [prices.so_far(instance("i-1")), prices.so_far(instance("i-2"))] == [None, None]
    assert len(aws.calls) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", product("x"), product("1", "Quantity")])
def test_what_is_no_price_is_none(text: str) -> None:
    assert read_price(text) is None
