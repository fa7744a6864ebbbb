"""The door to AWS: a call is data, an answer is data, a refusal is a sentence.

boto3 is imported when the first call is sent, so that a look at a recipe costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Optional, Protocol

from sc.errors import CloudError, InputError, ScError
from sc.storage.aws_keys import unusable
from sc.storage.s3_errors import CODE_ERROR


class Call(NamedTuple):
    """One request to an API of AWS, with the names that botocore gives to it."""

    service: str
    operation: str
    parameters: Mapping[str, Any]


class Aws(Protocol):
    """What the rest of the fleet asks of AWS. All raise AwsRefused."""

    @property
    def region(self) -> str: ...

    @property
    def uses_fips(self) -> bool:
        """Whether the person wants only endpoints with validated cryptography to be asked."""

    def send(self, call: Call) -> Any:
        """The parsed answer."""

    def pages(self, call: Call, key: str) -> Iterator[Any]:
        """The items under `key` of every page of the answer."""

    def endpoint(self, service: str, region: Optional[str] = None) -> str:
        """The URL at which a service is asked."""


class AwsRefused(CloudError):
    """AWS said no. `code` is its own word for why, or botocore's when it was not reached at all."""

    @property
    def has_no_credentials(self) -> bool:
        """Whether nobody has ever logged in here: then nothing of this person's runs there either."""
        return self.code in ("NoCredentialsError", "NoRegionError")

    def __init__(self, sentence: str, code: str = "", bucket_region: str = "") -> None:
        """`bucket_region`: where S3 said that the bucket is, if it did."""
        super().__init__(sentence)
        self.code = code
        self.bucket_region = bucket_region


class NoRegionError(InputError):
    """Nobody has said where on EC2 to look: who has never said so has nothing there."""


class Boto3:
    """AWS itself, or what `AWS_ENDPOINT_URL` points at, through boto3."""

    def __init__(self, region: Optional[str] = None) -> None:
        """`region` goes before AWS_DEFAULT_REGION and the configuration; botocore does not look at AWS_REGION."""
        self._asked_region = region
        self._session: Any = None
        self._clients: dict[tuple[str, Optional[str]], Any] = {}

    @property
    def region(self) -> str:
        region = self._asked_region or self._open().region_name
        if not region:
            raise NoRegionError(
                "No AWS region is known: write `region: eu-west-1` (or another) into the recipe's spec, "
                "or set AWS_REGION."
            )
        return str(region)

    @property
    def uses_fips(self) -> bool:
        return bool(self._open()._session.get_config_variable("use_fips_endpoint"))

    def send(self, call: Call) -> Any:
        with _Translated(call):
            answer = getattr(self._client(call.service), call.operation)(**call.parameters)
            return _Answer(answer, call)

    def pages(self, call: Call, key: str) -> Iterator[Any]:
        with _Translated(call):
            paginator = self._client(call.service).get_paginator(call.operation)
            for page in paginator.paginate(**call.parameters):
                yield from page.get(key, [])

    def endpoint(self, service: str, region: Optional[str] = None) -> str:
        with _Translated(Call(service, "connect", {})):
            return str(self._client(service, region).meta.endpoint_url)

    def _open(self) -> Any:
        if self._session is None:
            import warnings

            # boto3 tells on stderr that it will leave Python 3.9: no news to the person who runs a job.
            warnings.filterwarnings("ignore", message="Boto3 will no longer support Python")
            import boto3

            from sc.storage import s3_keys

            with _Translated(Call("sts", "connect", {})):
                self._session = boto3.session.Session(botocore_session=s3_keys.session())
        return self._session

    def _client(self, service: str, region: Optional[str] = None) -> Any:
        key = (service, region)
        if key not in self._clients:
            from botocore.config import Config

            # Describe calls of a large account are throttled now and then; seven tries last about half a minute.
            # Prices are worth no waiting, and STS is asked first: what answers there with errors only may be no AWS.
            tries = {"pricing": 2, "sts": 3}.get(service, 7)
            config = Config(
                retries={"mode": "standard", "total_max_attempts": tries},
                connect_timeout=10,
                read_timeout=30,
            )
            refuse_unusable_keys(self._open())
            # Prices are told from one region only: https://docs.aws.amazon.com/general/latest/gr/billing.html
            place = "us-east-1" if service == "pricing" else region or self.region
            client = self._open().client(service, region_name=place, config=config)
            if service == "s3":
                client.meta.events.register("before-sign.s3", _say_who_pays)
            self._clients[key] = client
        return self._clients[key]


class _Answer(dict[str, Any]):
    """The parsed answer. What belongs into every answer of AWS is in this one, or it is none of AWS."""

    def __init__(self, parsed: Mapping[str, Any], call: Call) -> None:
        super().__init__(parsed)
        self._call = call

    def __missing__(self, name: str) -> Any:
        raise AwsRefused(no_answer(self._call, f"it has no {name}"), "NoAnswer")


