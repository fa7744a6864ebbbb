"""The table of targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz import archives, documents, drawing, keys, wire

Target = Callable[[bytes], None]

TARGETS: Mapping[str, Target] = {
    # files of strangers
    "batch_in_json": documents.batch_in_json,
    "batch_in_yaml": documents.batch_in_yaml,
    "batch_in_text": documents.batch_in_text,
    "batch_by_looks": documents.batch_by_looks,
    "batch_of_a_matrix": documents.batch_in_json,
    "recipe": documents.recipe,
    "tar": archives.tar,
    "tar_gz": archives.tar_gz,
    "json_as_a_stream": documents.json_as_a_stream,
    "yaml_by_both_parsers": documents.yaml_by_both_parsers,
    "matrix": documents.matrix,
    "ignore_rules": documents.ignore_rules,
    "manifest": keys.manifest,
    # what stands below a job's place
    "part": keys.part,
    "job": keys.job,
    "heartbeat": keys.heartbeat,
    "history": keys.history,
    "record": keys.record,
    "standing": keys.standing,
    "claim": keys.claim,
    "done": keys.done,
    "glance": keys.glance,
    "code": keys.code,
    "pull_memory": keys.pull_memory,
    # the network
    "http_answer": wire.http_answer,
    "listing": wire.listing,
    "error": wire.error,
    "headers": wire.headers,
    "metadata": wire.metadata,
    "price": wire.price,
    # single values and names
    "values": documents.values,
    "outputs": documents.outputs,
    "places": documents.places,
    "limits": documents.limits,
    "terminal": drawing.terminal,
    "output": drawing.output,
    "page": drawing.page,
    "shell": drawing.shell,
    "bootstrap": drawing.bootstrap,
}
