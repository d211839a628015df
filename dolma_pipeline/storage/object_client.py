"""The clients of object stores: one a process, bucket and settings. obstore is imported here and nowhere before use.

Their threads do not survive a fork: a copy of a process that had used them would wait for ever, with a new client, too.
So the first use in such a copy is an error that says what to do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dolma_pipeline.errors import RunError, UsageError, unknown_name
from dolma_pipeline.storage.aws_profiles import credentials_of_profile, has_profiles
from dolma_pipeline.storage.object_names import Place

SETTINGS = {"s3": ("endpoint", "region"), "gs": ("endpoint",), "az": ("endpoint", "account")}
"""Scheme -> what it takes of `storage:`; the keys of the other schemes are left aside."""

FIRST_PAUSE = timedelta(milliseconds=100)
"""Before the first repetition of a request; the next ones come later and later."""

_CLIENTS: dict[tuple[object, ...], Any] = {}
_LOCK = threading.Lock()
_is_copy = False


def _in_child() -> None:
    """After a fork, in the copy: what its parent had used is dead here."""
    global _is_copy, _LOCK
    _is_copy = _is_copy or bool(_CLIENTS)
    _LOCK = threading.Lock()  # a thread that is not here may hold the old one
    _CLIENTS.clear()


os.register_at_fork(after_in_child=_in_child)


def check_process(url: str) -> None:
    """Refuse to go on in a forked copy of a process that had used a store.

    Raises:
        RunError: this is one.
    """
    if _is_copy:
        raise RunError(
            f"{url}: this process is a forked copy of one that had used object stores, whose connections do not "
            "survive that. Start it by `spawn` (multiprocessing.get_context), or fork before the first use."
        )


def client(place: Place, settings: Mapping[str, str], *, patient: bool = True) -> Any:
    """The client of a bucket.

    Args:
        settings: endpoint, region, account. patient: try for minutes, as work does; else for seconds, as checks do.

    Raises:
        RunError: there can be no client here (a fork, no credentials).
        UsageError: a setting that does not fit.
    """
    check_process(place.url)
    key = (place.scheme, place.bucket, *sorted(settings.items()), patient)
    with _LOCK:
        if key not in _CLIENTS:
            _CLIENTS[key] = _made(place, settings, patient)
        return _CLIENTS[key]


def check_settings(place: Place, settings: Mapping[str, str]) -> None:
    """Refuse what `storage:` does not have, and an endpoint that holds more than an address.

    Raises:
        UsageError: so it is.
    """
    known = sorted({name for names in SETTINGS.values() for name in names})
    for name in settings:
        if name not in known:
            raise UsageError(unknown_name("setting of a store", name, known))
    endpoint = settings.get("endpoint", "")
    if endpoint and (not endpoint.startswith(("http://", "https://")) or set("@?#") & set(endpoint)):
        raise UsageError(
            f"{place.url}: the endpoint must be http(s)://host:port, without user, password or '?'. "
            "Give credentials in the environment (docs/storage.md)."
        )


def _made(place: Place, settings: Mapping[str, str], patient: bool) -> Any:
    from obstore import store
    from obstore.exceptions import BaseError

    given = {name: settings[name] for name in SETTINGS[place.scheme] if settings.get(name)}
    endpoint = given.get("endpoint") or _endpoint_of_environment(place.scheme)
    options: dict[str, Any] = {
        "client_options": {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=10 if patient else 3),
            "read_timeout": timedelta(seconds=60 if patient else 10),
            "timeout": timedelta(minutes=10) if patient else timedelta(seconds=15),
        },
        "retry_config": {
            "max_retries": 10 if patient else 5,
            "retry_timeout": timedelta(seconds=180 if patient else 10),
            "backoff": {"init_backoff": FIRST_PAUSE},
        },
    }
    profile = _of_profile(place)
    if profile is not None:
        options["credential_provider"] = profile
    else:
        _check_credentials(place)
    names = {"account": "account_name", "endpoint": "base_url" if place.scheme == "gs" else "endpoint"}
    options |= {names.get(name, name): value for name, value in given.items()}
    kinds: dict[str, Any] = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
    try:
        return kinds[place.scheme](place.bucket, **options)
    except (BaseError, ValueError, OSError) as error:
        hint = "name the account: `storage: {account: …}` or AZURE_STORAGE_ACCOUNT_NAME"
        cure = hint if place.scheme == "az" else "look at the environment's credentials (docs/storage.md)"
        raise RunError(f"{place.url} cannot be opened, {type(error).__name__}: {cure}.") from None


_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_SWITCHES = {"s3": "AWS_EC2_METADATA_DISABLED", "gs": "NO_GCE_CHECK"}
"""Variables that forbid to ask the machine's metadata service, as the stores' own tools know them."""
_SOURCES = {
    "s3": (
        *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_SKIP_SIGNATURE"),
    ),
    "gs": (
        *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"),
        *("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN"),
    ),
}


def _endpoint_of_environment(scheme: str) -> str:
    return next((found for name in _ENDPOINTS[scheme] if (found := os.environ.get(name))), "")


def _of_profile(place: Place) -> Any:
    """Credentials of a profile of ~/.aws, where the environment holds none and boto3 is installed; else None."""
    if place.scheme != "s3" or any(os.environ.get(name) for name in _SOURCES["s3"]) or not has_profiles():
        return None
    return credentials_of_profile(place.url)


def _check_credentials(place: Place) -> None:
    """Say at once that there are none where the metadata service, the last place to look, is switched off."""
    switch = _SWITCHES.get(place.scheme)
    if switch is None or os.environ.get(switch, "").lower() not in ("true", "1"):
        return
    if any(os.environ.get(name) for name in _SOURCES[place.scheme]):
        return
    if place.scheme == "gs" and os.path.exists(os.path.expanduser(_GCLOUD)):
        return
    raise RunError(
        f"{place.url} cannot be opened: no credentials were found. Set one of {', '.join(_SOURCES[place.scheme])}; "
        f"the machine's own identity is not asked, because {switch} is set (docs/storage.md)."
    )


_GCLOUD = "~/.config/gcloud/application_default_credentials.json"
