"""YAML text <-> plain values. The only importer of yaml.

Values are built from the parser's events and not by PyYAML's own constructors, because a stranger's file

- may refer to one node a billion times: aliases here share one value, and nothing is copied;
- may nest without end, or name Python objects: both end in a sentence;
- may write a key twice, which PyYAML passes over in silence;
- and its scalars must keep their spelling (see `sc.documents.scalars`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from sc.documents.libyaml import fast_parser
from sc.documents.problems import shown
from sc.documents.scalars import Plain

DEEPEST = 50
_MOST_MERGED = 1_000_000
"""Keys that `<<` may copy in all: each of many mappings could ask for the same many keys."""
_PREFIX = "tag:yaml.org,2002:"
_TAGS = {_PREFIX + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")} | {"!"}
_NULLS = {"", "~", "null", "Null", "NULL"}


class YamlError(Exception):
    """The text is no YAML that `sc` reads; says why, with line and column."""


def yaml_parser() -> Any:
    """The class of libyaml's parser where the machine has it, and of PyYAML's own otherwise."""
    return fast_parser(sys.path) or PythonParser


def read_yaml(pieces: Iterator[str], parser: Any = None) -> Any:
    """None, texts (`Plain` if without quotes), lists and dicts. Raises YamlError."""
    try:
        return _Builder((parser or yaml_parser())(_Stream(pieces))).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "it cannot be understood"
        hint = " (a tab? YAML takes spaces)" if "cannot start any token" in what else ""
        raise YamlError(f"{_place(mark)}is not YAML: {what}{hint}") from None
    except yaml.reader.ReaderError as error:
        raise YamlError(f"is not YAML text: {_reader_problem(error)}") from None
    except yaml.YAMLError as error:
        raise YamlError(f"is not YAML: {error}") from None


def write_yaml(document: Mapping[str, Any]) -> str:
    """YAML text with the keys in their order; `Plain` scalars come out as they were written."""
    return str(
        yaml.dump(
            document,
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=False,
            width=10_000,
        )
    )


class PythonParser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """PyYAML's own parser, for machines without libyaml. Ten times slower, same events."""

    def __init__(self, stream: _Stream) -> None:
        yaml.reader.Reader.__init__(self, stream)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)


class _Stream:
    """What both parsers read from: texts of at least one character, then an empty one."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces

    def read(self, _size: int = -1) -> str:
        return next(self._pieces, "")


class _Builder:
    """Events -> one value."""

    def __init__(self, parser: Any) -> None:
        self._next = parser.get_event
        self._anchors: dict[str, Any] = {}
        self._depth = 0
        self._merged = 0

    def document(self) -> Any:
        self._next()  # the stream's start
        event = self._next()
        if isinstance(event, StreamEndEvent):
            return None
        value = self._value(self._next())
        self._next()  # the document's end
        event = self._next()
        if isinstance(event, DocumentStartEvent):
            raise _wrong(event, "a second document begins here; one file holds one")
        return value

    def _value(self, event: Any) -> Any:
        if isinstance(event, ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, AliasEvent):
            anchor = str(event.anchor)
            if anchor not in self._anchors:
                raise _wrong(event, f"the alias *{anchor[:40]} has no anchor before it")
            return self._anchors[anchor]
        else:
            value = self._collection(event)
        if event.anchor:
            # Only now: an alias inside of its own anchor would be a value without an end.
            self._anchors[event.anchor] = value
        return value

    def _collection(self, event: CollectionStartEvent) -> Any:
        _check_tag(event)
        self._depth += 1
        if self._depth > DEEPEST:
            raise _wrong(event, f"is nested more than {DEEPEST} levels deep")
        value = self._list() if isinstance(event, SequenceStartEvent) else self._mapping()
        self._depth -= 1
        return value

    def _list(self) -> list[Any]:
        values = []
        event = self._next()
        while not isinstance(event, SequenceEndEvent):
            values.append(self._value(event))
            event = self._next()
        return values

    def _mapping(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        event = self._next()
        while isinstance(event, (ScalarEvent, AliasEvent, CollectionStartEvent)):
            key = self._value(event)
            if not isinstance(key, str):
                raise _wrong(event, "a key has to be a text")
            value = self._value(self._next())
            if key == "<<" and isinstance(key, Plain):
                self._merge(defaults, value, event)
            elif key in values:
                raise _wrong(event, f"the key {shown(key)} is there twice")
            else:
                values[str(key)] = value
            event = self._next()
        return {**defaults, **values} if defaults else values

    def _merge(self, defaults: dict[str, Any], value: Any, event: Any) -> None:
        """`<<: *other`: the keys of other mappings, of which the first named wins."""
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                raise _wrong(event, "<< takes a mapping, or a list of them")
            self._merged += len(one)
            if self._merged > _MOST_MERGED:
                raise _wrong(event, f"<< copies more than {_MOST_MERGED:,} keys in all")
            for key, content in one.items():
                defaults.setdefault(key, content)


def _scalar(event: ScalarEvent) -> Optional[str]:
    _check_tag(event)
    if event.style is None or event.style == "":
        return None if event.value in _NULLS and event.tag is None else Plain(event.value)
    return str(event.value)


def _check_tag(event: ScalarEvent | CollectionStartEvent) -> None:
    if event.tag is not None and event.tag not in _TAGS:
        raise _wrong(event, f"the tag {shown(event.tag)} means nothing here; leave it out")


def _wrong(event: Any, what: str) -> YamlError:
    return YamlError(f"{_place(event.start_mark)}{what}")


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _reader_problem(error: Any) -> str:
    character = error.character
    code = character if isinstance(character, int) else ord(character[:1] or "\0")
    return f"the character U+{code:04X} at position {error.position} is not allowed"


class _Dumper(yaml.SafeDumper):
    """Writes texts of many lines as blocks, and `Plain` scalars without quotes."""


def _represent_plain(dumper: yaml.SafeDumper, value: Plain) -> Any:
    tag = dumper.resolve(yaml.nodes.ScalarNode, str(value), (True, False))  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(tag, str(value))


def _represent_text(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar(_PREFIX + "str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(Plain, _represent_plain)
_Dumper.add_representer(str, _represent_text)
