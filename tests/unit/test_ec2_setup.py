"""Preparing an account: what is missing, and that a second time nothing is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from sc.fleets.ec2_policies import areas_of, as_text, of_bucket, of_machine, of_user
from sc.fleets.ec2_setup import Wish, carry_out, look, policy_name
from tests.fakes.aws import FakeAws, refused


class Iam(FakeAws):
    """The part of IAM that keeps roles and profiles."""

    def __init__(self) -> None:
        self.roles: dict[str, dict[str, Any]] = {}
        self.profiles: dict[str, list[str]] = {}
        super().__init__(
            get_instance_profile=self._profile,
            get_role=lambda asked: self.roles.get(asked["RoleName"]) or refused("NoSuchEntity"),
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


def test_policies_fit_into_what_iam_takes() -> None:
    # 10,240 characters for all inline policies of a role, 6,144 for a managed policy, without white space.
    assert len(json.dumps(of_machine("aws", "1" * 12)).replace(" ", "")) < 4000
    assert len(json.dumps(of_user("aws", "1" * 12, "r", ["b"])).replace(" ", "")) < 6144
