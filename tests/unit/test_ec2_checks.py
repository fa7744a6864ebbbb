"""What can be wrong is told before anything is made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sc.errors import CloudError, InputError
from sc.fleets import Launch
from sc.fleets.ec2_aws import AwsRefused
from sc.fleets.ec2_checks import check, courier_address, gpu_problems
from sc.fleets.ec2_requests import Image, Place, Plan
from sc.model import GpuNeeds, Recipe
from tests.fakes.aws import FakeAws, refused

GPU = "base-oss-nvidia-driver-gpu-amazon-linux-2023"
URL = "s3://bucket/out/.sc/job"


def checked(
    aws: FakeAws, *types: str, url: str = URL, program: str = "/sc.pyz", **recipe: Any
) -> Plan:
    launch = Launch(
        url,
        Recipe("job", types or ("r6a.xlarge",), scale=2, **recipe),
        2,
        program,
        "a" * 64,
        {"AWS_DEFAULT_REGION": "us-west-2", "AWS_REGION": "us-west-2"},
    )
    return check(
        aws, launch, {"AWS_ENDPOINT_URL_S3": "http://s3.lan", "AWS_SECRET_ACCESS_KEY": "s"}
    )


def test_nothing_is_changed_by_asking() -> None:
    aws = FakeAws()
    plan = checked(aws)
    assert aws.changes == []
    assert plan.image == Image("ami-x86", "x86_64", "/dev/xvda", 30, 8)
    assert plan.place == Place("vpc-1", ("subnet-a", "subnet-c"), (), "123456789012")
    assert plan.profile == "sc-machine"


def test_machines_are_told_where_things_are_and_no_secret() -> None:
    text = checked(FakeAws()).user_data
    (line,) = [line for line in text.splitlines() if line.startswith('{"job_url"')]
    assert json.loads(line) == {
        "job_url": URL,
        "bucket": "bucket",
        "key": "out/.sc/job",
        "s3_endpoint": "https://s3.eu-central-1.amazonaws.com",
        "s3_region": "eu-central-1",
        "autoscaling_endpoint": "https://autoscaling.eu-west-1.amazonaws.com",
        "region": "eu-west-1",
        "sha256": "a" * 64,
        "environment": {
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_S3": "http://s3.lan",
        },
        "s3_headers": {},
        "s3_new_headers": {},
    }


def test_machines_are_told_what_the_bucket_demands() -> None:
    launch = Launch(
        URL,
        Recipe("job", ("r6a.xlarge",)),
        1,
        "/sc.pyz",
        "a" * 64,
        {
            "SC_S3_ENCRYPTION": "aws:kms",
            "SC_S3_KMS_KEY": "alias/team",
            "SC_S3_REQUEST_PAYER": "requester",
        },
    )
    text = check(FakeAws(), launch, {}).user_data
    (line,) = [line for line in text.splitlines() if line.startswith('{"job_url"')]
    told = json.loads(line)
    assert told["environment"]["SC_S3_KMS_KEY"] == "alias/team"
    assert told["s3_headers"] == {"x-amz-request-payer": "requester"}
    assert told["s3_new_headers"] == {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/team",
    }


@pytest.mark.parametrize(
    ("endpoint", "bucket", "address"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "b", ("https://s3.eu-west-1.amazonaws.com", "b")),
        (
            "https://s3.eu-west-1.amazonaws.com",
            "p-1-s3alias",
            ("https://p-1-s3alias.s3.eu-west-1.amazonaws.com", ""),
        ),
        (
            "https://s3.cn-north-1.amazonaws.com.cn",
            "p-1-s3alias",
            ("https://p-1-s3alias.s3.cn-north-1.amazonaws.com.cn", ""),
        ),
        ("http://127.0.0.1:8333", "p-1-s3alias", ("http://127.0.0.1:8333", "p-1-s3alias")),
    ],
)
def test_courier_asks_an_access_point_by_its_host(
    endpoint: str, bucket: str, address: tuple[str, str]
) -> None:
    assert courier_address(endpoint, bucket) == address


@pytest.mark.parametrize(
    ("types", "parameter"),
    [
        (("r6a.xlarge",), "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"),
        (("m7g.large",), "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"),
        (
            ("g5.xlarge",),
            f"/aws/service/deeplearning/ami/x86_64/{GPU}/latest/ami-id",
        ),
        (
            ("g5.xlarge", "r6a.xlarge"),
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        ),
    ],
)
def test_the_image_fits_the_types(types: tuple[str, ...], parameter: str) -> None:
    aws = FakeAws()
    checked(aws, *types)
    asked = [call.parameters["Name"] for call in aws.calls if call.operation == "get_parameter"]
    assert asked == [parameter]


def test_an_image_may_be_named_by_id_or_by_parameter() -> None:
    assert checked(FakeAws(), image="ami-big", disk_space=200).image.root_device == "/dev/sda1"
    assert checked(FakeAws(), image="ami-big").image.disk_gib == 100
    for words in ("/my/image", "resolve:ssm:/my/image"):
        aws = FakeAws()
        checked(aws, image=words)
        assert [c.parameters["Name"] for c in aws.calls if c.service == "ssm"] == ["/my/image"]


CASES: dict[str, tuple[FakeAws, dict[str, Any], str]] = {
    "a folder": (
        FakeAws(),
        {"url": "/tmp/out/.sc/job"},
        "let remote_output_path be an s3:// place",
    ),
    "no zipapp": (FakeAws(), {"program": ""}, "make it with ./build.sh, or download it"),
    "no bucket": (FakeAws(head_bucket=refused("404")), {}, r"aws s3 mb s3://bucket"),
    "no profile": (
        FakeAws(get_instance_profile=refused("NoSuchEntity")),
        {},
        "no instance profile 'sc-machine'. Run `sc setup` once",
    ),
    "no other profile": (
        FakeAws(get_instance_profile=refused("NoSuchEntity")),
        {"instance_profile": "mine"},
        "sc setup --profile-name mine",
    ),
    "a profile without a role": (
        FakeAws(get_instance_profile={"InstanceProfile": {"Roles": []}}),
        {},
        "has no role",
    ),
    "no such type": (FakeAws(), {"types": ("r6a.xlarge", "x.y")}, "offers no instance type 'x.y'"),
    "no spot market": (
        FakeAws(),
        {"types": ("u-6tb1.metal",), "use_spot_instance": True},
        "There is no spot market for 'u-6tb1.metal'",
    ),
    "two architectures": (
        FakeAws(),
        {"types": ("r6a.xlarge", "m7g.large")},
        "r6a.xlarge is x86_64, m7g.large is arm64",
    ),
    "an image of another architecture": (
        FakeAws(),
        {"image": "ami-arm"},
        "ami-arm is for arm64, but r6a.xlarge need x86_64",
    ),
    "no such image": (FakeAws(), {"image": "ami-none"}, "no image 'ami-none' in eu-west-1"),
    "what is no image": (FakeAws(), {"image": "ubuntu"}, "neither the id of an image"),
    "no such parameter": (
        FakeAws(get_parameter=refused("ParameterNotFound")),
        {"image": "/my/own"},
        "no SSM parameter '/my/own'",
    ),
    "a disk too small": (
        FakeAws(),
        {"image": "ami-big", "disk_space": 50},
        "disk_space is 50 GiB, but the image ami-big alone takes 100",
    ),
    "no default VPC": (
        FakeAws(describe_vpcs={"Vpcs": []}),
        {},
        "has no default VPC: name the subnets",
    ),
    "no fitting zone": (
        FakeAws(describe_instance_type_offerings={"InstanceTypeOfferings": []}),
        {},
        "No subnet lies in a zone that offers r6a.xlarge",
    ),
    "a security group of elsewhere": (
        FakeAws(
            describe_security_groups={"SecurityGroups": [{"GroupId": "sg-1", "VpcId": "vpc-2"}]}
        ),
        {"security_groups": ("sg-1",)},
        "sg-1 belongs to vpc-2, but the subnets to vpc-1",
    ),
    "a tag that is AWS's": (FakeAws(), {"tags": {"aws:x": "1"}}, "does not begin with 'aws:'"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_work_is_told_in_one_sentence(case: str) -> None:
    aws, changes, sentence = CASES[case]
    changes = dict(changes)
    types = changes.pop("types", ())
    with pytest.raises(InputError) as caught:
        checked(aws, *types, **changes)
    assert sentence in str(caught.value)
    assert aws.changes == []


SHARED = {"GroupName": "sc-nothing-in", "GroupId": "sg-shared", "VpcId": "vpc-1"}


def shared(**more: Any) -> FakeAws:
    return FakeAws(describe_security_groups={"SecurityGroups": [{**SHARED, **more}]})


def test_shared_security_group_that_is_there_is_used() -> None:
    aws = shared(IpPermissions=[])
    assert checked(aws).place.security_groups == ("sg-shared",)
    (asked,) = [c.parameters for c in aws.calls if c.operation == "describe_security_groups"]
    assert {one["Name"]: one["Values"] for one in asked["Filters"]} == {
        "vpc-id": ["vpc-1"],
        "group-name": ["sc-nothing-in"],
        "owner-id": ["123456789012"],
    }


@pytest.mark.parametrize("rule", [{"IpProtocol": "-1"}, {"IpProtocol": "tcp", "FromPort": 22}])
def test_shared_security_group_that_was_opened_is_refused(rule: dict[str, Any]) -> None:
    aws = shared(IpPermissions=[rule])
    with pytest.raises(InputError, match=r"opened the security group sc-nothing-in \(sg-shared\)"):
        checked(aws)
    assert aws.changes == []


def test_shared_security_group_is_not_asked_for_where_the_recipe_names_some() -> None:
    aws = shared(IpPermissions=[{"IpProtocol": "-1"}])
    assert checked(aws, security_groups=("sg-mine",)).place.security_groups == ("sg-mine",)


def test_bucket_that_may_be_listed_below_the_place_only_is_asked_there() -> None:
    refusal = AwsRefused("Forbidden", "403", "ap-south-1")
    aws = FakeAws(head_bucket=refusal)
    assert '"s3_region": "ap-south-1"' in checked(aws).user_data
    (asked,) = [call.parameters for call in aws.calls if call.operation == "list_objects_v2"]
    assert asked == {"Bucket": "bucket", "Prefix": "out/.sc/job/", "MaxKeys": 1}
    denied = FakeAws(head_bucket=refusal, list_objects_v2=refused("AccessDenied"))
    with pytest.raises(CloudError, match="AccessDenied"):
        checked(denied)


def test_several_problems_are_told_at_once() -> None:
    aws = FakeAws(get_instance_profile=refused("NoSuchEntity"))
    with pytest.raises(InputError) as caught:
        checked(aws, image="ami-big", disk_space=1)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("operation", ["get_caller_identity", "head_bucket", "describe_subnets"])
def test_a_refusal_of_aws_is_passed_on(operation: str) -> None:
    with pytest.raises(CloudError, match="AccessDenied"):
        checked(FakeAws(**{operation: refused("AccessDenied")}))


def test_types_with_fewer_gpus_than_a_run_asks_for_are_each_told() -> None:
    types: list[dict[str, Any]] = [
        {"InstanceType": "g4dn.xlarge", "GpuInfo": {"Gpus": [{"Count": 1}]}},
        {"InstanceType": "g5.12xlarge", "GpuInfo": {"Gpus": [{"Count": 4}]}},
        {"InstanceType": "r6a.xlarge"},
    ]
    assert [one.partition(", and ")[2] for one in gpu_problems(types, GpuNeeds(4))] == [
        "g4dn.xlarge has 1 GPU; lower gpus, or take a machine that has them",
        "r6a.xlarge has no GPU; lower gpus, or take a machine that has them",
    ]
    assert gpu_problems(types, GpuNeeds()) == []


@pytest.mark.parametrize("kinds", [("p3.2xlarge",), ("g3.4xlarge", "g5.xlarge"), ("p2.xlarge",)])
def test_gpus_that_the_default_image_cannot_drive_are_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=f"{kinds[0]} has GPUs .* set `image` to one") as told:
        checked(FakeAws(), *kinds)
    assert "g5.xlarge has" not in str(told.value)
    assert checked(FakeAws(), *kinds, image="ami-x86").image.id == "ami-x86"
    assert checked(FakeAws(), "g5.xlarge").image.id == "ami-x86"


def test_fips_is_refused_with_what_to_set_before_anything_is_asked_in_vain() -> None:
    aws = FakeAws()
    aws.uses_fips = True
    with pytest.raises(InputError, match="set AWS_USE_FIPS_ENDPOINT=false"):
        checked(aws)
    with pytest.raises(InputError, match="AWS_USE_FIPS_ENDPOINT"):
        checked(aws, url="/home/me/.sc/job")
    assert aws.changes == []


def test_proxy_of_the_recipe_is_handed_to_machines_and_that_of_the_laptop_is_not() -> None:
    proxy = {"HTTPS_PROXY": "http://proxy.lan:3128", "TOKEN": "x"}
    plan = checked(FakeAws(), environment_variables=proxy)
    (line,) = [line for line in plan.user_data.splitlines() if line.startswith('{"job_url"')]
    told = json.loads(line)["environment"]
    assert told["https_proxy"] == told["HTTPS_PROXY"] == "http://proxy.lan:3128"
    assert told["no_proxy"] == told["NO_PROXY"] == "169.254.169.254"
    assert "TOKEN" not in told
    environment = {"HTTPS_PROXY": "http://laptop.lan:1", "https_proxy": "http://laptop.lan:1"}
    launch = Launch(URL, Recipe("job", ("r6a.xlarge",)), 1, "/sc.pyz", "a" * 64)
    assert "laptop.lan" not in check(FakeAws(), launch, environment).user_data
    with pytest.raises(InputError, match="HTTPS_PROXY holds a user's name or password"):
        checked(FakeAws(), environment_variables={"HTTPS_PROXY": "http://a:b@proxy.lan:1"})


def test_subnets_of_another_account_are_as_good() -> None:
    """A shared VPC: its owner is another account, and there need be no default VPC here.

    docs.aws.amazon.com/vpc/latest/userguide/vpc-share-limitations.html: participants describe shared subnets, start
    instances in them, and make security groups of their own in that VPC.
    """
    shared = {
        "Subnets": [
            {
                "SubnetId": "subnet-s",
                "VpcId": "vpc-shared",
                "AvailabilityZone": "eu-west-1a",
                "OwnerId": "999999999999",
            }
        ]
    }
    aws = FakeAws(describe_vpcs={"Vpcs": []}, describe_subnets=shared)
    plan = checked(aws, subnets=("subnet-s",))
    assert plan.place == Place("vpc-shared", ("subnet-s",), (), "123456789012")
    with pytest.raises(InputError, match=r"has no default VPC: name the subnets .*subnet-s"):
        checked(aws)
