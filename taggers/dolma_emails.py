"""Dolma's regular expression for e-mail addresses, in linear time.

    [.\\s@,?!;:)(]*([^\\s@]+@[^\\s@,?!;:)(]+?)[.\\s@,?!;:)(]?\\s

As an expression it takes the square of a text's length where there are no blanks. Here each `@` is looked at: a local
part in front of it and a domain behind it that ends well make a match, and then the expression's own order of choices
says which of several it is. Found alike by the expression itself, under test.
Source: allenai/dolma 1.2.1 (Apache-2.0), `taggers/pii.py`, whose behaviour is described here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_IN_DOMAIN = re.compile(r"[^\s@,?!;:)(]+")
_AROUND = re.compile(r"[.\s@,?!;:)(]*+")
_AFTER_LOCAL = re.compile(r"[\s@]")
_AROUND_CHARACTERS = frozenset(".@,?!;:)(")


class Email(NamedTuple):
    """A match: all of it is `start:end`, the address `first:last`, its `@` at `at`."""

    start: int
    first: int
    at: int
    last: int
    end: int


def find_emails(paragraph: str, *, at_end: bool) -> Iterator[Email]:
    """Matches in a paragraph, in order and apart from each other.

    Args:
        paragraph: a line with its newline, if it has one. at_end: whether the end of the text ends an address too, as
            white space does; Dolma's expression wants white space.
    """
    done = 0
    at = paragraph.find("@")
    while at >= 0:
        domain = _domain(paragraph, at, at_end=at_end) if _has_local(paragraph, at, done) else None
        if domain is None:
            at = paragraph.find("@", at + 1)
            continue
        start = at
        while start > done and not (paragraph[start - 1].isspace() or paragraph[start - 1] == "@"):
            start -= 1
        while start > done and (paragraph[start - 1].isspace() or paragraph[start - 1] in _AROUND_CHARACTERS):
            start -= 1
        email = _chosen(paragraph, start, at, domain, at_end=at_end)
        yield email
        done = email.end
        at = paragraph.find("@", done)


def _chosen(paragraph: str, start: int, at: int, domain: tuple[int, int], *, at_end: bool) -> Email:
    """The expression takes as much as it can before an address: so of several it is the one that begins last."""
    around = _AROUND.match(paragraph, start)
    behind = around.end() if around else start
    if behind <= at:
        return Email(start, behind, at, *domain)
    after = _AFTER_LOCAL.search(paragraph, behind)
    if after is not None and after[0] == "@":
        later = _domain(paragraph, after.start(), at_end=at_end)
        if later is not None:
            return Email(start, behind, after.start(), *later)
    other = paragraph.find("@", at + 1, behind)
    while other >= 0:
        if _has_local(paragraph, other, start):
            later = _domain(paragraph, other, at_end=at_end)
            if later is not None:
                at, domain = other, later
        other = paragraph.find("@", other + 1, behind)
    return Email(start, at - 1, at, *domain)


def _has_local(paragraph: str, at: int, done: int) -> bool:
    return at > done and not (paragraph[at - 1].isspace() or paragraph[at - 1] == "@")


def _domain(paragraph: str, at: int, *, at_end: bool) -> tuple[int, int] | None:
    """Where the domain behind an `@` ends, and where the match does; None if it does not end well."""
    match = _IN_DOMAIN.match(paragraph, at + 1)
    if match is None:
        return None
    last = match.end()

    def is_space(place: int) -> bool:
        return at_end if place >= len(paragraph) else paragraph[place].isspace()

    if paragraph[last - 1] == "." and last - 1 > at + 1 and is_space(last):
        return last - 1, min(last + 1, len(paragraph))
    if is_space(last):
        more = last + 1 < len(paragraph) and paragraph[last + 1].isspace()
        return last, min(last + 1 + more, len(paragraph))
    if last < len(paragraph) and is_space(last + 1):
        return last, min(last + 2, len(paragraph))
    return None
