"""`secrets_v1`: what is a secret and what only looks like one; no test asks a service."""

from __future__ import annotations

import importlib.util
import socket
import time
from typing import Any

import pytest

from dolma_pipeline.documents import Span
from dolma_pipeline.errors import TaggerError, UnknownNameError
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger
from taggers import secrets

AWS = "AKIA" + "2E0A8F3B2C4D1Z9Q"
RANDOM = "k7Jx2mQ9vT4bR8nW" + "1yZ6aD3fG5hL0pC+eUs/oKiV"
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn\n-----END RSA " + "PRIVATE KEY-----"

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("detect_secrets") is None, reason="needs detect-secrets (the extra `secrets`)"
)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a detector of secrets asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_without_the_package_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "find_spec", lambda name: None)
    words = r"secrets_v1 needs detect-secrets, which is not here: pip install 'dolma-pipeline\[secrets\]'"
    with pytest.raises(TaggerError, match=words):
        load_tagger("secrets_v1")("text")
    with pytest.raises(TaggerError, match=words):
        secrets.Secrets().check(max_memory=1)


@needs_package
@pytest.mark.usefixtures("no_network")
class TestSecrets:
    def test_keeps_its_promises(self) -> None:
        check_tagger("secrets_v1")

    def test_kinds_of_secrets(self) -> None:
        text = f"É {AWS}\nx\npassword = 'hunter2secret'\nvalue: \"{RANDOM}\"\n"
        found = load_tagger("secrets_v1")(text)
        keys, passwords, strings = (
            [text[span.start : span.end] for span in found[field]]  # type: ignore[union-attr]
            for field in ("keys", "passwords", "random_strings")
        )
        assert keys == [AWS]
        assert "hunter2secret" in passwords
        assert strings == [RANDOM]
        assert found["kinds"] == "AWS Access Key, Base64 High Entropy String, Secret Keyword"

    def test_a_private_key_is_marked_as_a_whole(self) -> None:
        text = f"é\n{KEY}\nmore\n-----BEGIN PRIVATE " + "KEY-----"
        whole, open_end = load_tagger("secrets_v1")(text)["keys"]  # type: ignore[misc]
        assert whole == Span(2, 2 + len(KEY))
        assert text[open_end.start : open_end.end] == "-----BEGIN PRIVATE " + "KEY"

    def test_every_place_of_a_secret_in_its_line_is_marked(self) -> None:
        assert load_tagger("secrets_v1")(f"{AWS} or {AWS}")["keys"] == [Span(0, 20), Span(24, 44)]
        assert len(load_tagger("secrets_v1")(f"{AWS}\n{AWS}")["keys"]) == 2  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "password = ''",
            "password = '${password}'",
            "key = '123e4567-e89b-12d3-a456-426614174000'",
            "password = get_password()",
            "The password is on the table.",
            "see 93.184.216.34",
        ],
    )
    def test_what_only_looks_like_a_secret(self, text: str) -> None:
        assert load_tagger("secrets_v1")(text) == {"keys": [], "passwords": [], "random_strings": [], "kinds": ""}

    def test_detectors_may_be_left_out(self) -> None:
        assert load_tagger("secrets_v1")(AWS)["kinds"] == "AWS Access Key"
        assert load_tagger("secrets_v1", exclude=["AWSKeyDetector"])(AWS)["kinds"] == ""
        with pytest.raises(UnknownNameError, match="AWSDetector"):
            load_tagger("secrets_v1", exclude=["AWSDetector"])("text")

    def test_a_secret_in_a_long_line_is_found_wherever_it_stands(self) -> None:
        tagger = load_tagger("secrets_v1")
        for before in (0, 3_690, 3_990, 4_000, 7_400, 20_000):
            text = "x " * (before // 2) + AWS + " y" * 5_000
            assert tagger(text)["keys"] == [Span(before, before + 20)], before

    def test_a_long_line_takes_linear_time(self) -> None:
        begun = time.process_time()
        assert load_tagger("secrets_v1")("password=a" * 40_000)["kinds"] is not None
        assert time.process_time() - begun < 60
