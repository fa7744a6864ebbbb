"""README shows both policies, word for word as `sc setup` makes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sc.fleets.ec2_policies import PARAMETERS, of_bucket, of_machine, of_parameters, of_user

ACCOUNT, BUCKET = "123456789012", "my-bucket"


def test_the_policies_of_the_readme_are_those_of_the_program(checkout: Path) -> None:
    text = (checkout / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    shown = [json.loads(block) for block in blocks if '"Version"' in block]
    machine = [
        *of_bucket("aws", BUCKET)["Statement"],
        *of_machine("aws", ACCOUNT)["Statement"],
        *of_parameters("aws", ACCOUNT, PARAMETERS)["Statement"],
    ]
    user = of_user("aws", ACCOUNT, "sc-machine", [BUCKET])["Statement"]
    assert [policy["Statement"] for policy in shown] == [machine, user]
