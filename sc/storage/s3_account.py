"""As whom, and where to, requests go: credentials, region and endpoint, found as the AWS CLI does.

All of it comes from botocore's public ways, so that profiles, SSO, instance roles, config files,
AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3, AWS_CA_BUNDLE and the rest mean what they mean elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple, Optional, Protocol
from urllib.parse import urlsplit

from sc.storage import s3_keys
from sc.storage.aws_keys import trimmed, unusable
from sc.storage.s3_signing import Keys


class Endpoint(NamedTuple):
    """Where the objects of one bucket are."""

    url: str
    """`https://host:port`, without a path."""
    path: str
    """What goes before `/key`: empty where the bucket is in the host's name, else `/bucket`."""
    region: str

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]


class UnusableKeysError(Exception):
    """A key holds what no key can hold, and no request with it could be sent."""


class Account(Protocol):
    """Raises botocore's exceptions; `s3_errors.account_trouble` makes sentences of them."""

    def endpoint(self, bucket: str, region: Optional[str] = None) -> Endpoint:
        """Where the bucket is; a region that the server told goes before the configured one."""

    def keys(self) -> Keys:
        """The credentials of this moment."""

    def forget_keys(self) -> None:
        """Have the next `keys` ask the source again: these have expired."""


class ConfiguredAccount:
    """The account that the environment, the config files or the instance's role tell."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._session = s3_keys.session()
        self._clients: dict[Optional[str], Any] = {}
        self._credentials: Any = None
        self._sound: Optional[Keys] = None
        """Those that were looked at last."""

    def endpoint(self, bucket: str, region: Optional[str] = None) -> Endpoint:
        with self._lock:
            client = self._client(region)
            # The one public way to learn how botocore addresses a bucket: by path, or by host name.
            signed = client.generate_presigned_url("head_bucket", Params={"Bucket": bucket})
        parts = urlsplit(signed)
        host = parts.netloc
        if host == f"{bucket}.s3.amazonaws.com":  # how it signs, but not where it sends requests
            host = f"{bucket}.{urlsplit(client.meta.endpoint_url).netloc}"
        name = client.meta.region_name
        return Endpoint(
            f"{parts.scheme}://{host}",
            parts.path.rstrip("/"),
            "us-east-1" if name in (None, "aws-global") else name,
        )

    def keys(self) -> Keys:
        with self._lock:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
                if self._credentials is None:
                    from botocore.exceptions import NoCredentialsError

                    raise NoCredentialsError
            frozen = self._credentials.get_frozen_credentials()
        token = trimmed(frozen.token) if frozen.token else None
        keys = Keys(trimmed(frozen.access_key), trimmed(frozen.secret_key), token)
        if keys != self._sound:
            trouble = unusable(*keys)
            if trouble:
                raise UnusableKeysError(trouble)
            self._sound = keys
        return keys

    def forget_keys(self) -> None:
        with self._lock:
            s3_keys.forget()
            self._session, self._credentials, self._clients = s3_keys.session(), None, {}

    def ca_file(self) -> str:
        """The file with the certificates to trust."""
        from botocore.httpsession import get_cert_path

        configured = self._session.get_config_variable("ca_bundle")
        told = configured or os.environ.get("REQUESTS_CA_BUNDLE")
        return str(told or get_cert_path(True))

    def proxies(self, url: str) -> Mapping[str, str]:
        """The proxy for each scheme on the way to `url`."""
        from botocore.utils import get_environ_proxies

        return {str(scheme): str(proxy) for scheme, proxy in get_environ_proxies(url).items()}

    def _client(self, region: Optional[str]) -> Any:
        if region not in self._clients:
            from botocore.config import Config

            self._clients[region] = self._session.create_client(
                "s3", region_name=region, config=Config(signature_version="s3v4")
            )
        return self._clients[region]
