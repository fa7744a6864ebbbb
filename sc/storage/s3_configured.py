"""The settings of S3 that this process has: of the environment, and of the AWS profile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from typing import Optional

from sc.s3_settings import VARIABLES, Settings, merged, of_environment, of_profile, settings


class ConfiguredSettings:
    """Told for each request, and read again only when the environment has changed: a recipe, or the job, puts its own
    there."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._lock = Lock()
        self._known: Optional[tuple[tuple[str, ...], Settings]] = None

    def __call__(self) -> Settings:
        """Raises InputError."""
        now = tuple(self._environ.get(name, "") for name in VARIABLES)
        known = self._known
        if known is None or known[0] != now:
            with self._lock:
                known = self._known = now, settings(configured(self._environ))
        return known[1]


def configured(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The values by key. Raises InputError."""
    return merged(of_profile(_profile()), of_environment(environ))


def _profile() -> Mapping[str, object]:
    """The profile as it is written; what is wrong with it is told by the first request."""
    import botocore.session

    try:
        return dict(botocore.session.Session().get_scoped_config())
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - botocore's errors have no common root
        return {}
