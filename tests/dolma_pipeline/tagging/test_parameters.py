from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional

import pytest

from dolma_pipeline.errors import TaggerError, UnknownNameError
from dolma_pipeline.tagging.parameters import checked_parameters

if TYPE_CHECKING:
    from nowhere import Unknown


def function(
    doc: str,
    *,
    count: int = 1,
    share: float = 0.5,
    flag: bool = False,
    unit: Literal["document", "paragraph"] = "document",
    regions: tuple[str, ...] = ("US",),
    pair: tuple[int, float] = (1, 2.0),
    words: list[str] = [],  # noqa: B006
    some: Sequence[int] = (),
    table: Mapping[str, float] = {},
    top: int | None = None,
    old: Optional[str] = None,  # noqa: UP045
    either: int | float | str = 1,
    path: Path = Path("a"),
    odd: Unknown = 3,
    bare=4,
    free: Any = None,
) -> None: ...


DEFAULTS: dict[str, Any] = function.__kwdefaults__


def checked(**given: Any) -> Any:
    found = checked_parameters("tagger 't_v1'", function, DEFAULTS, given)
    assert {name: value for name, value in found.items() if name not in given} == {
        name: value for name, value in DEFAULTS.items() if name not in given
    }
    values = [found[name] for name in given]
    return values[0] if len(values) == 1 else values


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", 3, 3),
        ("share", 1, 1.0),
        ("share", 0.25, 0.25),
        ("flag", True, True),
        ("unit", "paragraph", "paragraph"),
        ("regions", ["US", "DE"], ("US", "DE")),
        ("regions", ("US",), ("US",)),
        ("pair", [1, 2], (1, 2.0)),
        ("words", ["a"], ["a"]),
        ("some", [1, 2], (1, 2)),
        ("table", {"a": 1}, {"a": 1.0}),
        ("top", None, None),
        ("top", 3, 3),
        ("old", "x", "x"),
        ("either", 1, 1),
        ("either", 1.5, 1.5),
        ("either", "1", "1"),
        ("path", "x/y", Path("x/y")),
        ("odd", 5, 5),
        ("bare", 5, 5),
        ("free", [1, "a"], [1, "a"]),
    ],
)
def test_what_yaml_says_becomes_what_the_annotation_says(name: str, value: Any, expected: Any) -> None:
    found = checked(**{name: value})
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("count", "two", "parameter 'count' is int (default 1), not str 'two'"),
        ("count", 1.5, "parameter 'count' is int (default 1), not float 1.5"),
        ("count", True, "not bool True"),
        ("share", True, "parameter 'share' is float (default 0.5), not bool True"),
        ("share", None, "not NoneType None"),
        ("flag", 1, "parameter 'flag' is bool (default False), not int 1"),
        ("unit", "page", "parameter 'unit' is Literal['document', 'paragraph'] (default 'document'), not str 'page'"),
        ("regions", "US", "parameter 'regions' is tuple[str, ...] (default ('US',)), not str 'US'"),
        ("regions", ["US", 1], "not list ['US', 1]"),
        ("pair", [1], "not list [1]"),
        ("table", {"a": "b"}, "not dict {'a': 'b'}"),
        ("table", [1], "not list [1]"),
        ("top", "x", "parameter 'top' is int | None (default None), not str 'x'"),
        ("path", 1, "parameter 'path' is Path"),
        ("odd", "x", "parameter 'odd' is int (default 3), not str 'x'"),
        ("bare", "x", "parameter 'bare' is int (default 4), not str 'x'"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(name: str, value: Any, words: str) -> None:
    with pytest.raises(TaggerError) as caught:
        checked(**{name: value})
    assert str(caught.value).startswith("tagger 't_v1': ")
    assert words in str(caught.value)


def test_an_unknown_parameter_names_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"^no parameter of tagger 't_v1' named 'cuont'\. Did you mean 'count'"):
        checked(cuont=1)
    with pytest.raises(UnknownNameError, match=r"named 'x'\. There are none\."):
        checked_parameters("tagger 't_v1'", function, {}, {"x": 1})


@dataclass
class Base:
    count: int = 1


@dataclass
class Child(Base):
    regions: tuple[str, ...] = ()


def test_a_dataclass_has_the_parameters_of_its_bases() -> None:
    found = checked_parameters("tagger 't_v1'", Child, {"count": 1, "regions": ()}, {"count": 2, "regions": ["US"]})
    assert found == {"count": 2, "regions": ("US",)}
    with pytest.raises(TaggerError, match="parameter 'count' is int"):
        checked_parameters("tagger 't_v1'", Child, {"count": 1, "regions": ()}, {"count": "2"})
