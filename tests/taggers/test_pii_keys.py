"""Logins, keys and private keys: what is one, and what stands in examples."""

from __future__ import annotations

import pytest

from dolma_pipeline.kernels.scan_codes import KEY_PREFIXES
from taggers import pii_keys
from taggers.pii_keys import keys, logins, private_keys

RANDOM = "q7Wd2ZkX9pLmV4tRb8Yc3NfHs6JgAe1TuOi5QwEr" * 7
HEX = "3f9a1c7be05d28469b0fd1e2a3c4957688ff01d2" * 3


def values(finder: object, text: str) -> list[str]:
    return [text[start:end] for start, end, _ in finder(text)]  # type: ignore[operator]


KEYS = {
    "AKIA": "AKIAQ7WD2ZKX3PLMV4TR", "ASIA": "ASIAQ7WD2ZKX3PLMV4TR", "AIza": "AIza" + RANDOM[:35],
    "GOCSPX-": "GOCSPX-" + RANDOM[:28], "eyJ": f"eyJ{RANDOM[:30]}.eyJ{RANDOM[:50]}.{RANDOM[:43]}",
    "SG.": f"SG.{RANDOM[:22]}.{RANDOM[:43]}", "github_pat_": f"github_pat_{RANDOM[:22]}_{RANDOM[:59]}",
    "glpat-": "glpat-" + RANDOM[:20], "xapp-": f"xapp-1-A012QWERT-1234567890-{HEX[:64]}", "sk-": "sk-" + RANDOM[:48],
    "npm_": "npm_" + RANDOM[:36], "pypi-": "pypi-AgE" + RANDOM[:100], "hf_": "hf_" + RANDOM[:34],
    "dop_v1_": "dop_v1_" + HEX[:64],
    **{f"gh{letter}_": f"gh{letter}_{RANDOM[:36]}" for letter in "pousr"},
    **{f"xox{letter}-": f"xox{letter}-123456789012-1234567890123-{RANDOM[:24]}" for letter in "abeoprs"},
    **{f"{kind}_{mode}_": f"{kind}_{mode}_{RANDOM[:24]}" for kind in ("sk", "rk") for mode in ("live", "test")},
    **{f"shp{kind}_": f"shp{kind}_{HEX[:32]}" for kind in ("at", "ca", "pa", "ss")},
}  # fmt: skip


def test_every_prefix_that_is_looked_for_has_a_key_here() -> None:
    assert {prefix.decode() for prefix in KEY_PREFIXES} == KEYS.keys()


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_keys(key: str) -> None:
    assert values(keys, f'token = "{key}".') == [key]
    assert values(keys, f"x{key}") == []
    assert values(keys, key[:18]) == []


@pytest.mark.parametrize(
    "key",
    [
        f"sk-proj-{RANDOM[:60]}", f"sk-ant-api03-{RANDOM[:95]}", f"sk-{RANDOM[:20]}T3BlbkFJ{RANDOM[:20]}",
        f"sk-or-v1-{HEX[:64]}",
    ],
)  # fmt: skip
def test_keys_of_language_models(key: str) -> None:
    assert values(keys, key) == [key]


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE", "ghp_" + "x" * 36, "AKIA0000000000000000", "sk-learn and sk-something-longer-than-that",
        "hf_hub_download_of_a_file_with_a_long_name", "SG.something.else", "eyJhbGciOiJIUzI1NiJ9",
    ],
)  # fmt: skip
def test_what_is_no_key(text: str) -> None:
    assert values(keys, text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("postgres://bob:hunter2x@db.example.com:5432/x", ["bob:hunter2x"]),
        ("(ftp://:q1w2e3@[2001:db8::1]/)", [":q1w2e3"]),
        ("redis+ssl://a%40b:p%3Aw@host, http://bo:b1@h", ["a%40b:p%3Aw", "bo:b1"]),
        ("http://user:password@host http://u:p@h http://me:***@h http://$A:$B@h http://{a}:{b}@h http://%s:%s@h", []),
        ("http://<user>:<pw>@h http://host:80/a@b http://me@h me:pw@h mailto:a:b@h", []),
    ],
)
def test_logins(text: str, found: list[str]) -> None:
    assert values(logins, text) == found


def test_private_keys() -> None:
    body = "\n".join(RANDOM[i : i + 64] for i in range(0, 256, 64))
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----"
    block = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{body}\n-----END PGP PRIVATE KEY BLOCK-----"
    assert values(private_keys, f"a {key}\n{block} b") == [key, block]
    assert values(private_keys, key.replace("PRIVATE", "PUBLIC")) == []
    assert values(private_keys, "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----") == []
    assert values(private_keys, f"-----BEGIN PRIVATE KEY-----\n{key}") == [key]


def test_scores() -> None:
    assert [hit[2] for hit in keys(KEYS["AKIA"])] == [pii_keys.KEY_SCORE]
    assert [hit[2] for hit in logins("ftp://me:q1w2@h")] == [pii_keys.LOGIN_SCORE]
