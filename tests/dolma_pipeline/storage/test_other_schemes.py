"""URLs that smart_open reads: what they may not hold, and what it refuses."""

from __future__ import annotations

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.inputs import open_stream

SECRET = "dummy-secret-that-no-file-may-hold"


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match=r"^an address of ftp:// at host holds a password") as caught:
        open_stream(f"ftp://me:{SECRET}@host/x.jsonl")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://127.0.0.1:9/x.jsonl", "ValueError"),
        ("webhdfs://127.0.0.1:9/x.jsonl", "ConnectionError"),
    ],
)
def test_what_smart_open_refuses_is_one_error_that_names_the_file(url: str, words: str) -> None:
    with pytest.raises(RunError, match=rf"^{url} cannot be read: smart_open says {words}: "):
        open_stream(url)
