"""The real sc.pyz with buckets that demand something of whoever writes there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import Program
from tests.servers import S3Server
from tests.strict_s3 import SSE, Demands, Front, strict_s3

KEY = "arn:aws:kms:us-east-1:123456789012:key/0b1c2d3e-0000-4000-8000-000000000000"
KMS = Demands("aws:kms", KEY, "true")
IN_ENVIRONMENT = {
    "SC_S3_ENCRYPTION": "aws:kms",
    "SC_S3_KMS_KEY": KEY,
    "SC_S3_BUCKET_KEY": "true",
}
IN_RECIPE = f"s3_encryption: aws:kms, s3_kms_key: '{KEY}', s3_bucket_key: true"
LARGE = "head -c 20000000 /dev/zero > $SATURN_RUN_LOCAL_RESULTS_DIR/large; echo said"
"""More than one part."""


@pytest.fixture
def front(seaweed: S3Server) -> Iterator[Front]:
    with strict_s3(seaweed) as one:
        yield one


def write_batch(folder: Path, bucket: str, *commands: str) -> None:
    runs = [{"cmd": one} for one in commands]
    document = {"remote_output_path": f"s3://{bucket}/out", "nprocs": 2, "runs": runs}
    (folder / "batch.json").write_text(json.dumps(document))


def run_batch(program: Program, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    done = program.run("batch", "batch.json", "--quiet", cwd=folder, environment=environment)
    return done.returncode, done.stderr


def test_object_lock_gets_a_checksum_with_every_object_and_part(
    program: Program, front: Front, bucket: str, tmp_path: Path
) -> None:
    write_batch(tmp_path, bucket, LARGE, "true")
    assert run_batch(program, tmp_path, front.environment()) == (0, "")
    assert front.refused == []
    assert sum("partNumber" in target for target, _ in front.stored) == 2
    assert not any(SSE in headers for _, headers in front.stored)
    rerun = program.run(
        "batch", "batch.json", "--quiet", cwd=tmp_path, environment=front.environment()
    )
    assert rerun.returncode == 0, rerun.stderr  # what was there is removed by DeleteObjects
    assert front.refused == []


def test_settings_in_the_environment_go_with_all_that_a_batch_writes(
    program: Program, front: Front, bucket: str, tmp_path: Path
) -> None:
    front.demands = KMS
    write_batch(tmp_path, bucket, LARGE, "echo 1; exit 1")
    code, errors = run_batch(program, tmp_path, {**front.environment(), **IN_ENVIRONMENT})
    assert code == 1, errors
    assert front.refused == []
    told = program.run("pull", "batch.json", "here", cwd=tmp_path, environment=front.environment())
    assert told.returncode in (0, 1), told.stderr  # reading wants no setting
    assert (tmp_path / "here/0/results/large").stat().st_size == 20_000_000


def test_server_that_encrypts_gives_back_what_was_stored(
    program: Program, seaweed: S3Server, bucket: str, tmp_path: Path
) -> None:
    write_batch(tmp_path, bucket, LARGE, "echo 1; exit 1")
    environment = {**seaweed.environment(), "SC_S3_ENCRYPTION": "AES256"}
    for _ in range(2):
        code, errors = run_batch(program, tmp_path, environment)
        assert code == 1, errors
    client = seaweed.client()
    stored = client.list_objects_v2(Bucket=bucket)["Contents"]
    kinds = {
        one["Key"]: client.head_object(Bucket=bucket, Key=one["Key"]).get("ServerSideEncryption")
        for one in stored
    }
    assert {key: kind for key, kind in kinds.items() if kind != "AES256"} == {}
    told = program.run("summarize-batch", "batch.json", cwd=tmp_path, environment=environment)
    assert "2 runs: 1 failed, 1 completed" in told.stderr
    told = program.run("pull", "batch.json", "here", cwd=tmp_path, environment=environment)
    assert (tmp_path / "here/0/results/large").read_bytes() == bytes(20_000_000)


def test_settings_in_the_profile_go_with_all_that_a_batch_writes(
    program: Program, front: Front, bucket: str, tmp_path: Path
) -> None:
    front.demands = Demands("AES256")
    (tmp_path / "config").write_text(
        "[profile team]\nsc_s3_encryption = aes256\ns3 =\n  addressing_style = path\n"
    )
    environment = {
        **front.environment(),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_PROFILE": "team",
    }
    write_batch(tmp_path, bucket, "true")
    assert run_batch(program, tmp_path, environment) == (0, "")
    assert front.refused == []


def test_settings_in_the_recipe_go_with_all_that_a_job_writes(
    program: Program, front: Front, bucket: str, tmp_path: Path
) -> None:
    """Also with what others write later, who have only the URL, or the batch."""
    front.demands = KMS
    spec = f"{{name: j, instance_type: local, scale: 2, {IN_RECIPE}}}"
    (tmp_path / "recipe.yaml").write_text(f"type: job\nspec: {spec}\n")
    write_batch(tmp_path, bucket, LARGE, "true", "true")
    words = ("split", "recipe.yaml", "batch.json", "--start", "--wait")
    done = program.run(*words, cwd=tmp_path, environment=front.environment())
    assert done.returncode == 0, done.stderr
    job = f"s3://{bucket}/out/.sc/j"
    again = [("rerun", word, "1", "--save") for word in (job, "batch.json")]
    for word in (*again, ("stop", job), ("work", job)):
        later = program.run(*word, cwd=tmp_path, environment=front.environment())
        assert later.returncode == 0, later.stderr
    assert front.refused == []
    assert any("if-none-match" in headers for _, headers in front.stored)


def test_policy_that_wants_encryption_is_told_with_the_setting_before_anything_runs(
    program: Program, front: Front, bucket: str, tmp_path: Path
) -> None:
    front.demands = KMS
    write_batch(tmp_path, bucket, f"touch {tmp_path}/ran")
    code, errors = run_batch(program, tmp_path, front.environment())
    assert code == 3, errors
    assert "the bucket's policy denies s3:PutObject" in errors
    assert "s3_encryption" in errors
    assert "SC_S3_ENCRYPTION" in errors
    assert not (tmp_path / "ran").exists()


def test_key_that_may_not_be_used_is_told_with_what_is_lacking(
    program: Program, front: Front, bucket: str, tmp_path: Path
) -> None:
    front.demands = Demands("aws:kms", denies_key=True)
    write_batch(tmp_path, bucket, "true")
    environment = {**front.environment(), "SC_S3_ENCRYPTION": "aws:kms"}
    code, errors = run_batch(program, tmp_path, environment)
    assert code == 3, errors
    assert "kms:GenerateDataKey" in errors
    assert "SC_S3_KMS_KEY" in errors


def test_requester_pays_with_every_request(
    program: Program, front: Front, bucket: str, tmp_path: Path
) -> None:
    front.demands = Demands(payer="requester")
    write_batch(tmp_path, bucket, LARGE, "true")
    environment = {**front.environment(), "SC_S3_REQUEST_PAYER": "requester"}
    assert run_batch(program, tmp_path, environment) == (0, "")
    for word in ("summarize-batch", "pull"):
        words = [word, "batch.json", *(["here"] if word == "pull" else [])]
        done = program.run(*words, cwd=tmp_path, environment=environment)
        assert done.returncode == 0, done.stderr
    assert front.refused == []
    code, _ = run_batch(program, tmp_path, front.environment())
    assert code == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SC_S3_ENCRYPTION", "aws-kms"),
        ("SC_S3_ENCRYPTION", "two\r\nlines"),
        ("SC_S3_KMS_KEY", "alias/without-encryption"),
    ],
)
def test_setting_that_s3_does_not_know_is_one_sentence(
    program: Program, front: Front, bucket: str, tmp_path: Path, name: str, value: str
) -> None:
    write_batch(tmp_path, bucket, "true")
    code, errors = run_batch(program, tmp_path, {**front.environment(), name: value})
    assert code == 2, errors
    assert name in errors
    assert "Traceback" not in errors
    assert front.stored == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("b--usw2-az1--x-s3", "a directory bucket"),
        ("arn:aws:s3:us-west-2:123456789012:accesspoint/test", "the alias of the access point"),
    ],
)
def test_bucket_of_another_kind_is_one_sentence_before_any_request(
    program: Program, front: Front, tmp_path: Path, name: str, words: str
) -> None:
    write_batch(tmp_path, name, "true")
    code, errors = run_batch(program, tmp_path, front.environment())
    assert code == 2, errors
    assert words in errors
    assert front.stored == []
