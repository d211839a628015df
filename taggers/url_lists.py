"""Lists of hosts, URLs, words and adblock rules, read from files into sets that a million entries keep small.

Hosts and URLs are kept as 64-bit hashes (XXH3), 8 bytes each, sorted: which entry was met is known from the URL itself.
Two different ones have the same hash with a chance of 5e-20; among 10^6 entries one host in 10^13 is mistaken.
A line that is nothing of its list's kind is an error that names it, not something that is left out.
Cost: 3 to 4 s and ~25 MB while 10^6 hosts are read, 8 MB afterwards; once a process.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import xxhash
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.storage.inputs import open_stream

_HOST = re.compile(r"(?:\*?\.)?[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\]", re.IGNORECASE)
_URL = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*):(?=//|[^0-9/]))?(?P<slashes>//)?(?P<authority>[^/?#]*)(?P<path>[^?#]*).*",
    re.IGNORECASE | re.DOTALL,
)
_ADDRESS = re.compile(r"[0-9.]+|[0-9a-f]*:[0-9a-f:.]*(?:%\w+)?", re.IGNORECASE)
_OF_THIS_MACHINE = re.compile(r"local|localhost(?:\.localdomain)?|broadcasthost|ip6-\w+|[0-9.]+|[0-9a-f]*:.*")
"""Names that lists in the format of a hosts file give to the machine itself; they say nothing about the web."""

_COSMETIC = re.compile(r"#@?[?$]?#|#@?%#")
_HOST_RULE = re.compile(
    r"(?P<exception>@@)?\|\|(?P<host>[\w-]+(?:\.[\w-]+)*)(?:\^|(?P<path>/(?:[^*^$|?#]*[^*^$|?#/]\^|[^*^$|?#]*)))"
    r"(?:\$(?P<options>[\w,~=-]*))?"
)
"""A host as a whole, or a host and the beginning of a path; `^` behind it: the path ends, or a separator follows."""
ADBLOCK_OPTIONS = frozenset({"all", "doc", "document", "popup", "third-party", "3p"})
"""Options that change nothing for the address of a page itself."""
_IMPORTANT = "important"
"""The option of a rule that no exception covers."""
_WORD = re.compile(r"[^\W_]+")


class Hashes:
    """A set of texts that knows their hashes alone.

    Args:
        hashes: of its members, as `hash_of` makes them.
    """

    def __init__(self, hashes: Iterable[int]) -> None:
        self._sorted: NDArray[np.uint64] = np.unique(np.frombuffer(array("Q", hashes), np.uint64))

    def __len__(self) -> int:
        return len(self._sorted)

    def has(self, hashes: Sequence[int]) -> NDArray[np.bool_]:
        """Whether each of k texts is a member, by its hash: bool[k]."""
        asked = np.array(hashes, np.uint64)
        if len(self._sorted) == 0:
            return np.zeros(len(asked), np.bool_)
        at = np.minimum(np.searchsorted(self._sorted, asked), len(self._sorted) - 1)
        return np.asarray(self._sorted[at] == asked)


def hash_of(text: str) -> int:
    """The 64-bit hash of a text."""
    return xxhash.xxh3_64_intdigest(text.encode())


@dataclass
class AdblockRules:
    """What adblock rules say of hosts: `||host^` and `||host/path`, and exceptions from them (`@@`).

    Args:
        hosts, excepted, important: hosts whose pages are blocked, or excepted, or blocked whatever is excepted.
        paths, excepted_paths, important_paths: host -> beginnings of paths; behind one with `^` at its end, the path
            ends or goes on with a separator.
        unsupported: how many rules are of another kind; the first of them is `first_unsupported`.
    """

    hosts: Hashes
    excepted: Hashes
    important: Hashes
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    excepted_paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    important_paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unsupported: int = 0
    first_unsupported: str = ""


def read_hosts(place: str) -> Iterator[str]:
    """The hosts of a list: one a line, or in the format of a hosts file (`0.0.0.0 host …`); `#`, `!`, `;` comment.

    Raises:
        DataError: a line that is no host.
    """
    for number, line in _lines(place, comments="#!;"):
        words = line.split()
        is_hosts_file = len(words) > 1 and _ADDRESS.fullmatch(words[0])
        for word in words[1:] if is_hosts_file else words[:1]:
            if is_hosts_file and _OF_THIS_MACHINE.fullmatch(word.lower()):
                continue
            if not _HOST.fullmatch(word) or (len(words) > 1 and not is_hosts_file):
                raise DataError(
                    f"{place}:{number}: '{_cut(line)}' is no host. A list under `domains` has one host a line, or "
                    "lines of a hosts file; URLs go under `urls`, adblock rules under `adblock`."
                )
            yield normal_host(word)


def read_urls(place: str) -> Iterator[str]:
    """The URLs of a list, one a line, as `normal_url` makes them; `#`, `!`, `;` comment.

    Raises:
        DataError: a line with blanks in it, or without a host.
    """
    for number, line in _lines(place, comments="!;", hash_comments_at_start=True):
        if len(line.split()) > 1 or not normal_url(line):
            raise DataError(f"{place}:{number}: '{_cut(line)}' is no URL. A list under `urls` has one URL a line.")
        yield normal_url(line)


def read_words(place: str) -> Iterator[str]:
    """The words of a list, one a line, in lower case; `#` comments.

    Raises:
        DataError: a line that is not one word, which no word of a URL could equal.
    """
    for number, line in _lines(place, comments="#"):
        if not _WORD.fullmatch(line.lower()):
            raise DataError(
                f"{place}:{number}: '{_cut(line)}' is no word. A list under `words` has one word of letters and digits "
                "a line; other texts go under `substrings`."
            )
        yield line.lower()


def read_substrings(place: str) -> Iterator[str]:
    """The texts of a list, one a line, in lower case; `#` comments."""
    for _, line in _lines(place, comments="#"):
        yield line.lower()


def read_adblock(places: Sequence[str]) -> AdblockRules:
    """The rules of lists in adblock syntax; `!` comments, and `[…]` heads a list. Rules for what is shown on a page
    (`##`) say nothing about its address, and are among the unsupported ones."""
    hosts = (array("Q"), array("Q"), array("Q"))
    paths: tuple[dict[str, list[str]], ...] = ({}, {}, {})
    unsupported, first = 0, ""
    for place in places:
        for number, line in _lines(place, comments="!"):
            if number == 1 and line.startswith("[") and line.endswith("]"):
                continue
            found = None if _COSMETIC.search(line) else _HOST_RULE.fullmatch(line)
            options = set(filter(None, (found["options"] or "").split(","))) if found else set()
            allowed = ADBLOCK_OPTIONS if found and found["exception"] else ADBLOCK_OPTIONS | {_IMPORTANT}
            if found is None or not options <= allowed:
                unsupported += 1
                first = first or f"{place}:{number}: '{_cut(line)}'"
                continue
            which = 1 if found["exception"] else 2 if _IMPORTANT in options else 0
            host = normal_host(found["host"])
            if found["path"] and found["path"] != "/":
                paths[which].setdefault(host, []).append(found["path"].lower())
            else:
                hosts[which].append(hash_of(host))
    blocked, excepted, important = map(Hashes, hosts)
    of_blocked, of_excepted, of_important = (
        {host: tuple(sorted(set(each))) for host, each in one.items()} for one in paths
    )
    return AdblockRules(
        blocked, excepted, important, of_blocked, of_excepted, of_important,
        unsupported=unsupported, first_unsupported=first,
    )  # fmt: skip


def normal_host(host: str) -> str:
    """A host as it is compared: in lower case, IDNA of what is not ASCII, without a dot at its end or `*.` before."""
    host = host.lower().removeprefix("*.").strip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:  # a label that IDNA does not know; it is compared as it is written
        return host


def normal_url(url: str) -> str:
    """A URL as it is compared: host without `www.` and path in lower case, no scheme, port, query or `/` at its end."""
    host, path = split_url(url)
    return host.removeprefix("www.") + path.lower().rstrip("/")


def split_url(url: str) -> tuple[str, str]:
    """Host (normal, without user and port) and path of a URL, both empty if it has no host; `//` may be left out."""
    found = _URL.fullmatch(url.strip())
    if found is None or (found["scheme"] and not found["slashes"]):  # mailto:, data:
        return "", ""
    host = found["authority"].rpartition("@")[2]
    host = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return (normal_host(host), found["path"]) if _HOST.fullmatch(host) else ("", "")


def _lines(place: str, *, comments: str, hash_comments_at_start: bool = False) -> Iterator[tuple[int, str]]:
    """Lines that say something, stripped, without comments, with their numbers from 1."""
    with open_stream(place) as file:
        rest = b""
        number = 0
        while True:
            more = file.read(1 << 20)
            *lines, rest = (rest + more).split(b"\n")
            if not more:
                lines, rest = [rest], b""
            for raw in lines:
                number += 1
                try:
                    line = raw.decode("utf-8").strip().lstrip("\ufeff")
                except UnicodeDecodeError as error:
                    raise DataError(f"{place}:{number}: not valid UTF-8 ({error.reason})") from None
                if "#" in comments:
                    line = re.split(r"(?:\A|\s)#", line, maxsplit=1)[0].strip()
                if line and line[0] not in comments and not (hash_comments_at_start and line[0] == "#"):
                    yield number, line
            if not more:
                return


def _cut(line: str) -> str:
    return line if len(line) <= 60 else line[:59] + "…"
