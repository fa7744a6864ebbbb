"""What machines cost, as far as prices may be asked.

Spot: the newest entry of the price history of the machine's zone. On demand: the public price list. A
permission or a region that is missing, or a type without a price, is no error: then there is no figure.
"""

from __future__ import annotations

import datetime
import json
from typing import Any, Callable, Optional

from sc.errors import CloudError, InputError
from sc.fleets.ec2_aws import Aws, Call
from sc.model import is_number


class Prices:
    """Asks for each price once."""

    def __init__(self, aws: Aws, now: Callable[[], float]) -> None:
        self._aws = aws
        self._now = now
        self._known: dict[tuple[str, str], Optional[float]] = {}

    def so_far(self, instance: dict[str, Any], ended: Optional[float] = None) -> Optional[float]:
        """What an instance, as DescribeInstances tells it, has cost: its hours at the price of now."""
        started = instance.get("LaunchTime")
        if started is None or (ended is None and instance["State"]["Name"] == "terminated"):
            return None
        spot = instance.get("InstanceLifecycle") == "spot"
        zone = str(instance["Placement"]["AvailabilityZone"])
        price = self.hourly(str(instance["InstanceType"]), zone if spot else "")
        if price is None:
            return None
        # Billed by the second, at least a minute: aws.amazon.com/ec2/pricing/on-demand
        seconds = max(60.0, (ended or self._now()) - started.timestamp())
        return float(price * seconds / 3600)

    def hourly(self, kind: str, spot_zone: str = "") -> Optional[float]:
        """Dollars per hour of a type: of a spot machine in a zone, or, with no zone, on demand."""
        key = (kind, spot_zone)
        if key not in self._known:
            try:
                self._known[key] = (
                    self._spot(kind, spot_zone) if spot_zone else self._on_demand(kind)
                )
            except (CloudError, InputError):  # no rights there, or not even a region
                self._known[key] = None
        return self._known[key]

    def _spot(self, kind: str, zone: str) -> Optional[float]:
        asked = {
            "InstanceTypes": [kind],
            "AvailabilityZone": zone,
            "ProductDescriptions": ["Linux/UNIX"],
            "StartTime": datetime.datetime.fromtimestamp(self._now(), datetime.timezone.utc),
        }
        answer = self._aws.send(Call("ec2", "describe_spot_price_history", asked))
        newest = sorted(answer["SpotPriceHistory"], key=lambda entry: entry["Timestamp"])
        return float(newest[-1]["SpotPrice"]) if newest else None

    def _on_demand(self, kind: str) -> Optional[float]:
        wanted = {
            "instanceType": kind,
            "regionCode": self._aws.region,
            "operatingSystem": "Linux",
            "preInstalledSw": "NA",
            "tenancy": "Shared",
            "capacitystatus": "Used",
        }
        filters = [
            {"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()
        ]
        asked = {"ServiceCode": "AmazonEC2", "Filters": filters, "MaxResults": 5}
        for text in self._aws.send(Call("pricing", "get_products", asked))["PriceList"]:
            price = read_price(text)
            if price:
                return price
        return None


def read_price(text: str) -> Optional[float]:
    """Dollars per hour out of one product of the price list, which is JSON inside of JSON."""
    try:
        for term in json.loads(text)["terms"]["OnDemand"].values():
            for dimension in term["priceDimensions"].values():
                if dimension["unit"] == "Hrs":
                    dollars = float(dimension["pricePerUnit"]["USD"])
                    return dollars if is_number(dollars) and dollars >= 0 else None
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError):
        return None
    return None
