"""Profiles and single sign-on of `~/.aws`, through boto3 where it is installed (the extra `s3`).

boto3 takes 94 MB and 0.6 seconds of CPU, so it is imported only where the environment holds no keys and there is a
profile.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

from dolma_pipeline.errors import RunError

_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
PROFILE = "AWS_PROFILE"


def has_profiles() -> bool:
    """Whether the environment names a profile, or there are files of them, and boto3 could read them."""
    files = (os.path.expanduser(os.environ.get(name) or path) for name, path in _FILES.items())
    is_there = bool(os.environ.get(PROFILE)) or any(os.path.isfile(path) for path in files)
    return is_there and importlib.util.find_spec("boto3") is not None


def credentials_of_profile(place: str) -> Any:
    """What gives a client the credentials of the profile (`AWS_PROFILE`, else the default one), and renews them.

    Args:
        place: what errors call it.

    Returns:
        None where no profile is named and the default one has no credentials.

    Raises:
        RunError: the profile serves nobody; nothing of what boto3 says is repeated.
    """
    provider = importlib.import_module("obstore.auth.boto3").Boto3CredentialProvider
    refusals = importlib.import_module("botocore.exceptions").BotoCoreError
    try:
        return provider()
    except ValueError:  # it says so where there are none
        reason = "no credentials in it"
        if not os.environ.get(PROFILE):
            return None
    except refusals as error:
        reason = type(error).__name__
    raise RunError(
        f"{place} cannot be opened: the profile '{os.environ.get(PROFILE) or 'default'}' of ~/.aws cannot be used "
        f"({reason}). Correct it, name another one by AWS_PROFILE, or sign in again (aws sso login)."
    )
