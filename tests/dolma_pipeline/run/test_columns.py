"""Which spans must lie in their texts: those by which any mix of the recipe edits them."""

from __future__ import annotations

import json
from typing import Any

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.config.recipe import MixConfig
from dolma_pipeline.run.columns import edit_fields

BASE = {"output": "a", "sources": {name: {"documents": "x"} for name in ("web", "code")}}
REPLACE = [{"spans": "a.mail", "with": ""}, {"spans": "a.phone", "with": ""}]


def fields(source: str, **mixes: Any) -> list[str]:
    recipe = recipe_from_text(json.dumps({**BASE, **mixes}), sections={"small": MixConfig, "other": MixConfig})
    return edit_fields(recipe, source)


def test_of_one_mix() -> None:
    mix = {"replace": REPLACE, "sources": {"web": {"remove": ["b.ads"]}}}
    assert fields("web", mix=mix) == ["a.mail", "a.phone", "b.ads"]
    assert fields("code", mix=mix) == ["a.mail", "a.phone"]
    assert fields("web", tag={"taggers": ["x"]}) == []


def test_of_several_mixes_each_once() -> None:
    small = {"replace": REPLACE[1:], "sources": {"code": {"remove": ["b.ads"]}}}
    other = {"replace": [{"spans": "c.name", "with": "x"}]}
    assert fields("code", mix={"replace": REPLACE}, small=small, other=other) == [
        "a.mail",
        "a.phone",
        "b.ads",
        "c.name",
    ]
    assert fields("web", small=small) == ["a.phone"]
