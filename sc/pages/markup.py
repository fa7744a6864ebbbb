"""Text into HTML, so that nothing a name holds can be anything but text."""

from __future__ import annotations

import html
import json
from typing import Any
from urllib.parse import quote

from sc.reports import printable


def text(value: object) -> str:
    """Escaped, for between tags and within quotes; control characters are shown as such."""
    return html.escape(printable(str(value)), quote=True)


def href(path: str) -> str:
    """A path as a relative link: never a scheme, since ':' is escaped too."""
    try:
        return quote(path.encode("utf-8", "surrogateescape"), safe="/")
    except UnicodeEncodeError:  # half of a character, out of JSON: no file has such a name
        return quote(path.encode("utf-8", "replace"), safe="/")


def data_block(name: str, document: Any) -> str:
    """JSON that the page's script reads, and that no parser of HTML can take for markup."""
    data = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
    safe = data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return f'<script type="application/json" id="{text(name)}">{safe}</script>'
