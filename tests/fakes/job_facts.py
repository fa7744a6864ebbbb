"""What a machine is told of its job, names that a shell would stumble over included."""

from __future__ import annotations

from sc.fleets.bootstrap import JobFacts

HOSTILE = 'a\'; echo foo "$(touch /tmp/x)" `id` \\ \n$HOME\nSC_JOB\nSC_COURIER\n@COURIER@ ü\x1b'


def facts(text: str = "name") -> JobFacts:
    return JobFacts(
        job_url=f"s3://bucket/{text}/.sc/job",
        bucket="bucket",
        key=f"{text}/.sc/job",
        s3_endpoint="https://s3.eu-west-1.amazonaws.com",
        s3_region="eu-west-1",
        autoscaling_endpoint="https://autoscaling.eu-west-1.amazonaws.com",
        region="eu-west-1",
        sha256="0" * 64,
        environment={"AWS_DEFAULT_REGION": text},
    )
