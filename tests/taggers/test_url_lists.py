"""Lists of hosts, URLs and adblock rules: what a line means, and which lines are errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from taggers.url_lists import (
    Hashes,
    hash_of,
    normal_host,
    normal_url,
    read_adblock,
    read_hosts,
    read_substrings,
    read_urls,
    read_words,
    split_url,
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "list.txt"


def test_hosts_one_a_line_or_of_a_hosts_file(place: Path) -> None:
    place.write_text(
        "\ufeff# a comment\n! one\n; one\n\nExample.COM.\r\n*.wild.org\n"
        "0.0.0.0 ads.net bads.net # why\n127.0.0.1 localhost\n::1 ip6-loopback\n0.0.0.0 0.0.0.0\nwww.f-droid.org\n"
        "1.2.3.4\nmünchen.de\nlast.io"
    )
    assert list(read_hosts(str(place))) == [
        "example.com", "wild.org", "ads.net", "bads.net", "www.f-droid.org", "1.2.3.4", "xn--mnchen-3ya.de", "last.io",
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["||ads.com^", "a.com/path", "a.com b.com", "https://a.com"])
def test_a_line_that_is_no_host_is_named(place: Path, line: str) -> None:
    place.write_text(f"a.com\n{line}\n")
    with pytest.raises(DataError) as error:
        list(read_hosts(str(place)))
    assert str(error.value).startswith(f"{place}:2: '{line}' is no host. A list under `domains` has one host a line")


def test_urls_and_words(place: Path) -> None:
    place.write_text("# urls\nhttps://www.A.com:80/B/?q=1#x\na.com/c#d\n")
    assert list(read_urls(str(place))) == ["a.com/b", "a.com/c"]
    place.write_text("# words\nBad\n\u00c9t\u00e9  # two\n")
    assert list(read_words(str(place))) == ["bad", "\u00e9t\u00e9"]
    place.write_text("# texts\nBad\nvery-bad  # two\n")
    assert list(read_substrings(str(place))) == ["bad", "very-bad"]
    place.write_text("a b\n")
    with pytest.raises(DataError, match=r"list.txt:1: 'a b' is no URL"):
        list(read_urls(str(place)))


@pytest.mark.parametrize("line", ["mailto:a@b.com", "https:///path", "/path"])
def test_a_url_without_a_host_is_an_error(place: Path, line: str) -> None:
    place.write_text(f"a.com\n{line}\n")
    with pytest.raises(DataError, match=rf"list.txt:2: '{line}' is no URL"):
        list(read_urls(str(place)))


@pytest.mark.parametrize("line", ["very bad", "very-bad", "very_bad", "bad!", "a.com"])
def test_a_word_that_no_word_of_a_url_can_equal_is_an_error(place: Path, line: str) -> None:
    place.write_text(f"bad\n{line}\n")
    with pytest.raises(DataError, match=rf"list.txt:2: '{line}' is no word.*go under `substrings`"):
        list(read_words(str(place)))


def test_what_is_not_utf8_is_an_error(place: Path) -> None:
    place.write_bytes(b"a.com\n\x1f\x8b\x08")
    with pytest.raises(DataError, match=r"list.txt:2: not valid UTF-8"):
        list(read_hosts(str(place)))


def test_adblock_rules(place: Path) -> None:
    place.write_text(
        "[Adblock Plus 2.0]\n! comment\n||ads.com^\n||Both.com^$third-party,popup\n||part.com/Ads/\n||slash.com/\n"
        "@@||good.ads.com^\n@@||part.com/ads/fine^\n"
    )
    rules = read_adblock([str(place)])
    assert rules.hosts.has([hash_of(host) for host in ("ads.com", "both.com", "slash.com", "part.com")]).tolist() == [
        True, True, True, False,
    ]  # fmt: skip
    assert rules.excepted.has([hash_of("good.ads.com"), hash_of("ads.com")]).tolist() == [True, False]
    assert rules.paths == {"part.com": ("/ads/",)}
    assert rules.excepted_paths == {"part.com": ("/ads/fine^",)}
    assert rules.unsupported == 0


@pytest.mark.parametrize(
    "rule",
    [
        "a.com##.ad",
        "##.banner",
        "/ads/*",
        "||a.*^",
        "||a.com^$domain=b.com",
        "|https://a.com|",
        "-ad-",
        "/re[gx]/",
        "#@#.x",
        "||a",
        "||a.com",
        "||ads.",
        "||a.com/p?q=1",
        "||a.com/p#q",
        "||a.com/^",
        "@@||a.com^$important",
    ],
)
def test_adblock_rules_of_other_kinds_are_counted_and_the_first_is_named(place: Path, rule: str) -> None:
    place.write_text(f"||a.com^\n{rule}\n{rule}x\n")
    rules = read_adblock([str(place)])
    assert (rules.unsupported, rules.first_unsupported) == (2, f"{place}:2: '{rule}'")


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://user:pw@Example.com:8080/a/B?c#d", "example.com", "/a/B"),
        ("example.com/a", "example.com", "/a"),
        ("example.com:80", "example.com", ""),
        ("//example.com?x", "example.com", ""),
        ("HTTP://[2001:DB8::1]:80/x", "[2001:db8::1]", "/x"),
        ("http://münchen.de./", "xn--mnchen-3ya.de", "/"),
        ("mailto:a@example.com", "", ""),
        ("data:text/html,x", "", ""),
        ("not a url", "", ""),
        ("https:///path", "", ""),
        ("", "", ""),
    ],
)
def test_host_and_path_of_urls(url: str, host: str, path: str) -> None:
    assert split_url(url) == (host, path)


def test_urls_are_compared_without_scheme_www_query_and_last_slash() -> None:
    for url in ("http://www.a.com/B/", "A.com/b", "https://a.com:443/b?x=1"):
        assert normal_url(url) == "a.com/b"
    assert normal_url("http://wwf.org") == "wwf.org"
    assert normal_host("\u00df" * 70) == "\u00df" * 70


@settings(max_examples=50, deadline=None)
@given(st.sets(st.text(max_size=5), max_size=20), st.lists(st.text(max_size=5), max_size=20))
def test_hashes_are_a_set(members: set[str], asked: list[str]) -> None:
    members = {text.encode("utf-8", "ignore").decode() for text in members}
    asked = [text.encode("utf-8", "ignore").decode() for text in asked] + sorted(members)
    found = Hashes(map(hash_of, [*members, *members]))
    assert len(found) == len(members)
    assert found.has([hash_of(text) for text in asked]).tolist() == [text in members for text in asked]


def test_a_list_of_more_than_a_block_is_read_whole(place: Path) -> None:
    place.write_text("".join(f"h{i}.example\n" for i in range(80_000)))
    assert place.stat().st_size > 1 << 20
    assert list(read_hosts(str(place))) == [f"h{i}.example" for i in range(80_000)]