def _say_who_pays(request: Any, **_: Any) -> None:
    """A handler of botocore, which has no parameter for that in HeadBucket."""
    from sc.s3_settings import settings
    from sc.storage.s3_configured import configured

    for name, value in settings(configured()).of_all().items():
        request.headers[name] = value


def refuse_unusable_keys(session: Any) -> None:
    """Raises AwsRefused for credentials that no request can carry. `session` is one of boto3."""
    found = session.get_credentials()
    if found is not None:
        keys = found.get_frozen_credentials()
        trouble = unusable(keys.access_key, keys.secret_key, keys.token)
        if trouble:
            raise AwsRefused(f"Your AWS credentials cannot be used: {trouble}.", "UnusableKeys")


class _Translated:
    """Turns what botocore raises inside the `with` into an AwsRefused that names the call."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None or not isinstance(error, Exception):
            return
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError):
            told = error.response.get("Error", {})
            code, message = str(told.get("Code", "")), str(told.get("Message", ""))
            if not code and not message:
                status = error.response.get("ResponseMetadata", {}).get(
                    "HTTPStatusCode", "an error"
                )
                raise AwsRefused(no_answer(self._call, f"status {status}"), "NoAnswer") from error
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            region = str(headers.get("x-amz-bucket-region", ""))
            raise AwsRefused(refusal(self._call, code, message), code, region) from error
        if isinstance(error, BotoCoreError):
            code = type(error).__name__
            raise AwsRefused(unreached(self._call, code, str(error)), code) from error
        if isinstance(error, ValueError) and ("endpoint" in str(error) or "URL" in str(error)):
            kind = "BadEndpoint"
            raise AwsRefused(unreached(self._call, kind, str(error)), kind) from error
        if not isinstance(error, (ScError, MemoryError)):  # its parser's errors have no common root
            raise AwsRefused(no_answer(self._call, UNREADABLE), "NoAnswer") from error


_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "403")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_UNKNOWN_KEY = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
)
_QUOTA = (
    "VcpuLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "LimitExceeded",
    "ResourceLimitExceeded",
)


def permission(call: Call) -> str:
    """The IAM action of a call: `ec2:CreateLaunchTemplate`."""
    odd = {"head_bucket": "ListBucket", "list_objects_v2": "ListBucket"}
    name = odd.get(call.operation) or "".join(word.title() for word in call.operation.split("_"))
    return f"{call.service}:{name}"


def refusal(call: Call, code: str, message: str) -> str:
    """The sentence for an answer of AWS that is an error."""
    said = f"{call.service} {call.operation.replace('_', ' ')}: {message or code} ({code})"
    if code in _DENIED:
        return f"AWS denied {said}. You need the permission {permission(call)}; `sc setup` prints the whole policy."
    if code in _EXPIRED:
        return f"Your AWS credentials have expired ({said}). Log in again, for example with `aws sso login`."
    if code in _UNKNOWN_KEY:
        return f"AWS does not know your credentials ({said}). `aws sts get-caller-identity` shows which are used."
    if code in _QUOTA:
        return f"A quota of your account is used up: {said}. Ask for more in Service Quotas, or lower `scale`."
    return f"AWS said no to {said}."


UNREADABLE = "its answer cannot be read"


def no_answer(call: Call, reason: str) -> str:
    """The sentence for an answer that AWS cannot have given."""
    return (
        f"What answered to {permission(call)} is not AWS ({reason}). Look at AWS_ENDPOINT_URL, "
        "which AWS_ENDPOINT_URL_S3 replaces where only the storage is elsewhere, and at the proxy."
    )


def unreached(call: Call, kind: str, text: str) -> str:
    """The sentence for a call that found no answer."""
    text = " ".join(text.split()).rstrip(".")
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return (
            f"No AWS credentials are to be found ({text}). Run `aws configure`, or set AWS_PROFILE."
        )
    if kind in (
        "ProfileNotFound",
        "SSOTokenLoadError",
        "UnauthorizedSSOTokenError",
        "TokenRetrievalError",
    ):
        return f"Your AWS credentials cannot be used: {text}. Look at AWS_PROFILE, or run `aws sso login`."
    if kind in (CODE_ERROR, "ClientError"):  # the latter is STS's, SSO's
        return f"Your AWS credentials cannot be had: {text}."
    if kind in ("ConfigParseError", "ConfigNotFound"):
        return f"AWS could not be asked ({permission(call)}): {text}. Repair that file."
    if kind == "BadEndpoint":
        return f"AWS could not be asked ({permission(call)}): {text}. Correct AWS_ENDPOINT_URL."
    return f"AWS could not be asked ({permission(call)}): {text}. Is the network up, and the region right?"
