"""The fast parser of YAML, if this machine has it.

`sc.pyz` serves every machine and so brings PyYAML without its compiled part. But the machine's own
Python often has PyYAML with libyaml, and that part fits to ours: it is looked for behind us on `sys.path`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, Optional

_MODULE = "yaml._yaml"


def fast_parser(search_path: Sequence[str]) -> Optional[Any]:
    """The class CParser of libyaml's binding, or None. `search_path` is such as `sys.path`."""
    spec = _spec(search_path)
    if spec is None or spec.loader is None:
        return None
    try:
        module = sys.modules.get(_MODULE) or importlib.util.module_from_spec(spec)
        if _MODULE not in sys.modules:
            spec.loader.exec_module(module)
        return module.CParser
    except (ImportError, AttributeError):
        return None  # built for another Python, or for a PyYAML that does not fit to ours


def _spec(search_path: Sequence[str]) -> Optional[ModuleSpec]:
    for folder in search_path:
        package = os.path.join(folder, "yaml")
        found = PathFinder.find_spec("_yaml", [package]) if os.path.isdir(package) else None
        if found is not None and found.origin is not None:
            return importlib.util.spec_from_file_location(_MODULE, found.origin)
    return None
