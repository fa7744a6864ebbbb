"""Where a fuzzer goes on from: for each target something good, and what has been trouble elsewhere."""

from __future__ import annotations

import io
import json
import tarfile

from sc import claims
from sc.halting import Stop
from sc.heartbeats import Heartbeat
from sc.staging import Job, Synced
from tests.fakes.office import OUT, outcome_of, part_bytes, runs_of_part

BATCH = (
    '{"nprocs": 4, "remote_output_path": "s3://bucket/out", "timeout": "10m", "retries": 2, '
    '"env": {"A": "b"}, "gpus": 0.5, "working_directory": "/w", "runs": ['
    '{"cmd": "echo 1", "remote_output_path": "a"}, {"cmd": ["printf", "%s", "ü"], "timeout": 1.5}, '
    '{"cmd": "x", "local_results_dir": "r", "expected_time": "9m", "status": "completed", "env": {"B": ""}}]}'
).encode()
MATRIX = (
    b'{"remote_output_path": "/out", "runs": [{"cmd": "train {lr} {seed}", "remote_output_path": "o/{lr}", '
    b'"env": {"S": "{seed}"}, "local_results_dir": "~/r{lr}/{{seed}}", '
    b'"matrix": {"lr": [0.10, 1e-3], "seed": [1, 2, 3]}}]}'
)
YAML = b"""nprocs: 2
remote_output_path: /out
defaults: &d {timeout: 90s, retries: 1}
runs:
- {<<: *d, cmd: "echo 'a'"}
- cmd: [printf, '%s', "\\u00fc"]
  env: {A: yes, B: 0x10, C: ~}
- cmd: |
    for i in 1 2; do
      echo $i
    done
  gpus: 1
"""
RECIPE = b"""type: job
spec:
  name: backfill
  owner: org/someone
  image: saturncloud/saturn-python:2023.09.01
  instance_type: [r6axlarge, m5.large]
  scale: 2
  disk_space: 100Gi
  use_spot_instance: true
  environment_variables: {A: '1', B: two}
  start_script: |
    pip install x
  working_directory: /home/jovyan/workspace
  region: us-east-2
  subnets: [subnet-1]
  tags: {team: ml}
  max_hours: 2.5
  command: [sc batch 0.json, sc batch 1.json]
  git_repositories: []
  secrets: []
  schedule: null
"""
LISTING = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>b</Name><Prefix>o/</Prefix>'
    b"<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken><Contents><Key>o/a%2Fb</Key>"
    b"<LastModified>2024-01-02T03:04:05.000Z</LastModified><ETag>&quot;d41d8&quot;</ETag><Size>7</Size>"
    b"</Contents><CommonPrefixes><Prefix>o/c/</Prefix></CommonPrefixes></ListBucketResult>"
)
ERROR = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>m</Message><Region>r</Region></Error>'
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "x"\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\nok'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nA: b\r\n\r\n"
PRICE = b'{"terms":{"OnDemand":{"a":{"priceDimensions":{"b":{"unit":"Hrs","pricePerUnit":{"USD":"0.2268"}}}}}}}'
_HEARTBEAT = Heartbeat(
    *("w-1", "host", "ec2", "r6a.xlarge", 4, "working", 1.5, 3, 2, 1, 0, 1, 0),
    running=((0, f"{OUT}/0", 2.0),),
    error="e",
)
HEARTBEAT = json.dumps(
    {**json.loads(_HEARTBEAT.to_bytes()), "errors": [{"count": 2, "text": "t", "example": "/x"}]}
).encode()
_JOB = Job(
    *("job", OUT, 2, 4, 1, 3, 2, 120.0, True, "/w", "pip install x", {"A": "b"}),
    synced=(Synced("0" * 64, "/there", "s3://b/sync"),),
    max_failures="5%",
    nonce="0a",
)
PART = (
    b'{"runs": [{"cmd": ["a", "b"], "remote_output_path": "/x", "env": {"A": "b"}, "timeout": 1.5, "retries": 1, '
    b'"gpus": 0.5, "local_results_dir": "r", "working_directory": "/w", "expected_time": 9.5}]}'
)
RECORD = (
    outcome_of(runs_of_part(0, 1)[0], 3)._replace(error_line="ValueError: 3").to_line().encode()
)
TEXT = (
    "a'; echo foo $(touch x) `id` </script><!-- ]]> javascript:\x1b[31m\x1b]52;c;YQ==\x07\x9b\u202e\u200b\r\b😀é中"
).encode()


