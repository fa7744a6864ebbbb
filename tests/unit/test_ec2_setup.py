"""Preparing an account: what is missing, and that a second time nothing is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from sc.errors import InputError
from sc.fleets.ec2_policies import (
    MANAGED,
    ROLE_INLINE,
    areas_of,
    as_text,
    characters,
    how_to_give,
    of_bucket,
    of_machine,
    of_parameters,
    of_user,
)
from sc.fleets.ec2_setup import Wish, carry_out, look, policy_name
from tests.fakes.aws import FakeAws, refused


class Iam(FakeAws):
    """The part of IAM that keeps roles and profiles."""

    def __init__(self) -> None:
        self.roles: dict[str, dict[str, Any]] = {}
        self.profiles: dict[str, list[str]] = {}
        super().__init__(
            get_instance_profile=self._profile,
            get_role=lambda asked: (
                {"Role": {"RoleName": asked["RoleName"], "Path": "/"}}
                if asked["RoleName"] in self.roles
                else refused("NoSuchEntity")
            ),
            list_role_policies=lambda asked: {"PolicyNames": [*self.roles[asked["RoleName"]]]},
            get_role_policy=lambda asked: {
                "PolicyDocument": self.roles[asked["RoleName"]][asked["PolicyName"]]
            },
            create_role=lambda asked: self.roles.update({asked["RoleName"]: {}}),
            put_role_policy=self._put_policy,
            create_instance_profile=lambda asked: self.profiles.update(
                {asked["InstanceProfileName"]: []}
            ),
            add_role_to_instance_profile=lambda asked: self.profiles[
                asked["InstanceProfileName"]
            ].append(asked["RoleName"]),
        )

    def _profile(self, asked: Mapping[str, Any]) -> Any:
        roles = self.profiles.get(asked["InstanceProfileName"])
        if roles is None:
            return refused("NoSuchEntity")
        return {"InstanceProfile": {"Roles": [{"RoleName": role} for role in roles]}}

    def _put_policy(self, asked: Mapping[str, Any]) -> Any:
        document = json.loads(asked["PolicyDocument"])
        self.roles[asked["RoleName"]][asked["PolicyName"]] = document
        return {}


def wish(*buckets: str, parameters: Any = None) -> Wish:
    return Wish("sc-machine", buckets, parameters)


def test_all_that_is_missing_is_made_and_then_nothing_is() -> None:
    iam = Iam()
    state = look(iam, wish("data"), "/sc/")
    assert iam.changes == []
    assert [step.call.operation for step in state.missing] == [
        "create_role",
        *["put_role_policy"] * 3,
        "create_instance_profile",
        "add_role_to_instance_profile",
    ]
    carry_out(iam, state.missing)
    assert iam.profiles == {"sc-machine": ["sc-machine"]}
    assert sorted(iam.roles["sc-machine"]) == ["sc-bucket-data", "sc-machine", "sc-parameters"]
    assert look(iam, wish("data"), "/sc/").missing == ()
    assert look(iam, wish(), "/sc/").missing == ()


def test_a_second_bucket_is_added_to_the_first() -> None:
    iam = Iam()
    carry_out(iam, look(iam, wish("one"), "/sc/").missing)
    state = look(iam, wish("two"), "/sc/")
    assert [step.text for step in state.missing] == [
        "give the role sc-machine the policy sc-bucket-two"
    ]
    assert state.buckets == ("one", "two")
    assert "arn:aws:s3:::two/*" in as_text(state.user_policy)


@pytest.mark.parametrize(
    ("area", "name"),
    [
        ("data", "sc-bucket-data"),
        ("data/team", "sc-bucket-data+team"),
        ("data/team/a.b_c-d", "sc-bucket-data+team+a.b_c-d"),
        ("data/a+b", "sc-bucket-data+a+b="),
        ("data/a b", "sc-bucket-data+a_b="),
        ("data/é*?$", "sc-bucket-data+____="),
        ("data/" + "x" * 500, "sc-bucket-data+xxx"),
        ("data/" + "x/" * 500 + "x", "sc-bucket-data+x+x"),
    ],
)
def test_policy_of_a_prefix_has_a_name_that_iam_takes(area: str, name: str) -> None:
    made = policy_name(area)
    assert re.fullmatch(r"[A-Za-z0-9_+=,.@-]{1,128}", made)
    assert made.startswith(name)
    assert name.endswith(("=", "xxx", "x+x")) or made == name
    assert areas_of(of_bucket("aws", area)) == [area]


def test_policies_of_different_prefixes_have_different_names() -> None:
    areas = ["d", "d/a/b", "d/a+b", "d/a b", "d/a_b", "d/a/b_", "d/" + "x" * 200, "d/" + "x" * 201]
    assert len({policy_name(area) for area in areas}) == len(areas)


def test_prefix_limits_the_role_and_the_user_to_it() -> None:
    iam = Iam()
    carry_out(iam, look(iam, wish("data/team"), "/sc/").missing)
    state = look(iam, wish(), "/sc/")
    assert (state.missing, state.buckets, state.wider) == ((), ("data/team",), ())
    assert set(iam.roles["sc-machine"]) == {"sc-bucket-data+team", "sc-machine", "sc-parameters"}
    for policy in (iam.roles["sc-machine"]["sc-bucket-data+team"], state.user_policy):
        assert "arn:aws:s3:::data/team/*" in as_text(policy)
        assert "arn:aws:s3:::data/*" not in as_text(policy)


def test_policy_of_the_whole_bucket_is_told_beside_one_of_a_prefix() -> None:
    iam = Iam()
    carry_out(iam, look(iam, wish("data", "data2/team"), "/sc/").missing)
    state = look(iam, wish("data/team", "data2/team"), "/sc/")
    (sentence,) = state.wider
    assert sentence.endswith(
        "aws iam delete-role-policy --role-name sc-machine --policy-name sc-bucket-data"
    )
    assert state.buckets == ("data", "data/team", "data2/team")


def test_parameters_change_only_when_they_are_said() -> None:
    iam = Iam()
    carry_out(iam, look(iam, wish(parameters="/team/"), "/sc/").missing)
    assert look(iam, wish(), "/sc/").missing == ()
    policy = iam.roles["sc-machine"]["sc-parameters"]
    assert policy["Statement"][0]["Resource"] == "arn:aws:ssm:*:123456789012:parameter/team/*"
    (step,) = look(iam, wish(parameters="/"), "/sc/").missing
    assert step.text == "change the role sc-machine the policy sc-parameters"


def test_a_profile_with_a_role_of_its_own_keeps_it() -> None:
    iam = Iam()
    iam.profiles["mine"], iam.roles["theirs"] = ["theirs"], {"old": {}}
    state = look(iam, Wish("mine", ("data",), None), "/sc/")
    assert state.role == "theirs"
    assert {step.call.operation for step in state.missing} == {"put_role_policy"}
    assert "role/theirs" in as_text(state.user_policy)


def changing(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The statements that allow more than looking."""
    looks = ("Describe", "Get", "List")
    return [
        statement
        for statement in policy["Statement"]
        if not all(action.split(":")[1].startswith(looks) for action in statement["Action"])
    ]


