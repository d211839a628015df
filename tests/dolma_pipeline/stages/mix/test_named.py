"""What a further mix may be called, and what is registered for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dolma_pipeline import stages as _stages  # noqa: F401 importing it registers the stages
from dolma_pipeline.config.recipe import MixConfig, TokensConfig
from dolma_pipeline.errors import TaggerError, UsageError
from dolma_pipeline.registry import UserModule, install_modules
from dolma_pipeline.run.stage import STAGES, stages_in_order
from dolma_pipeline.stages.mix.named import register_mix
from dolma_pipeline.stages.mix.stage import MixStage
from dolma_pipeline.stages.mixes import asked_of, judged_of, mix_of_cache, reading_of, verdicts_of
from dolma_pipeline.stages.tokens.stage import TokensStage


@pytest.fixture(autouse=True)
def stages_as_before() -> Iterator[None]:
    """What a test registers is forgotten."""
    before = dict(STAGES)
    yield
    STAGES.clear()
    STAGES.update(before)


def test_its_stages_and_their_sections() -> None:
    before = {*STAGES}
    register_mix("small", tokens="tokens_small")
    assert {*STAGES} - before == {"small", "tokens_small", "judge_small", "verdicts_small"}
    mix, tokens = STAGES["small"], STAGES["tokens_small"]
    assert isinstance(mix, MixStage)
    assert isinstance(tokens, TokensStage)
    assert (mix.section, mix.tokens) == (MixConfig, "tokens_small")
    assert (tokens.section, tokens.mix) == (TokensConfig, "small")
    assert mix.readings == ("small/ask", "small/encode", "small/write")
    register_mix("other")
    assert {*STAGES} - before == {
        "small", "tokens_small", "judge_small", "verdicts_small", "other", "judge_other", "verdicts_other"
    }  # fmt: skip


def test_the_stages_of_the_mix_that_is_called_mix_stay_as_they_are() -> None:
    names = [stage.name for stage in stages_in_order()]
    readings = STAGES["mix"].readings
    register_mix("small", tokens="tokens_small")
    assert [stage.name for stage in stages_in_order() if stage.name in names] == names
    assert (STAGES["mix"].readings, readings) == (readings, ("ask", "encode", "write"))
    assert STAGES["mix"].section is None
    assert STAGES["tokens"].section is None


def test_they_come_behind_those_of_the_mix_that_is_called_mix() -> None:
    """So does, before them, whatever a user's stage puts before its verdicts."""
    register_mix("small", tokens="tokens_small")
    names = [stage.name for stage in stages_in_order()]
    for before, after in (
        ("judge", "judge_small"), ("verdicts", "verdicts_small"), ("judge_small", "verdicts_small"),
        ("verdicts_small", "small"), ("tokenizer", "small"), ("mix", "small"), ("small", "tokens_small"),
    ):  # fmt: skip
        assert names.index(before) < names.index(after), (before, after)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Small", "'Small' is no name for a mix: use small letters, digits and _, a letter first"),
        ("", "'' is no name for a mix: use small letters"),
        ("2nd", "use small letters"),
        ("a/b", "use small letters"),
        ("a.b", "use small letters"),
        ("mix", "'mix' is no name for a mix: there is a stage of that name; take another"),
        ("tokens", "there is a stage of that name"),
        ("index", "there is a stage of that name"),
        ("judge", "there is a stage of that name"),
        ("sources", "'sources' is no name for a mix: a recipe has a key of that name; take another"),
        ("seed", "a recipe has a key of that name"),
        ("cache", "'cache' is no name for a mix: a run has a folder of that name; take another"),
        ("attributes", "a run has a folder of that name"),
        ("judged_x", "'judged_x' is no name for a mix: names that begin with judge, judged, asked, verdicts are those"),
        ("asked_early", "names that begin with judge, judged, asked, verdicts"),
    ],
)
def test_names_that_cannot_be(name: str, words: str) -> None:
    before = dict(STAGES)
    with pytest.raises(UsageError, match=words):
        register_mix(name)
    tokens = words.replace("a mix", "a stage of tokens")
    if name:
        with pytest.raises(UsageError, match=tokens):
            register_mix("small", tokens=name)
    assert before == STAGES


def test_names_that_are_taken() -> None:
    register_mix("small")
    with pytest.raises(UsageError, match="'small' is no name for a mix: there is a stage of that name"):
        register_mix("small")
    with pytest.raises(UsageError, match="the mix 'other' and the tokens of it have one name"):
        register_mix("other", tokens="other")
    assert "other" not in STAGES


def test_what_a_file_registers_goes_with_it() -> None:
    """Its class is ours, but not the wish for it."""
    text = "from dolma_pipeline.stages.mix.named import register_mix\nregister_mix('small', tokens='tokens_small')\n"
    own = {"small", "tokens_small", "judge_small", "verdicts_small"}
    install_modules([UserModule("file", "mixes_of_mine.py", text, "0")])
    assert own <= {*STAGES}
    install_modules([UserModule("file", "mixes_of_mine.py", text + "# more\n", "1")])
    assert own <= {*STAGES}
    broken = UserModule("file", "mixes_of_mine.py", text + "raise ValueError('no')\n", "2")
    with pytest.raises(TaggerError, match=r"mixes_of_mine\.py:3: ValueError: no"):
        install_modules([broken])
    assert not own & {*STAGES}
    install_modules([])
    register_mix("small")
    install_modules([])
    assert "small" in STAGES, "nobody's file asked for this one"


def test_what_its_artifacts_are_called() -> None:
    assert [verdicts_of("mix"), judged_of("mix"), asked_of("late")] == ["mix/verdicts", "judged", "asked_late"]
    assert [verdicts_of("a"), judged_of("a"), asked_of("late", "a")] == ["a/verdicts", "judged_a", "asked_late_a"]
    assert [reading_of("encode", "mix"), reading_of("encode", "a")] == ["encode", "a/encode"]
    kinds = ("judged", "asked_early", "asked_late", "judged_a", "asked_early_a_b", "asked_late_a", "ids", "judgedx")
    assert [mix_of_cache(kind) for kind in kinds] == ["mix", "mix", "mix", "a", "a_b", "a", None, None]
