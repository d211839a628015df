"""`url_v1`: parts of URLs, and what lists say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Document
from dolma_pipeline.errors import DataError, TaggerError
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger
from taggers.url import Url


@pytest.fixture(autouse=True)
def lists_where_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which copy of a file is read is not the tagger's business."""
    monkeypatch.setattr(assets, "asset", Path)


def tag(url: object, metadata: dict[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    return dict(load_tagger("url_v1", **parameters)(Document("text", metadata=metadata or {"url": url})))


def written(folder: Path, name: str, *lines: str) -> str:
    (folder / name).write_text("".join(line + "\n" for line in lines))
    return str(folder / name)


def test_keeps_its_promises(tmp_path: Path) -> None:
    check_tagger("url_v1")
    domains = written(tmp_path, "a.txt", "example.com", "example.org")
    check_tagger("url_v1", domains=[domains], adblock=[written(tmp_path, "b.txt", "||example.com/1^")])


@pytest.mark.parametrize(
    ("url", "host", "subdomain", "domain"),
    [
        ("https://www.news.bbc.co.uk/a", "www.news.bbc.co.uk", "www.news", "bbc.co.uk"),
        ("http://example.com:80", "example.com", "", "example.com"),
        ("example.com/x", "example.com", "", "example.com"),
        ("http://a.b.kawasaki.jp", "a.b.kawasaki.jp", "", "a.b.kawasaki.jp"),
        ("http://192.0.2.7/x", "192.0.2.7", "", ""),
        ("http://[2001:db8::1]/x", "[2001:db8::1]", "", ""),
        ("http://localhost/x", "localhost", "", ""),
        ("http://co.uk", "co.uk", "", ""),
        ("http://" + "a" * 300 + ".com", "a" * 300 + ".com", "", ""),
    ],
)
def test_parts_of_a_url(url: str, host: str, subdomain: str, domain: str) -> None:
    found = tag(url)
    assert (found["has_url"], found["host"], found["subdomain"], found["registered_domain"]) == (
        True, host, subdomain, domain,
    )  # fmt: skip


def test_a_missing_url_is_no_error_but_told() -> None:
    nothing = {
        "has_url": False, "host": "", "subdomain": "", "registered_domain": "", "domain_match": "", "url_match": "",
        "word_count": 0, "substring_count": 0, "adblock_match": "",
    }  # fmt: skip
    for metadata in ({"x": 1}, {"url": None}, {"url": ["a"]}, {"url": " "}, {"url": 3}):
        assert tag(None, metadata) == nothing
    table = Batch.of(["a", "b"]).table
    at = table.schema.get_field_index("metadata")
    tagger = Url()
    tagger.setup()
    assert tagger.tag(Batch(table.set_column(at, "metadata", pa.array(["", '"a.com"']))))["has_url"] == [False, False]


def test_the_key_may_lie_deeper() -> None:
    assert tag(None, {"warc": {"url": "http://a.com"}}, key="warc.url")["host"] == "a.com"
    assert not tag(None, {"warc": "http://a.com"}, key="warc.url")["has_url"]


def test_an_entry_covers_the_domains_below_it_and_no_others(tmp_path: Path) -> None:
    lists = [
        written(tmp_path, "a.txt", "example.com", "3.4", "sub.other.org"),
        written(tmp_path, "b.txt", "0.0.0.0 ads.net"),
    ]
    tagger = load_tagger("url_v1", domains=lists)
    for url, match in (
        ("http://example.com/", "example.com"),
        ("http://a.b.EXAMPLE.com./", "example.com"),
        ("http://notexample.com", ""),
        ("http://example.com.evil.net", ""),
        ("http://other.org", ""),
        ("http://x.sub.other.org", "sub.other.org"),
        ("http://1.2.3.4", ""),
        ("http://x.ads.net", "ads.net"),
        ("nothing", ""),
    ):
        assert tagger(Document("", metadata={"url": url}))["domain_match"] == match, url


def test_urls_words_and_substrings(tmp_path: Path) -> None:
    lists = {
        "urls": [written(tmp_path, "u.txt", "https://www.a.com/Bad/", "b.com")],
        "words": [written(tmp_path, "w.txt", "bad", "Worse")],
        "substrings": [written(tmp_path, "s.txt", "adb", "zzz", "a.com/")],
    }
    found = tag("http://A.com/bad?x", **lists)
    assert (found["url_match"], found["word_count"], found["substring_count"]) == ("a.com/bad", 1, 1)
    found = tag("http://b.com/worse_bad/bad-adb", **lists)
    assert (found["url_match"], found["word_count"], found["substring_count"]) == ("", 2, 1)
    assert tag("http://badly.com", **lists)["word_count"] == 0


def test_adblock_rules_and_exceptions(tmp_path: Path) -> None:
    place = written(
        tmp_path,
        "abp.txt",
        "||ads.com^",
        "||part.com/Bad",
        "@@||good.ads.com^",
        "@@||part.com/bad/fine",
        "||e.com^$popup",
    )
    for url, match in (
        ("http://x.ads.com", "ads.com"),
        ("http://good.ads.com", ""),
        ("http://x.good.ads.com", ""),
        ("http://notads.com", ""),
        ("http://www.part.com/bad/x", "part.com/bad"),
        ("http://part.com/bad/fine/x", ""),
        ("http://part.com/good", ""),
        ("http://e.com", "e.com"),
    ):
        assert tag(url, adblock=[place])["adblock_match"] == match, url


def test_a_caret_behind_a_path_is_its_end_or_a_separator(tmp_path: Path) -> None:
    place = written(tmp_path, "abp.txt", "||a.com/Ads^", "@@||a.com/ads/fine^", "||b.com/ads")
    for url, match in (
        ("http://a.com/ads", "a.com/ads"),
        ("http://a.com/ads/1", "a.com/ads"),
        ("http://a.com/ads?x", "a.com/ads"),
        ("http://a.com/ads;x", "a.com/ads"),
        ("http://a.com/adsense", ""),
        ("http://a.com/ads-1", ""),
        ("http://a.com/ads.html", ""),
        ("http://a.com/ads/fine", ""),
        ("http://a.com/ads/finest", "a.com/ads"),
        ("http://b.com/adsense", "b.com/ads"),
    ):
        assert tag(url, adblock=[place])["adblock_match"] == match, url


def test_no_exception_covers_a_rule_that_is_important(tmp_path: Path) -> None:
    lines = ("||a.com^$important", "@@||a.com^", "||b.com/x$important", "@@||b.com^", "||b.com/y")
    place = written(tmp_path, "abp.txt", *lines)
    for url, match in (("a.com", "a.com"), ("s.a.com/z", "a.com"), ("b.com/x1", "b.com/x"), ("b.com/y", "")):
        assert tag(f"http://{url}", adblock=[place])["adblock_match"] == match, url
    place = written(tmp_path, "one.txt", "||a.com^$important")
    assert tag("http://a.com", adblock=[place])["adblock_match"] == "a.com"


def test_rules_of_other_kinds_are_an_error_unless_they_may_be_left_out(tmp_path: Path) -> None:
    place = written(tmp_path, "abp.txt", "||ads.com^", "##.banner", "/x*y/")
    with pytest.raises(DataError) as error:
        tag("http://ads.com", adblock=[place])
    assert str(error.value).startswith(
        f"{place}:2: '##.banner' is an adblock rule that url_v1 does not know, the first of 2. It knows ||host^ and "
    )
    assert tag("http://ads.com", adblock=[place], skip_unsupported=True)["adblock_match"] == "ads.com"


@pytest.mark.parametrize("kind", ["domains", "urls", "words", "substrings", "adblock"])
def test_a_list_without_an_entry_is_an_error(tmp_path: Path, kind: str) -> None:
    place = written(tmp_path, "empty.txt", "! nothing" if kind == "adblock" else "# nothing")
    with pytest.raises(DataError, match=r"empty.txt: (the list has no entry|no adblock rule)"):
        tag("http://a.com", **{kind: [place]})


def test_the_lists_are_files_that_a_run_takes_along() -> None:
    tagger = load_tagger("url_v1", domains=["./a.txt"], adblock=["./b.txt"], words=["./c.txt"])
    assert tagger.assets == ("./a.txt", "./c.txt", "./b.txt")


@pytest.mark.parametrize(
    ("parameters", "words"), [({"key": "a..b"}, "key names"), ({"skip_unsupported": True}, "none")]
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(TaggerError, match=words):
        Url(**parameters)