def tar_of(*members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these, each filled with as many letters as its size says."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for one in members:
            tar.addfile(one, io.BytesIO(b"x" * one.size) if one.isreg() else None)
    return file.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0
) -> tarfile.TarInfo:
    """One entry."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, target, size, 0o6755
    return info


_GOOD_TAR = (
    member("d", tarfile.DIRTYPE),
    member("d/f", size=20),
    member("l", tarfile.SYMTYPE, "d/f"),
    member("ü" * 60 + "/" + "y" * 60, size=3),
)
SEEDS: dict[str, tuple[bytes, ...]] = {
    "batch_in_json": (BATCH, b'{"runs": []}'),
    "batch_in_yaml": (YAML, BATCH, MATRIX),
    "batch_in_text": (
        b"# a\necho 1\n\n  echo 2\r\n",
        b"a\0b",
        b"#!/bin/sh\na",
        b"cat <<'E'\na\\\n#DISBATCH x\nb\rc\nE",
    ),
    "batch_by_looks": (BATCH, YAML, b"echo 1\n"),
    "batch_of_a_matrix": (MATRIX,),
    "json_as_a_stream": (b"\x05" + BATCH, b'\x01{"a":1.50,"runs":[1,{"b":2},{"c":"},{"}],"d":NaN}'),
    "yaml_by_both_parsers": (YAML, RECIPE, b"a: &x [*x]\n", b"--- !!python/object:os.system x\n"),
    "recipe": (RECIPE, b'{"type": "job", "spec": {"name": "a", "instance_type": "local"}}'),
    "matrix": (
        b'{"run":{"cmd":"{a} {b}","remote_output_path":"{a}"},"matrix":{"a":[1,2],"b":["x"]}}',
    ),
    "values": (b"10m", b"1e3", b"100Gi", b"yes", b"0.5", b"A=b"),
    "outputs": (b"s3://bucket/a", b"../x", b"file:///a", b"sfs://o/p", b"a/./b", b"~/x", b".sc/x"),
    "places": (b"s3://bucket/prefix/", b"../out", b"file:///a/../b", b"sfs://owner/p", b"S3:x"),
    "ignore_rules": (b"*.csv\n!keep.csv\n/data/\n**/a\n[!a-c]1\n[]x]\n\\#a", b"[z-a]", b"a**/b*?"),
    "limits": (b"5", b"5%", b"0.5%", b"100%"),
    "part": (part_bytes(runs_of_part(0, 3)), PART),
    "job": (_JOB.to_bytes(),),
    "claim": (claims.Claim(3, "w", "n", 1, 2, ("a",)).to_bytes(), b'{"losses": 1}'),
    "done": (
        claims.done_note(1, 2, ["p"], "w", "t"),
        b'{"completed":24}',
        Stop("r", True).to_bytes(),
    ),
    "heartbeat": (HEARTBEAT, _HEARTBEAT.to_bytes()),
    "glance": (b"w-1.working.1.2.3.4.5.6.7.8", b"a.b.left.0.0.0.0.0.0.0.0"),
    "record": (RECORD,),
    "history": (RECORD + b"\n" + RECORD.replace(b'"rank":0', b'"rank":1') + b"\n{}\n",),
    "standing": (RECORD + b"\n" + RECORD,),
    "manifest": (
        b'{"files": ["0.json", "recipe.yaml"], "sync": ["a:b"], "file_syncs_base_dir_url": null}',
    ),
    "code": (b"0", b"255", b"None", b" 7\n"),
    "pull_memory": (b"sc pull 1\n      " + bytes(range(32)),),
    "listing": (LISTING,),
    "error": (
        ERROR,
        b"<Error><Key>a</Key><Code>AccessDenied</Code><Message>&lt;</Message></Error>",
    ),
    "headers": (b"Mon, 01 Jan 2024 00:00:00 GMT", b"123", b'"abc"'),
    "http_answer": (
        b"\0" + ANSWER,
        b"\0" + CHUNKED,
        b"\1HTTP/1.1 404 Not Found\r\n\r\n",
        b"\2HTTP/1.1 100 C\r\n\r\n" + ANSWER,
    ),
    "metadata": (
        b'{"instanceId": "i-1", "region": "us-east-2", "instanceType": "m5.large"}',
        b'{"action": "terminate", "time": "2027-01-15T08:02:00Z"}',
    ),
    "price": (PRICE,),
    "tar": (
        tar_of(*_GOOD_TAR),
        tar_of(*_GOOD_TAR, form=tarfile.GNU_FORMAT),
        tar_of(
            member("a", tarfile.SYMTYPE, "../outside"), member("a/secret", tarfile.SYMTYPE, "x")
        ),
        tar_of(
            member("x", tarfile.CHRTYPE),
            member("p", tarfile.FIFOTYPE),
            member("h", tarfile.LNKTYPE, "d"),
        ),
    ),
    "tar_gz": (
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ),
    "terminal": (TEXT,),
    "output": (TEXT, b"\x1b[1;31mred\x1b[0m\r\n\x1b[2J\x1b]0;t\x07\r1 %\r2 %\xe4\xb8"),
    "page": (TEXT,),
    "shell": (TEXT, b"-rf\x01a b\x01\x01'"),
    "bootstrap": (TEXT, b"@JOB@", b"SC_JOB\nSC_COURIER\n"),
}
