"""A recipe written out loads as an equal recipe, and is written as the same bytes again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config import load_recipe, recipe_from_text, resolved, resolved_yaml
from dolma_pipeline.config.recipe import (
    BeamConfig,
    DedupeConfig,
    DedupeStepConfig,
    EvalConfig,
    HeldOutConfig,
    MixConfig,
    MixerConfig,
    MixSourceConfig,
    Recipe,
    ReplaceConfig,
    SourceConfig,
    TagConfig,
    TaggerConfig,
    TokenizerConfig,
    TokensConfig,
    TrainConfig,
)

FULL = (Path(__file__).parent / "full.yaml").read_text(encoding="utf-8")
FIRST = "output: a\nsources: {web: {documents: x}}\ntag: {taggers: [t]}\n"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
LABEL = st.from_regex(r"[a-z][a-z0-9_]{2,6}x", fullmatch=True)
NAME = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)
NUMBER = st.floats(min_value=1e-300, max_value=1e300)
SIZE = st.integers(1, 10**18)
FIELDS = st.lists(st.just("label_x.field"), max_size=1).map(tuple)
RULES = st.dictionaries(NAME.map("r_{}".format), TEXT.map("x{}".format), max_size=3)
PARAMETER = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.just(""),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
LIMIT = st.none() | SIZE
UNIT = st.sampled_from(["tokens", "bytes", "documents"])
TARGETS = st.builds(lambda unit, size: {f"target_{unit}": size}, UNIT, SIZE)
PREFER = st.lists(TEXT.map("x{}".format), max_size=3, unique=True).map(tuple)
REPLACE = st.builds(ReplaceConfig, spans=st.just("a_x.b"), with_=TEXT | st.just(""))
PARAMETERS = st.dictionaries(TEXT.filter(lambda key: key not in ("name", "tagger", "runner")), PARAMETER, max_size=3)


@st.composite
def recipes(draw: Any) -> Recipe:
    """Any recipe that passes the checks."""
    names = draw(st.lists(LABEL, min_size=4, max_size=4, unique=True))
    sources = draw(
        st.dictionaries(
            NAME,
            st.builds(
                SourceConfig,
                documents=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
                attributes=st.just(("made/elsewhere",)),
                fields=st.dictionaries(st.sampled_from(["id", "text"]), TEXT),
            ),
            min_size=1,
            max_size=3,
        )
    )
    where = draw(RULES)
    special = draw(st.lists(TEXT.map("s{}".format), min_size=1, max_size=3, unique=True))
    tokenizer = draw(
        st.builds(
            TokenizerConfig,
            train=st.just("bpe"),
            vocab_size=st.integers(300, 10**6),
            sample_bytes=SIZE,
            special_tokens=st.just(tuple(special)),
            added_tokens=st.lists(TEXT.map("a{}".format), max_size=3, unique=True).map(tuple),
        )
        | st.builds(TokenizerConfig, load=TEXT, special_tokens=st.just(tuple(special)))
    )
    length = draw(st.integers(2, 4096))
    skipped = st.lists(st.sampled_from(sorted(where)), unique=True).map(tuple) if where else st.just(())
    weight = NUMBER if draw(st.booleans()) else st.none()
    mix = MixConfig(
        where=where,
        replace=draw(st.lists(REPLACE, max_size=2, unique_by=lambda one: one.spans).map(tuple)),
        sources={
            name: draw(
                st.builds(
                    MixSourceConfig,
                    weight=weight,
                    remove=FIELDS,
                    min_chars=st.integers(0, 10**9),
                    skip_rules=skipped,
                    where=st.dictionaries(st.just("own"), TEXT.map("x{}".format)),
                )
            )
            for name in draw(st.sets(st.sampled_from(sorted(sources))))
        },
        mixer=draw(st.builds(MixerConfig, name=TEXT, parameters=PARAMETERS)),
        **draw(TARGETS),
        documents=draw(st.none() | st.booleans()),
        max_epochs=draw(NUMBER),
        held_out=draw(st.builds(HeldOutConfig, share=st.floats(1e-9, 0.999), max_tokens=LIMIT, max_bytes=LIMIT)),
        keep_metadata=draw(st.lists(TEXT, max_size=3, unique=True).map(tuple)),
    )  # fmt: skip
    steps = (
        DedupeStepConfig(name=names[0], kind="exact"),
        DedupeStepConfig(name=names[1], kind="minhash", shingle=draw(SIZE), bands=draw(SIZE), rows=draw(SIZE)),
    )
    taggers = tuple(TaggerConfig(tagger=draw(TEXT), name=name, parameters=draw(PARAMETERS)) for name in names[2:])
    last = draw(st.integers(0, 3))
    return Recipe(
        name=draw(TEXT),
        output=draw(TEXT),
        sources=sources,
        seed=draw(st.integers(0, 2**63 - 1)),
        workers=draw(st.just("auto") | st.integers(1, 999)),
        max_failed_share=draw(st.floats(0, 1)),
        normalize=draw(st.sampled_from([(), ("nfc",), ("whitespace", "nfc")])),
        max_failed_files=draw(st.integers(0, 99)),
        modules=draw(st.lists(TEXT, max_size=2, unique=True).map(tuple)),
        tag=TagConfig(taggers=taggers, format="jsonl"),
        dedupe=draw(st.none() | st.builds(DedupeConfig, steps=st.just(steps), prefer=PREFER, keep_work=st.booleans())),
        tokenizer=tokenizer,
        mix=mix,
        tokens=TokensConfig(eos=special[0], keep_attributes=draw(FIELDS)) if last > 0 else None,
        train=TrainConfig(sequence_length=length, batch_tokens=length * 3, lr=draw(NUMBER)) if last > 1 else None,
        eval=EvalConfig(tasks=tuple(draw(st.lists(TEXT, max_size=2, unique=True)))) if last > 2 else None,
        beam=draw(st.builds(BeamConfig, runner=TEXT, options=PARAMETERS)),
    )


@given(recipes())
@settings(max_examples=40, deadline=None)
def test_written_and_read_again(recipe: Recipe) -> None:
    text = resolved_yaml(recipe)
    again = recipe_from_text(text)
    assert again == resolved(recipe)
    assert resolved(again) == again
    assert resolved_yaml(again) == text
    assert isinstance(yaml.safe_load(text), dict)  # other programs read it too


@given(TEXT)
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back(text: str) -> None:
    recipe = dataclasses.replace(recipe_from_text(FIRST), name=text)
    assert recipe_from_text(resolved_yaml(recipe)).name == text


def test_the_full_recipe_in_order_with_its_defaults() -> None:
    text = resolved_yaml(recipe_from_text(FULL))
    keys = " ".join(line.split(":")[0] for line in text.splitlines() if line[0] != " ")
    assert keys == (
        "name output seed workers max_memory max_failed_share max_failed_files sources normalize split_bytes "
        "modules tag dedupe tokenizer mix tokens train eval beam"
    )
    for line in (
        "max_memory: 4000000000",
        "    documents: [data/web/*.jsonl.gz]",
        "    - {tagger: pii_v1, name: pii_v1, phone_regions: [US, DE]}",
        "  prefer: []",
        "modules: [./my_taggers.py]",
        "max_failed_share: 0.01",
        "  documents: false",
        "    max_tokens: 1000000",
        "    max_bytes: null",
        "    - {name: exact, kind: exact, key: text}",
        "    - {name: minhash, kind: minhash, shingle: 5, bands: 20, rows: 8, signature_bytes: null, threshold: 0.8, "
        "verify: jaccard}",
        '    english: "language_v1.en >= 0.5"',
        '    - {spans: pii_v1.email, with: " |||EMAIL_ADDRESS||| "}',
        "  max_epochs: 1.0",
        "  eps: 1e-08",
        "  processes: auto",
        "  runner: local",
    ):
        assert line in text.splitlines()


def test_absent_stages_and_what_does_not_apply_stay_absent() -> None:
    text = resolved_yaml(recipe_from_text(FULL, "eval=null", "train=null", "tokenizer={load: t.json}"))
    assert "train" not in text
    assert "eval" not in text
    assert "vocab_size" not in text
    assert "target_tokens: 100000000" in text


def test_a_recipe_without_sources_comes_back() -> None:
    text = resolved_yaml(recipe_from_text("{output: run, sft: {data: x.jsonl, init_from: y}}"))
    assert "sources" not in text
    assert resolved_yaml(recipe_from_text(text)) == text


def test_bounds_of_scores_are_written_where_there_are_some() -> None:
    edit = "{spans: a.b, with: x, max_score: 0.5}"
    recipe = recipe_from_text(FULL, f"mix.replace.0={edit}", f"mix.sources.web.replace=[{edit}]")
    text = resolved_yaml(recipe)
    assert text.count("- {spans: a.b, with: x, max_score: 0.5}\n") == 2
    assert recipe_from_text(text) == resolved(recipe)


@pytest.mark.parametrize(
    "word", ["no", "Yes", "on", "y", "null", "~", "true", "12", "1e3", "0x10", "a b", "-", ".", "#"]
)
def test_words_that_could_be_taken_for_something_else_are_quoted(word: str) -> None:
    text = resolved_yaml(dataclasses.replace(recipe_from_text(FULL), name=word))
    assert yaml.safe_load(text)["name"] == word


def test_only_what_yaml_can_hold_is_written() -> None:
    recipe = recipe_from_text(FULL)
    with pytest.raises(ValueError, match="finite numbers only, found nan"):
        resolved_yaml(dataclasses.replace(recipe, beam=BeamConfig(options={"x": float("nan")})))
    with pytest.raises(TypeError, match="found bytes"):
        resolved_yaml(dataclasses.replace(recipe, beam=BeamConfig(options={"x": b""})))


def test_the_quickstart_runs_from_its_own_output(tmp_path: Path) -> None:
    recipe = load_recipe(str(Path(__file__).parents[3] / "pipelines" / "quickstart.yaml"))
    path = tmp_path / "recipe.yaml"
    path.write_text(resolved_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == resolved(recipe)
