"""jq filters as SQL, and what is refused because jq would say something else."""

from __future__ import annotations

import pytest

from dolma_pipeline.migrate.jq import jq_spans, jq_sql
from dolma_pipeline.migrate.sql import Untranslatable

NUMERIC = "json_type(metadata->'$.{0}') IN ('UBIGINT', 'BIGINT', 'DOUBLE') AND TRY_CAST((metadata->>'$.{0}') AS DOUBLE)"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (".attributes.a__b[0][2] >= 0.5", "score(a.b) >= 0.5"),
        (".attributes?.a__b?[0]?[2]? >= 1.0", "score(a.b) >= 1.0"),
        (".attributes.a__b[0][2] < 1", "len(a.b) > 0 AND score(a.b) < 1"),
        ('.attributes["a__b"][0][2] > 1', "score(a.b) > 1"),
        (".attributes.a__b", "len(a.b) > 0"),
        (".attributes.a__b != null", "len(a.b) > 0"),
        (".attributes.a__b == null", "NOT (len(a.b) > 0)"),
        ("(.attributes.a__b | length) > 2", "len(a.b) > 2"),
        ("(.attributes.a__b | length) == 0 and .metadata.x == 'y'", "len(a.b) = 0 AND "
         "coalesce(json_type(metadata->'$.x') = 'VARCHAR' AND (metadata->>'$.x') = 'y', FALSE)"),
        (".metadata.votes < 0", "coalesce(json_type(metadata->'$.votes') IN ('NULL', 'BOOLEAN') OR "
         f"({NUMERIC.format('votes')} < 0), TRUE)"),
        (".metadata.votes > 0", "coalesce(json_type(metadata->'$.votes') IN ('VARCHAR', 'ARRAY', "
         f"'OBJECT') OR ({NUMERIC.format('votes')} > 0), FALSE)"),
        ('.metadata.site != "x.org"', "NOT (coalesce(json_type(metadata->'$.site') = 'VARCHAR' AND "
         "(metadata->>'$.site') = 'x.org', FALSE))"),
        (".metadata.url == null", "metadata->>'$.url' IS NULL"),
        (".metadata.url != null", "metadata->>'$.url' IS NOT NULL"),
        (
            "(.attributes.a__b[0][2] > 1 or .attributes.c__d) and (.metadata.x == 2 | not)",
            "(score(a.b) > 1 OR len(c.d) > 0) AND "
            f"NOT (coalesce({NUMERIC.format('x')} = 2, FALSE))",
        ),
        (".attributes.c__d or .attributes?.a__b?[0]?[2]? > 1", "len(c.d) > 0 OR score(a.b) > 1"),
    ],
)  # fmt: skip
def test_what_is_known(expression: str, expected: str) -> None:
    assert jq_sql(expression) == expected


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        (".attributes?.a__b?[0]?[2]? > 1 or .attributes.c__d", "`or` behind a path with `?`"),
        ("(.attributes.a__b?[0]?[2]? > 1) | not", "`not` of a path with `?`"),
        (".metadata.x", "metadata.x alone: compare it with something"),
        (".attributes.a__b | length > 2", "expected its end, found '|length>2'"),
        ("(.attributes.a__b | length)", "expected a comparison behind a length, found its end"),
        ("(.attributes.a__b | length) > \"x\"", "a length is compared with a number, not with 'x'"),
        ("any(.attributes.a__b[]; .[2] > 1)", "found '; .[2] > 1)'"),
        (".attributes.a__b[] > 1", "expected a number or a text, found ']>1'"),
        (".metadata.x < null", "null is compared with == or != only, not with <"),
        (".metadata.x >= true", "true is compared with == or != only, not with >="),
        (".metadata.x == 9007199254740992", "9007199254740992 is too large"),
        (".text > \"a\"", "text: only numbers of spans and keys of metadata"),
        ("", "expected a path, found its end"),
    ],
)  # fmt: skip
def test_what_is_refused(expression: str, why: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        jq_sql(expression)
    assert str(caught.value).startswith(why)


def test_spans() -> None:
    assert jq_spans(".attributes.pii__EMAIL_ADDRESS") == "pii.EMAIL_ADDRESS"
    assert jq_spans(".attributes?.pii__EMAIL_ADDRESS?") == "pii.EMAIL_ADDRESS"
    with pytest.raises(Untranslatable, match="expected its end"):
        jq_spans(".attributes.pii__EMAIL_ADDRESS | map(select(.[2] > 1))")
