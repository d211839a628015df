"""`text_v1`: shares of texts whose characters are known."""

from __future__ import annotations

import pytest

from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger
from taggers.text import Text


def shares(text: str) -> dict[str, object]:
    """The fields that are not 0."""
    found = load_tagger("text_v1")(text)
    assert found.keys() == Text.fields.keys()
    return {field: value for field, value in found.items() if value != 0}


def test_keeps_its_promises() -> None:
    check_tagger("text_v1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("Ab1", {"letter_share": 2 / 3, "upper_share": 1 / 3, "digit_share": 1 / 3, "script_latin": 1.0}),
        ("яя 好", {"letter_share": 0.75, "space_share": 0.25, "script_cyrillic": 2 / 3, "script_han": 1 / 3}),
        ("+😀\x00\ufffd", {"symbol_share": 0.5, "nonprinting_share": 0.25, "replacement_share": 0.25}),
        ("é\u200d", {"letter_share": 0.5, "script_latin": 1.0}),
        (
            "à http://b.c",
            {"letter_share": 7 / 12, "punctuation_share": 1 / 3, "space_share": 1 / 12, "url_share": 5 / 6,
             "script_latin": 1.0},
        ),
        ("Ã©", {"letter_share": 0.5, "symbol_share": 0.5, "upper_share": 0.5, "mojibake_share": 1.0,
                "script_latin": 1.0}),
        ("٣", {"digit_share": 1.0}),
    ],
)  # fmt: skip
def test_shares(text: str, expected: dict[str, float]) -> None:
    assert shares(text) == expected


def test_scripts_sum_to_one_where_there_is_a_letter() -> None:
    found = shares("α б נ ن अ ห 한 あ ア 好 ᚠ")
    scripts = {field: value for field, value in found.items() if field.startswith("script_")}
    assert len(scripts) == 11
    assert set(scripts.values()) == {1 / 11}
