"""What has been trouble: found by the fuzzer, or by reading what it did not reach. As short as it could be made."""

from __future__ import annotations

import json

from tests.fuzz import seeds

_RUN = '{"runs": [{"cmd": "x", "remote_output_path": "/x", %s}]}'
_JOB = seeds.SEEDS["job"][0]
_LISTED = seeds.LISTING


def _with(data: bytes, old: bytes, new: bytes) -> bytes:
    """The same with something else in one place."""
    assert old in data, old
    return data.replace(old, new, 1)


FOUND: dict[str, dict[str, bytes]] = {
    "part": {
        "no number": (_RUN % '"timeout": NaN').encode(),
        "without an end": (_RUN % '"gpus": Infinity').encode(),
        "too many digits for a float": (_RUN % f'"timeout": 1{"0" * 400}').encode(),
        "expected never": (_RUN % '"expected_time": NaN').encode(),
        "half a retry": (_RUN % '"retries": 0.5').encode(),
        "half of a surrogate pair": (_RUN % '"working_directory": "\\ud800"').encode(),
        "a variable without a name": (_RUN % '"env": {"": "a"}').encode(),
        "a variable with =": (_RUN % '"env": {"a=b": "a"}').encode(),
    },
    "job": {
        "half a part": _with(_JOB, b'"parts": 2', b'"parts": 1.5'),
        "half a slot": _with(_JOB, b'"scale": 2', b'"scale": 2.5'),
        "runs without an end": _with(_JOB, b'"runs": 4', b'"runs": Infinity'),
        "a lease without an end": _with(
            _JOB, b'"lease_seconds": 120.0', b'"lease_seconds": Infinity'
        ),
        "a lease of too many digits": _with(_JOB, b"120.0", b"1" + b"0" * 400),
        "true is no number of slots": _with(_JOB, b'"nprocs": 3', b'"nprocs": true'),
        "a list of slots": _with(_JOB, b'"nprocs": 3', b'"nprocs": []'),
        "a folder that is no text": _with(_JOB, b'"/w"', b"0"),
        "fresh is a text": _with(_JOB, b'"is_fresh": true', b'"is_fresh": "no"'),
    },
    "claim": {
        "as many losses as Python can read": b'{"worker": "w", "losses": %s}' % (b"9" * 4300),
    },
    "heartbeat": {
        "a rank without an end": _with(seeds.HEARTBEAT, b"[[0,", b"[[1e999,"),
        "seconds without an end": _with(seeds.HEARTBEAT, b"2.0]]", b"Infinity]]"),
        "no number": _with(seeds.HEARTBEAT, b'"load": 0.0', b'"load": NaN'),
        "started never": _with(seeds.HEARTBEAT, b'"started": 1.5', b'"started": -Infinity'),
        "started in a year of many digits": _with(seeds.HEARTBEAT, b"1.5", b"1" + b"0" * 400),
        "half a failure": _with(seeds.HEARTBEAT, b'"count": 2', b'"count": 1.5'),
        "failures without an end": _with(seeds.HEARTBEAT, b'"count": 2', b'"count": Infinity'),
    },
    "record": {
        "an error that is no text": _with(seeds.RECORD, b'"ValueError: 3"', b"3"),
        "a code without an end": _with(seeds.RECORD, b'"code":3', b'"code":Infinity'),
        "a time that is none": _with(seeds.RECORD, b'"ended":', b'"ended":NaN,"x":'),
    },
    "history": {
        "a code without an end": _with(seeds.RECORD, b'"code":3', b'"code":Infinity'),
        "a list of codes": _with(seeds.RECORD, b'"code":3', b'"code":[]'),
        "never in a slot": _with(seeds.RECORD, b'"rank":0', b'"rank":-1'),
        "half a rank": _with(seeds.RECORD, b'"rank":0', b'"rank":0.5'),
        "times of too many digits": seeds.RECORD.replace(
            b'"started":', b'"started":1%s,"x":' % (b"0" * 400)
        ).replace(b'"ended":', b'"ended":1%s,"y":' % (b"0" * 400)),
    },
    "standing": {
        "an end of too many digits": seeds.RECORD.replace(
            b'"ended":', b'"ended":1%s,"x":' % (b"0" * 400)
        ),
        "an end that is none": _with(seeds.RECORD, b'"ended":', b'"ended":NaN,"x":'),
        "a hash with a sign": seeds.RECORD.replace(b'"command_hash":"', b'"command_hash":"-'),
    },
    "manifest": {
        "nested without an end": b"[" * 100_000,
        "a number of folders": b'{"files": ["recipe.yaml"], "sync": 3}',
        "folders that are no texts": b'{"files": ["recipe.yaml"], "sync": [3]}',
        "a place that is no text": b'{"files": ["recipe.yaml"], "file_syncs_base_dir_url": {}}',
    },
    "json_as_a_stream": {
        "a piece that ends within a fraction": b'\0{"a":1.5}',
        "a piece that ends within an exponent": b'\4{"a":-1.5e+5,"b":2}',
    },
    "matrix": {
        "combinations of thousands of digits": json.dumps(
            {"run": {}, "matrix": {f"a{number}": [True, False] for number in range(15_000)}}
        ).encode(),
    },
    "ignore_rules": {
        "stars upon stars": b"**/" * 30
        + b"x\n"
        + b"*a" * 40
        + b"b\n"
        + b"a/" * 60
        + b"\n"
        + b"a" * 200,
    },
    "headers": {
        "a number of more digits than Python reads": b"9" * 5000,
    },
    "listing": {
        "less than nothing": _with(_LISTED, b"<Size>7", b"<Size>-7"),
        "a time without an end": _with(_LISTED, b"05.000Z", b"05.1e999Z"),
        "a size of many digits": _with(_LISTED, b"<Size>7", b"<Size>" + b"9" * 5000),
    },
    "http_answer": {
        "100 GB are promised": b"\0HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nok",
        "a chunk of 100 GB": b"\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\nok",
        "a promise that is not kept": b"\0HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nok",
    },
    "metadata": {
        "an object without a time": b'{"instanceId": "i-1", "region": "us-east-2"}',
        "a list": b"[]",
        "nested without an end": b"[" * 100_000,
        "a time before all times": b'{"time": "0001-01-01T00:00:00+23:59"}',
        "a time that is none": b'{"time": NaN}',
    },
    "price": {
        "nested without an end": b"[" * 100_000,
        "no number": _with(seeds.PRICE, b'"0.2268"', b'"nan"'),
        "without an end": _with(seeds.PRICE, b'"0.2268"', b"1e999"),
        "money back": _with(seeds.PRICE, b'"0.2268"', b'"-1"'),
        "too many digits for a float": _with(seeds.PRICE, b'"0.2268"', b"1" + b"0" * 400),
    },
    "tar": {
        "a link made through a link that leads out": seeds.SEEDS["tar"][2],
    },
}
