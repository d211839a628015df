"""The YAML reader: YAML 1.2 core values, a place for everything, one clear error for everything else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.yaml import Located, describe, parse_value, parse_yaml, plain, read_yaml, scalar_of
from dolma_pipeline.errors import ConfigError


def loaded(text: str) -> Any:
    return plain(parse_yaml(text, "a.yaml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nULL", "nULL"),
        ("10", 10),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("3e-3", 0.003),
        ("1e6", 1e6),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5E+2", -50.0),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("2024-01-01", "2024-01-01"),
        ("20M", "20M"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ("٣", "٣"),
        (".", "."),
        ("e3", "e3"),
    ],
)
def test_the_core_schema(text: str, value: object) -> None:
    found = scalar_of(text)
    assert found == value
    assert type(found) is type(value)
    if text:
        assert loaded(f"a: {text}") == {"a": value}


def test_infinite_numbers_are_numbers() -> None:
    assert scalar_of("-.inf") == -math.inf
    assert isinstance(scalar_of(".nan"), float)
    assert scalar_of("inf") == "inf"
    assert scalar_of("nan") == "nan"


@pytest.mark.parametrize("written", ["'no'", '"12"', "'true'", '"null"', "''", "|-\n  12", ">-\n  3e-3"])
def test_what_is_quoted_is_text(written: str) -> None:
    assert isinstance(loaded(f"a: {written}")["a"], str)


def test_every_key_and_value_has_a_place() -> None:
    tree = parse_yaml("# first\na: 1\nb:\n  c: [x,\n      y]\n  d: >-\n    long\n    text\n", "my.yaml")
    assert isinstance(tree.value, dict)
    assert tree.value["a"].place == "my.yaml:2"
    below = tree.value["b"].value
    assert isinstance(below, dict)
    assert tree.value["b"].at == "my.yaml:3"
    items = below["c"].value
    assert isinstance(items, list)
    assert [item.place for item in items] == ["my.yaml:4", "my.yaml:5"]
    assert below["d"].key_place == "my.yaml:6"
    assert plain(tree) == {"a": 1, "b": {"c": ["x", "y"], "d": "long text"}}


def test_anchors_and_aliases() -> None:
    tree = parse_yaml("a: &x [1, 2]\nb: *x\nc:\n  - *x\n  - *x\n", "a.yaml")
    assert plain(tree) == {"a": [1, 2], "b": [1, 2], "c": [[1, 2], [1, 2]]}
    assert isinstance(tree.value, dict)
    assert tree.value["b"].key_place == "a.yaml:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.yaml:1: the file is empty; a recipe needs at least `output`, `sources` and a stage"),
        ("# only this\n", "a.yaml:1: the file is empty"),
        ("- a\n", "a.yaml:1: found a list of 1, expected keys and values such as `output: runs/first`"),
        ("hello\n", "a.yaml:1: found text 'hello', expected keys and values"),
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3: the key 'a' is there twice, first at a.yaml:1"),
        ("a: {b: 1, 'b': 2}\n", "a.yaml:1: the key 'b' is there twice"),
        ("a: 1\n\tb: 2\n", "a.yaml:2: found a tab where YAML wants spaces; indent with spaces"),
        ("a:\n\tb: 2\n", "a.yaml:2: found a tab where YAML wants spaces"),
        ("a: 1\nb: !thing 2\n", "a.yaml:2: found the tag '!thing'; a recipe has no tags, quote the text"),
        ("!thing\na: 1\n", "a.yaml:1: found the tag '!thing'"),
        ("a: !!python/object/apply:os.getcwd []\n", "a.yaml:1: found the tag 'tag:yaml.org,2002:python/"),
        ("a: ! x\n", "a.yaml:1: found the tag '!'"),
        ("a:\n  <<: {b: 1}\n", "a.yaml:2: found the merge key '<<', which YAML 1.2 does not have; repeat the keys"),
        ("1: a\n", "a.yaml:1: found the number 1 as a key, expected text; put it in quotes"),
        ("true: a\n", "a.yaml:1: found 'true' (true or false) as a key"),
        ("? [a]\n: 1\n", "a.yaml:1: found a list or mapping as a key"),
        ("a: *.gz\n", "a.yaml:1: a value that starts with '*' or '&' is an alias or anchor to YAML; put it in quotes"),
        ("a: *b\n", "a.yaml:1: a value that starts with '*' or '&'"),
        ("a: @files.txt\n", "a.yaml:1: a value cannot start with '@'; put it in quotes"),
        ("a: b: c\n", "a.yaml:1: found a second ': ' in one line; put the value in quotes, or indent the lines alike"),
        ("a: [1\n", "a.yaml:2: not YAML: "),
        ("a: 'x\n", "a.yaml:2: not YAML: "),
        ("a: 1\n---\nb: 1\n", "a.yaml:2: a second document starts here ('---'); a recipe is one document"),
        ("a: &x [*x]\n", "a.yaml:1: found a value that contains itself through an alias"),
        ("a: 1\nb: \x01\n", "a.yaml:2: found the control character U+0001; write it as an escape in double quotes"),
        ('a: 1\nb: "\\ud83d"\n', "a.yaml:2: found half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"\n', "a.yaml: an escape in double quotes is beyond Unicode (U+10FFFF)"),
        ("a: " + "[" * 1500, "a.yaml: lists or mappings are nested too deep"),
        ("a: " + "9" * 5000, "a.yaml:1: found a number of 5000 digits; quote it if it is text"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "a.yaml")
    assert str(caught.value).startswith(message)


def test_a_small_text_cannot_stand_for_a_huge_one() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 100,000 values once aliases are followed"):
        parse_yaml("\n".join(lines), "a.yaml")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: \xc3\xa4\r\n")
    assert plain(read_yaml(str(path))) == {"a": 1, "b": "ä"}
    with pytest.raises(ConfigError, match=r"no\.yaml: No such file or directory; a recipe is a YAML file"):
        read_yaml(str(tmp_path / "no.yaml"))
    with pytest.raises(ConfigError, match="Is a directory"):
        read_yaml(str(tmp_path))
    (tmp_path / "recipe.yaml").write_bytes(b"a: 1")
    with pytest.raises(ConfigError, match=r"the folder of a run, and a recipe is wanted here: .*/recipe\.yaml$"):
        read_yaml(str(tmp_path))
    path.write_bytes("a: 1\n".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"my\.yaml:1: the file is UTF-16; save it as UTF-8"):
        read_yaml(str(path))
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"my\.yaml:2: byte 0xff is not UTF-8; save the file as UTF-8"):
        read_yaml(str(path))


def test_values_of_overrides() -> None:
    assert plain(parse_value("[a, b]", "here")) == ["a", "b"]
    assert plain(parse_value("{a: 3e-3}", "here")) == {"a": 0.003}
    assert plain(parse_value("", "here")) is None
    for text in ("*.gz", "@files.txt", "&x", "%d", "`x`"):
        assert plain(parse_value(text, "here")) == text
    assert parse_value("x", "here").at == "here"
    with pytest.raises(ConfigError, match=r"^here: found a second ': ' in one line"):
        parse_value("a: b: c", "here")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: abc", "text 'abc'"),
        ("a: 3.50", "the number 3.50"),
        ("a: true", "'true' (true or false)"),
        ("a: ~", "'~' (nothing)"),
        ("a:", "nothing"),
        ("a: [1, 2]", "a list of 2"),
        ("a: {b: 1}", "a mapping with the key 'b'"),
        ("a: {b: 1, c: 2}", "a mapping of 2 keys"),
        ("a: {}", "a mapping of 0 keys"),
        ("a: " + "x" * 100, f"text '{'x' * 57}...'"),
    ],
)
def test_describe(text: str, words: str) -> None:
    tree = parse_yaml(text, "a.yaml").value
    assert isinstance(tree, dict)
    assert describe(tree["a"]) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text("abc", min_size=1), JSON, min_size=1, max_size=3))
@settings(max_examples=80, deadline=None)
def test_json_is_yaml(value: dict[str, Any]) -> None:
    assert loaded(json.dumps(value)) == value
    assert loaded(json.dumps(value, indent=2)) == value


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    said = ""
    try:
        found = parse_yaml(text, "a.yaml")
    except ConfigError as error:
        said = str(error)
    assert said.startswith("a.yaml") or (isinstance(found, Located) and isinstance(found.value, dict))