def test_what_changes_something_is_bound_to_our_tag_or_to_a_resource() -> None:
    for policy in (of_machine("aws", "1"), of_user("aws", "1", "sc-machine", ["data"])):
        for statement in changing(policy):
            assert statement.get("Condition") or statement["Resource"] != "*", statement["Sid"]


def test_policy_of_the_user_is_said_to_be_a_managed_one() -> None:
    few = of_user("aws", "1" * 12, "sc-machine", ["b"])
    assert how_to_give(few).startswith(f"a managed policy (it has {characters(few):,} characters")
    many = of_user("aws", "1" * 12, "sc-machine", [f"bucket-{n}/team" for n in range(30)])
    assert how_to_give(many).startswith("two managed policies, one of the statements whose Sid")
    assert how_to_give(of_bucket("aws", "b")).startswith("an inline policy of the user")
    rest = {"Statement": [o for o in many["Statement"] if not re.match("List|Obj", o["Sid"])]}
    assert characters(rest) <= MANAGED < characters(many)


def test_role_that_would_have_too_long_policies_is_refused_before_any_change() -> None:
    iam = Iam()
    carry_out(iam, look(iam, wish("one"), "/sc/").missing)
    changes = len(iam.changes)
    with pytest.raises(InputError, match=r"would have 1\d,\d{3} characters, and IAM takes 10,240"):
        look(iam, wish(*(f"bucket-{n}" for n in range(40))), "/sc/")
    assert len(iam.changes) == changes
    iam.roles["sc-machine"]["theirs"] = {"Version": "2012-10-17", "Statement": ["x" * 20000]}
    assert look(iam, wish(), "/sc/").missing == ()  # what is there fits


def test_policies_that_are_made_fit_into_a_role() -> None:
    policies = [
        of_machine("aws-us-gov", "1" * 12),
        of_parameters("aws-us-gov", "1" * 12, "/sc/"),
        *(of_bucket("aws-us-gov", f"a-bucket-with-a-long-name-{n}") for n in range(10)),
    ]
    assert sum(characters(policy) for policy in policies) < ROLE_INLINE


@pytest.mark.parametrize(
    ("partition", "principal", "passed_to"),
    [
        ("aws", "ec2.amazonaws.com", "ec2.amazonaws.com"),
        ("aws-us-gov", "ec2.amazonaws.com", "ec2.amazonaws.com"),
        ("aws-cn", "ec2.amazonaws.com.cn", ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]),
    ],
)
def test_partition_is_in_every_arn_and_ec2_has_its_name_there(
    partition: str, principal: str, passed_to: Any
) -> None:
    iam = Iam()
    arn = f"arn:{partition}:sts::123456789012:assumed-role/me/session"
    iam.answers["get_caller_identity"] = {"Account": "123456789012", "Arn": arn}
    state = look(iam, wish("data", "other/team"), "/sc/")
    (made,) = [one.call.parameters for one in state.missing if one.call.operation == "create_role"]
    trusted = json.loads(made["AssumeRolePolicyDocument"])["Statement"][0]
    assert trusted["Principal"] == {"Service": principal}
    (give,) = [one for one in state.user_policy["Statement"] if one["Sid"] == "GiveRole"]
    assert give["Condition"]["StringEquals"] == {"iam:PassedToService": passed_to}
    for policy in (state.user_policy, state.setup_policy, *state.machine_policies.values()):
        assert set(re.findall(r"arn:[^:]*:", json.dumps(policy))) == {f"arn:{partition}:"}


def test_role_with_a_path_is_handed_over_under_it() -> None:
    iam = Iam()
    about = {"RoleName": "theirs", "Path": "/team/a/"}
    iam.roles["theirs"] = {}
    iam.answers["get_instance_profile"] = {"InstanceProfile": {"Roles": [about]}}
    state = look(iam, Wish("mine", ("data",), None), "/sc/")
    assert "arn:aws:iam::123456789012:role/team/a/theirs" in as_text(state.user_policy)
    assert state.role == "theirs"
