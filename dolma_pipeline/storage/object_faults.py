"""What an object store refuses, as one clear error that names the file, the reason and what to do.

Nothing of what the client says is repeated but the store's own code: requests and addresses can hold signatures.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from dolma_pipeline.errors import RunError
from dolma_pipeline.storage.faults import missing_file

T = TypeVar("T")

TRIES = 8
"""How often what the client does not repeat by itself is tried."""
GOES_ON = "The same command goes on from where it was."

_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}

_KINDS = (
    ("clock", r"RequestTimeTooSkewed|RequestExpired|Request date header too old"),
    ("bucket", r"NoSuchBucket|ContainerNotFound|ContainerBeingDeleted"),
    ("region", r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|LOCATION|status code: 301"),
    (
        "rejected",
        r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired|AuthenticationFailed"
        r"|InvalidAuthenticationInfo|status code: 401",
    ),
    ("quota", r"status code: 507|\b\w*QuotaExceeded|StorageFull|ServiceQuota|InsufficientCapacity"),
    ("permission", r"status code: 403|AccessDenied|AuthorizationFailure|AuthorizationPermissionMismatch"),
    ("name", r"[Ii]nvalid path"),
    ("busy", r"status code: (429|5\d\d)|SlowDown|ServerBusy"),
    ("credentials", r"(?i)credential|latest/(api/)?(token|meta-data)|computeMetadata|metadata/identity|oauth|no token"),
    ("reached", r"error sending request|HTTP error|operation timed out|dns error"),
)
"""Kind of refusal -> what the client's text says then; the first that fits holds."""


def refused(verb: str, place: str, error: BaseException) -> RunError:
    """The error for an object that cannot be read or written; verb: `read`, `written`, …"""
    scheme, _, rest = place.partition("://")
    name, _, key = rest.partition("/")
    bucket, text = f"{scheme}://{name}", str(error).partition("\n\nDebug source")[0]
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code: (\d+)", text)
    said = " ".join(found[1] for found in (status, code) if found)
    # Names of the user's tell nothing of what is wrong; a short one is a part of many words, so only whole ones go.
    if key:
        text = re.sub(rf"""(path |["'>/]){re.escape(key)}(?!\w)""", r"\1", text)
    text = re.sub(rf"\S*/{re.escape(name)}[/?]\S*", "", text)
    variables = _VARIABLES.get(scheme, "credentials")
    told = f" (the store said {said})" if said else ""
    reasons = {
        "clock": f"this machine's clock differs too much from the store's{told}. Set the clock (NTP). {GOES_ON}",
        "bucket": f"{bucket} does not exist{told}. Make it, or correct the URL.",
        "region": f"{bucket} is in another region{told}. Give it: `storage: {{region: …}}` or AWS_REGION.",
        "rejected": f"the store does not accept the credentials{told}. Correct or renew {variables}. {GOES_ON}",
        "quota": f"the quota of {bucket} is used up{told}. Free some space, or raise it. {GOES_ON}",
        "permission": f"these credentials have no permission for that{told}. Give it to them (docs/storage.md lists "
        f"what a run needs). {GOES_ON}",
        "name": "a key there cannot be the name of a file (it has an empty part, '.', '..' or a control character). "
        "Take that object away, or use another prefix.",
        "busy": f"the store was busy for too long{told}. {GOES_ON}",
        "credentials": f"no credentials were found. Set {variables}, or what docs/storage.md lists. {GOES_ON}",
        "reached": f"the store cannot be reached. Look at `storage.endpoint` and the network. {GOES_ON}",
    }
    kind = next((kind for kind, pattern in _KINDS if re.search(pattern, text)), "")
    reason = reasons.get(kind, f"the store refused it, {type(error).__name__}{told}. {GOES_ON}")
    return RunError(f"{place} cannot be {verb}: {reason}")


@contextlib.contextmanager
def asking(verb: str, place: str, *, missing: bool = False) -> Iterator[None]:
    """Turns what a store refuses in the block into `refused`.

    Args:
        verb: `read`, `written`, `deleted`, `listed`. place: URL of what.
        missing: let FileNotFoundError through, with a text of our own, as it is where an object may be absent.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if missing and not is_bucket_missing(error):
            raise missing_file(place) from None
        raise refused(verb, place, error) from None
    except BaseError as error:
        raise refused(verb, place, error) from None


def is_bucket_missing(error: BaseException) -> bool:
    """Whether a store that has not found something means the bucket. Answers to HEAD do not say."""
    return re.search(r"<Code>(NoSuchBucket|ContainerNotFound)</Code>", str(error)) is not None


def is_cut(error: BaseException) -> bool:
    """Whether an answer broke off in the middle. The client tries again at almost all that goes wrong, but not here."""
    return re.search(r"body error|response body", str(error)) is not None


def repeated(call: Callable[[], T]) -> T:
    """What a request that may be repeated gives; once more where its answer was cut."""
    from obstore.exceptions import BaseError

    for number in range(TRIES):
        try:
            return call()
        except BaseError as error:
            if number == TRIES - 1 or not is_cut(error):
                raise
        wait(number)
    raise AssertionError("the last try raised or returned")


def wait(number: int) -> None:
    """Pause after the try of this number: 50 ms, then twice as long each time, 2 s at most."""
    time.sleep(min(2.0, 0.05 * 2**number))
