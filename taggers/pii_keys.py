"""Logins in URLs, keys of services and private keys, told by the form that their makers publish.

Each function takes a window of `kernels.scan_codes` and gives (start, end, score) in its characters, in order. What
stands in examples is left out: a user or password that names itself or is a template, keys of few different characters
or with EXAMPLE in them. Nobody is asked whether a key works.

Source: the documentation of each service; RFC 3986 (3.2.1) and 7468; RFC 7519 for tokens (JWT).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from taggers.pii_numbers import Hit

LOGIN_SCORE, KEY_SCORE, PRIVATE_KEY_SCORE = 0.8, 0.9, 1.0
"""How sure a form is: logins have no fixed one, keys have a prefix and a length, private keys say what they are."""

_MIN_DIFFERENT = 8
"""Characters that a key has at least; random ones of 16 have 13 and more."""

_LOGIN = re.compile(r"""[A-Za-z][A-Za-z0-9+-]*://([^\s/?#"'`<>@:\\]*:[^\s/?#"'`<>@\\]+)@(?=[\w\[])""")
_NO_PASSWORD = re.compile(
    r"(?i)(?:my|your|some|the)?[-_]?(?:user(?:name|id)?|login|admin|name|pass(?:word|wd|phrase)?|pwd?|secret|token|key"
    r"|x+|\*+|\.+|…|foo|bar|test|u|p|root|redacted|hidden)\d?"
)
_TEMPLATE = re.compile(r"[${}()\[\]]|%(?![0-9A-Fa-f]{2})|\*\*\*")

_FORMS = (
    r"A(?:KIA|SIA)[A-Z2-7]{16}",  # Amazon Web Services
    r"AIza[\w-]{35}|GOCSPX-[\w-]{28}",  # Google
    r"gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",  # GitHub
    r"glpat-[\w-]{20,}",  # GitLab
    r"xox[abeoprs]-(?:\d-)?(?:\d{8,}-|[A-Za-z0-9]{10,}-?)[A-Za-z0-9-]{8,}|xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{32,}",  # Slack
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,247}",  # Stripe
    r"sk-ant-[a-z]+\d\d-[\w-]{80,}",  # Anthropic
    r"sk-(?:proj|svcacct|admin|None)-[\w-]{40,}|sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}|sk-(?:or-v1-)?[A-Za-z0-9]{32,64}",
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}",  # signed tokens (JWT)
    r"SG\.[\w-]{22}\.[\w-]{43}",  # SendGrid
    r"npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,}|hf_[A-Za-z0-9]{34}|dop_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
)
_KEY = re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(_FORMS)})(?![A-Za-z0-9_-])", re.ASCII)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?)-----(?:(?!-----BEGIN ).)*?-----END \1-----", re.DOTALL
)
_MIN_KEY_CHARS = 64
"""Between the two lines of a private key; less is an example."""


def logins(text: str) -> Iterator[Hit]:
    """`user:password` of URLs, without the `@` and what stands around it."""
    for found in _LOGIN.finditer(text):
        user, _, password = found[1].partition(":")
        if not _NO_PASSWORD.fullmatch(password) and not _TEMPLATE.search(found[1]) and user != password:
            yield found.start(1), found.end(1), LOGIN_SCORE


def keys(text: str) -> Iterator[Hit]:
    """Keys and tokens of services."""
    for found in _KEY.finditer(text):
        if len(set(found[0])) >= _MIN_DIFFERENT and "EXAMPLE" not in found[0]:
            yield found.start(), found.end(), KEY_SCORE


def private_keys(text: str) -> Iterator[Hit]:
    """Private keys, from the line that begins one to the line that ends it."""
    for found in _PRIVATE_KEY.finditer(text):
        if len(found[0]) - 2 * len(found[1]) >= _MIN_KEY_CHARS:
            yield found.start(), found.end(), PRIVATE_KEY_SCORE
