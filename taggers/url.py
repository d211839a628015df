"""`url_v1`: where a document comes from: host, registered domain, and which lists its URL is on.

The URL is `metadata.url`, or what another key holds; a document without one has `has_url` false and empty fields. A
host is on a list of domains if it or a domain above it is an entry: `example.com` covers `a.example.com`, never
`notexample.com`. Lists are files of the user's (`./lists/adult.txt`: a name with a `/`), which travel with the run,
or assets. The registered domain follows the public suffix list that tldextract carries, never the network: it may
change with tldextract's version, which a run holds equal on all its workers.
Cost: ~130,000 documents per CPU-second without lists, ~60,000 with; lists: see `url_lists`.
Source: RefinedWeb (Penedo et al. 2023, appendix on URL filtering: lists of domains, words, and several soft words);
Dolma's taggers of blocklists, which match a host with and without `www.` alone; the syntax of Adblock Plus filters.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Fields
from dolma_pipeline.errors import DataError, TaggerError
from dolma_pipeline.tagging import tagger
from taggers.url_lists import (
    Hashes,
    hash_of,
    normal_url,
    read_adblock,
    read_hosts,
    read_substrings,
    read_urls,
    read_words,
    split_url,
)

_HOSTS_KEPT = 100_000
"""Hosts whose registered domain is remembered in a process; the web has few hosts and many pages of each."""
_SEPARATOR = re.compile(r"[^\w.%-]|\Z")
"""What `^` stands for in adblock syntax, behind a path: its end, or none of letters, digits, `_`, `-`, `.` and `%`."""
_MAX_HOST = 253
"""Characters of the longest host name (RFC 1035, section 2.3.4); a longer one has no registered domain."""


@tagger("url_v1", paper="Penedo et al. 2023, RefinedWeb; publicsuffix.org; Adblock Plus filters")
@dataclass
class Url:
    """Host, subdomain and registered domain of a document's URL, and what of given lists it is on.

    Attributes:
        key: key of `metadata` that holds the URL; `a.b` is key `b` of the object under `a`.
        domains: files with one host a line, or in the format of a hosts file.
        urls: files with one URL a line.
        words: files with one word a line, which count where they are a word of the URL.
        substrings: files with one text a line, which count wherever they stand in the URL.
        adblock: files in adblock syntax.
        skip_unsupported: leave out adblock rules that are not of the kinds `||host^` and `||host/path`, or have options
            that depend on more than the page's address; else the first such rule is an error.

    Raises:
        TaggerError: an empty key, or one that is `.`-separated with nothing between.
    """

    key: str = "url"
    domains: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    substrings: tuple[str, ...] = ()
    adblock: tuple[str, ...] = ()
    skip_unsupported: bool = False

    fields: ClassVar[Fields] = {
        "has_url": bool,
        "host": str,
        "subdomain": str,
        "registered_domain": str,
        "domain_match": str,
        "url_match": str,
        "word_count": int,
        "substring_count": int,
        "adblock_match": str,
    }

    kernels: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not all(self.key.split(".")):
            raise TaggerError(f"url_v1: key names a key of metadata, as `url` or `warc.url`; got {self.key!r}")
        if self.skip_unsupported and not self.adblock:
            raise TaggerError("url_v1: skip_unsupported is about lists under `adblock`, and there are none")

    @property
    def assets(self) -> tuple[str, ...]:
        """The lists; a run takes them along."""
        return (*self.domains, *self.urls, *self.words, *self.substrings, *self.adblock)

    def setup(self) -> None:
        """Reads the lists.

        Raises:
            AssetError: a list that is not there. DataError: a list with a line that is nothing of its kind, or an
            empty one.
        """
        self._domains = Hashes(map(hash_of, _of(self.domains, read_hosts)))
        self._urls = Hashes(map(hash_of, _of(self.urls, read_urls)))
        self._words = frozenset(_of(self.words, read_words))
        self._substrings = tuple(sorted(set(_of(self.substrings, read_substrings))))
        self._any_substring = re.compile("|".join(map(re.escape, self._substrings)))
        rules = read_adblock([str(assets.asset(name)) for name in self.adblock])
        if rules.unsupported and not self.skip_unsupported:
            raise DataError(
                f"{rules.first_unsupported} is an adblock rule that url_v1 does not know, the first of "
                f"{rules.unsupported:,}. It knows ||host^ and ||host/path, and @@ before them. To leave "
                "the others out, set skip_unsupported: true."
            )
        if self.adblock and not (len(rules.hosts) or len(rules.important) or rules.paths or rules.important_paths):
            raise DataError(f"{', '.join(self.adblock)}: no adblock rule of the kind ||host^ or ||host/path")
        self._rules = rules
        self._parts = functools.lru_cache(maxsize=_HOSTS_KEPT)(_suffix_reader())

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, lists of n values.

        `…_match` are the entry that is met, as it is compared; empty where none is. `word_count` and `substring_count`
        are how many different entries stand in the URL.
        """
        urls = [self._url(text) for text in batch.table.column("metadata").to_pylist()]
        split = [split_url(url) for url in urls]
        hosts = [host for host, _ in split]
        parts = [self._parts(host) for host in hosts]
        has_lists = bool(self.domains or self.adblock)
        above = [_domains_above(host) if has_lists else [] for host in hosts]
        return {
            "has_url": [url != "" for url in urls],
            "host": hosts,
            "subdomain": [subdomain for subdomain, _ in parts],
            "registered_domain": [domain for _, domain in parts],
            "domain_match": _first_members(self._domains, above),
            "url_match": self._listed_urls(urls),
            "word_count": [self._count_words(url.lower()) for url in urls],
            "substring_count": [self._count_substrings(url.lower()) for url in urls],
            "adblock_match": self._blocked(split, above),
        }

    def _url(self, metadata: str | None) -> str:
        """The URL in a document's metadata, "" where there is none."""
        value = orjson.loads(metadata) if metadata else {}
        for key in self.key.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value.strip() if isinstance(value, str) else ""

    def _listed_urls(self, urls: Sequence[str]) -> list[str]:
        if len(self._urls) == 0:
            return [""] * len(urls)
        normal = [normal_url(url) for url in urls]
        listed = self._urls.has([hash_of(url) for url in normal])
        return [url if there else "" for url, there in zip(normal, listed.tolist(), strict=True)]

    def _count_words(self, url: str) -> int:
        return len(self._words.intersection(re.findall(r"[^\W_]+", url))) if self._words else 0

    def _count_substrings(self, url: str) -> int:
        if not self._substrings or not self._any_substring.search(url):
            return 0
        return sum(text in url for text in self._substrings)

    def _blocked(self, split: Sequence[tuple[str, str]], above: Sequence[Sequence[str]]) -> list[str]:
        rules = self._rules
        if not self.adblock:
            return [""] * len(split)
        found = _first_members(rules.hosts, above)
        excepted = _first_members(rules.excepted, above)
        important = _first_members(rules.important, above)
        for i, (_, path) in enumerate(split):
            path = path.lower()
            found[i] = found[i] or _beginning(rules.paths, above[i], path)
            if excepted[i] or _beginning(rules.excepted_paths, above[i], path):
                found[i] = ""
            found[i] = found[i] or important[i] or _beginning(rules.important_paths, above[i], path)
        return found


