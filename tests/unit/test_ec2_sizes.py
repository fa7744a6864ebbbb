"""How large a type is, told from its name: vCPUs, or GPUs where it has some."""

from __future__ import annotations

from typing import Optional

import pytest

from sc.fleets.ec2_sizes import gpus_of, usual_slots


@pytest.mark.parametrize(
    ("instance_type", "slots"),
    [
        ("t3.micro", 2),
        ("r6a.large", 2),
        ("r6a.xlarge", 4),
        ("r6a.2xlarge", 8),
        ("c7g.16xlarge", 64),
        ("m7i.metal-24xl", 96),
        ("r6a.metal", 96),
        ("g4dn.xlarge", 1),
        ("g5.12xlarge", 4),
        ("g5.48xlarge", 8),
        ("g4dn.metal", 8),
        ("p3.2xlarge", 1),
        ("p3.8xlarge", 4),
        ("p4d.24xlarge", 8),
        ("p5.48xlarge", 8),
        ("x.strange", 2),
    ],
)
def test_the_usual_types(instance_type: str, slots: int) -> None:
    assert usual_slots(instance_type) == slots


@pytest.mark.parametrize(
    ("instance_type", "gpus"),
    [
        ("r6a.xlarge", 0),
        ("c7g.metal", 0),
        ("t3.micro", 0),
        ("x2iedn.xlarge", 0),
        ("g4dn.xlarge", 1),
        ("g5.12xlarge", 4),
        ("p4d.24xlarge", 8),
        ("g4ad.16xlarge", None),
        ("g5g.metal", None),
        ("p2.8xlarge", None),
        ("trn1.2xlarge", None),
        ("dl1.24xlarge", None),
        ("local", None),
    ],
)
def test_gpus_of_a_type_are_told_only_where_its_name_is_sure(
    instance_type: str, gpus: Optional[int]
) -> None:
    assert gpus_of(instance_type) == gpus
