"""JSONPath filters of Dolma's published configs and their like, as SQL; and what is refused."""

from __future__ import annotations

import pytest

from dolma_pipeline.migrate.jsonpath import jsonpath_spans, jsonpath_sql
from dolma_pipeline.migrate.sql import Untranslatable

LANG = "lang__ft_v1__en"
DUPS = "bff_duplicate_docs"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f"$.attributes[?(@.{LANG}[0][2] >= 0.5)]", "score(lang.ft_v1__en) >= 0.5"),
        (f"$@.attributes[?(@.{DUPS} && @.{DUPS}[0] && @.{DUPS}[0][2] >= 1.0)]", f"score({DUPS}.{DUPS}) >= 1.0"),
        (
            f"$.attributes[?(@.{LANG} && @.{LANG}[0] && @.{LANG}[0][2] < 50)]",
            "len(lang.ft_v1__en) > 0 AND score(lang.ft_v1__en) < 50",
        ),
        (f"$.attributes[?(@.{LANG}[0][2] == 0)]", "len(lang.ft_v1__en) > 0 AND score(lang.ft_v1__en) = 0"),
        (f"$.attributes[?(@.{LANG}[0][2] > -1)]", "len(lang.ft_v1__en) > 0 AND score(lang.ft_v1__en) > -1"),
        ("$.attributes[?(@.a__b[0][2] > 0.00001)]", "score(a.b) > 0.00001"),
        ("$.attributes[?(@.a__b[2][2] > 3)]", "len(a.b) > 2 AND a.b[3].score > 3"),
        ("$.attributes[?(@.a__b[0][1] > 3)]", 'len(a.b) > 0 AND a.b[1]."end" > 3'),
        ("$.attributes[?(@.a__b[0][0] <= 3)]", "len(a.b) > 0 AND a.b[1].start <= 3"),
        ("$.attributes[?(@.a__b)]", "len(a.b) > 0"),
        ("$.attributes[?(@['a-b__1c'][1])]", 'len("a-b"."1c") > 1'),
        ("$.attributes[?(@.a__b && @.c__d[0][2] > 1)]", "len(a.b) > 0 AND score(c.d) > 1"),
        (
            "$.attributes[?((@.a__b || @.c__d[0][2] < 1 || @.e__f) && !(@.g__h[0][2] > 2))]",
            "(len(a.b) > 0 OR (len(c.d) > 0 AND score(c.d) < 1) OR len(e.f) > 0) AND NOT (score(g.h) > 2)",
        ),
        (
            "$.attributes[?(@.a__b[0][2] > 1 || @.c__d[0][2] > 2 && @.e__f[0][2] > 3)]",
            "score(a.b) > 1 OR (score(c.d) > 2 AND score(e.f) > 3)",
        ),
        ("$.attributes.a__b", "len(a.b) > 0"),
        ("$.attributes.a__b[3]", "len(a.b) > 3"),
        ("$.metadata.url", "(metadata->'$.url') IS NOT NULL"),
        (
            "$.metadata[?(@.length < 10)]",
            "coalesce(json_type(metadata->'$.length') IN ('UBIGINT', 'BIGINT', 'DOUBLE') AND "
            "TRY_CAST((metadata->>'$.length') AS DOUBLE) < 10, FALSE)",
        ),
        (
            "$.metadata[?(@.a.b == 'it is')]",
            "coalesce(json_type(metadata->'$.a.b') = 'VARCHAR' AND (metadata->>'$.a.b') = 'it is', FALSE)",
        ),
        (
            "$.metadata[?(@.ok == true)]",
            "coalesce(json_type(metadata->'$.ok') = 'BOOLEAN' AND (metadata->>'$.ok') = 'true', FALSE)",
        ),
        (
            "$.metadata[?(@['x y'] == \"it's\")]",
            "coalesce(json_type(metadata->'$.\"x y\"') = 'VARCHAR' AND (metadata->>'$.\"x y\"') = 'it''s', FALSE)",
        ),
    ],
)
def test_what_is_known(expression: str, expected: str) -> None:
    assert jsonpath_sql(expression) == expected


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("$.attributes[?(@.a__b[0][2] != 1)]", "!= is not translated; write what it must be"),
        ("$..a", "expected a name behind '.', found '.a'"),
        ("$.attributes[?(@.a__b[*][2] > 1)]", "found '*][2] > 1)]'"),
        ("$.attributes[?(@.a__b[-1][2] > 1)]", "[-1] is neither a key nor a position"),
        ("$.attributes[?(@.a__b[0][3] > 1)]", "attributes.a__b[0][3]: only numbers of spans and keys of metadata"),
        ("$.attributes[?(@.a__b[0][2] > 'x')]", "a number of a span is compared with a number, not with 'x'"),
        ("$.attributes[?(@.a__b[0][2] > 1)].c", "expected its end, found '.c'"),
        ("$.attributes[?(@.a__b > )]", "expected a number or a text, found ')]'"),
        ("$.attributes[?(@.a__b", "expected ')]', found its end"),
        ("$.metadata.authors[?(@.name == 'x')]", "a question of metadata.authors"),
        ("$[?(@.id == 'x')]", "a question of $"),
        ("$.text", "text: only attributes and keys of metadata can be asked for"),
        ("attributes", "expected '$', found 'attributes'"),
        ("$.metadata[?(@.a < 'x')]", "a text is compared with == only, not with <"),
        ("$.metadata[?(@.a >= 'x')]", "a text is compared with == only, not with >="),
        ("$.metadata[?(@.a ~= 3)]", "found '~= 3)]'"),
    ],
)
def test_what_is_refused(expression: str, why: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        jsonpath_sql(expression)
    assert str(caught.value).startswith(why)


def test_spans() -> None:
    assert jsonpath_spans("$.attributes.pii__regex_v2__EMAIL_ADDRESS") == "pii.regex_v2__EMAIL_ADDRESS"
    assert jsonpath_spans(f"$.attributes['{DUPS}']") == f"{DUPS}.{DUPS}"
    for expression in ("$.attributes.a__b[0]", "$.metadata.spans", "$.attributes"):
        with pytest.raises(Untranslatable, match="is no list of spans"):
            jsonpath_spans(expression)
    with pytest.raises(Untranslatable, match="expected its end"):
        jsonpath_spans("$.attributes.a__b[?(@[2] > 1)]")