def _of(names: Sequence[str], read: Callable[[str], Any]) -> Any:
    """The entries of lists, one after the other; a list without any is an error."""
    for name in names:
        place = str(assets.asset(name))
        count = 0
        for entry in read(place):
            count += 1
            yield entry
        if count == 0:
            raise DataError(f"{name}: the list has no entry")


def _domains_above(host: str) -> list[str]:
    """A host and the domains above it, the host first; an IP address has none."""
    if not host:
        return []
    if host.startswith("[") or host.replace(".", "").isdecimal():
        return [host]
    labels = host.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]


def _first_members(members: Hashes, above: Sequence[Sequence[str]]) -> list[str]:
    """Of each host the nearest domain that is a member, "" where none is."""
    if len(members) == 0:
        return [""] * len(above)
    is_member = members.has([hash_of(domain) for domains in above for domain in domains]).tolist()
    found, at = [], 0
    for domains in above:
        known = is_member[at : at + len(domains)]
        at += len(domains)
        found.append(domains[known.index(True)] if True in known else "")
    return found


def _beginning(paths: Mapping[str, Sequence[str]], above: Sequence[str], path: str) -> str:
    """The rule, host and beginning of a path, that a URL is under, "" if there is none."""
    for domain in above:
        for beginning in paths.get(domain, ()):
            plain = beginning.removesuffix("^")
            if path.startswith(plain) and (plain == beginning or _SEPARATOR.match(path, len(plain))):
                return domain + plain
    return ""


def _suffix_reader() -> Callable[[str], tuple[str, str]]:
    """A function from a host to its subdomain and registered domain, by the list that tldextract carries."""
    import tldextract

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    def parts(host: str) -> tuple[str, str]:
        if not host or len(host) > _MAX_HOST or _is_address(host):
            return "", ""
        found = extract.extract_str(host)
        domain = f"{found.domain}.{found.suffix}" if found.domain and found.suffix else ""
        return (found.subdomain if domain else ""), domain

    return parts


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
