from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from dolma_pipeline.documents import Batch, Document, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.tagging import DECLARED, tagger


def refused(declare: Callable[[], Any]) -> str:
    with pytest.raises(TaggerError) as caught:
        declare()
    assert not DECLARED
    return str(caught.value)


def run_source(source: str, file: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": file.removesuffix(".py")}
    exec(compile(source, file, "exec"), names)
    return names


SHARE = """
from dolma_pipeline.tagging import tagger

@tagger("share_v1", fields={"share": float})
def share(doc):
    return {"share": 1.0}
"""


def test_a_function_is_returned_unchanged_and_known() -> None:
    def plain(doc: Document, *, min_letters: int = 2) -> dict[str, Any]:
        """Words written in capitals.

        And more.
        """
        return {"share": 0.0, "shouts": []}

    fields = {"share": float, "shouts": list[Span]}
    assert tagger("shouting_v1", fields=fields, paper="Nobody 2026")(plain) is plain
    spec = DECLARED["shouting_v1"]
    assert (spec.name, spec.form, spec.object, spec.paper) == ("shouting_v1", "function", plain, "Nobody 2026")
    assert (spec.summary, spec.parameters, spec.fields) == ("Words written in capitals.", {"min_letters": 2}, fields)
    assert spec.module == __name__
    assert spec.place.startswith(__file__ + ":")


def test_a_dataclass_is_returned_unchanged_and_its_fields_are_parameters() -> None:
    @dataclass
    class Length:
        """Lengths."""

        unit: str = "chars"
        regions: list[str] = field(default_factory=lambda: ["US"])
        loaded: bool = field(default=False, init=False)
        fields = {"length": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"length": [0] * len(batch)}

    assert tagger("length_v1")(Length) is Length
    spec = DECLARED["length_v1"]
    assert (spec.form, spec.summary, spec.fields) == ("class", "Lengths.", None)
    assert spec.parameters == {"unit": "chars", "regions": ["US"]}
    assert spec.place.startswith(__file__ + ":")


def test_the_docstring_that_dataclass_writes_is_no_summary() -> None:
    @tagger("bare_v1")
    @dataclass
    class Bare:
        k: int = 1
        fields = {"n": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"n": [self.k] * len(batch)}

    assert Bare.__doc__ is not None
    assert DECLARED["bare_v1"].summary == ""


@pytest.mark.parametrize("name", ["", "Gopher_v1", "1st", "a-b", "a.b", "_a", "ä", "a b", None, 3])
def test_names_are_lower_case_words(name: Any) -> None:
    words = refused(lambda: tagger(name, fields={"a": int}))
    assert words.startswith(f"a tagger cannot be named {name!r}: a name is lower-case letters, digits and '_'")


def test_parameters_of_a_function_are_keyword_only_with_defaults() -> None:
    def positional(doc: Document, min_letters: int = 2) -> dict[str, Any]:
        return {}

    def without_default(doc: Document, *, min_letters: int) -> dict[str, Any]:
        return {}

    def anything(doc: Document, **more: int) -> dict[str, Any]:
        return {}

    def no_document(*, min_letters: int = 2) -> dict[str, Any]:
        return {}

    def reserved(doc: Document, *, name: str = "x") -> dict[str, Any]:
        return {}

    declare = tagger("t_v1", fields={"a": int})
    assert "parameter 'min_letters: 'int' = 2' of" in refused(lambda: declare(positional))
    assert "write e.g. def positional(doc, *, min_letters: int = 2)" in refused(lambda: declare(positional))
    assert "is not keyword-only with a default" in refused(lambda: declare(without_default))
    assert "'**more: 'int'' of" in refused(lambda: declare(anything))
    assert "takes a Document as its first parameter" in refused(lambda: declare(no_document))
    assert "cannot be named 'name', which has its own meaning in a recipe" in refused(lambda: declare(reserved))


def test_a_function_declares_its_fields_in_the_decorator_and_a_class_does_not() -> None:
    def plain(doc: Document) -> dict[str, Any]:
        return {}

    @dataclass
    class Whole:
        fields = {"n": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"n": [0] * len(batch)}

    assert "a function declares its fields, e.g. @tagger('t_v1', fields=" in refused(lambda: tagger("t_v1")(plain))
    assert "has its fields as an attribute or property `fields`, not in @tagger" in refused(
        lambda: tagger("t_v1", fields={"n": int})(Whole)
    )


def test_a_class_is_a_dataclass_with_fields_tag_and_defaults() -> None:
    class Plain:
        fields = {"n": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {}

    @dataclass
    class Whole:
        fields = {"n": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {}

    class Child(Whole):
        k: int = 3

    @dataclass
    class NoTag:
        fields = {"n": int}

    @dataclass
    class NoFields:
        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {}

    @dataclass
    class NoDefault:
        k: int
        fields = {"n": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {}

    declare = tagger("t_v1")
    for target in (Plain, Child):
        assert "is not a dataclass; write @dataclass on the line below @tagger" in refused(lambda t=target: declare(t))
    assert "NoTag has no `tag`; it needs `fields` and `tag(self, batch)`" in refused(lambda: declare(NoTag))
    assert "NoFields has no `fields`" in refused(lambda: declare(NoFields))
    assert "NoDefault has a parameter without a default: 'k'" in refused(lambda: declare(NoDefault))
    assert "stands on a function or a dataclass, not on 3" in refused(lambda: declare(3))


def test_the_same_name_in_two_files_is_an_error_that_names_both() -> None:
    run_source(SHARE, "one.py")
    with pytest.raises(TaggerError) as caught:
        run_source(SHARE, "two.py")
    assert str(caught.value) == (
        "tagger 'share_v1' is declared twice: share at one.py:4 and share at two.py:4. Give one of them another name."
    )
    assert DECLARED["share_v1"].place == "one.py:4"


def test_two_functions_of_one_file_cannot_share_a_name() -> None:
    with pytest.raises(TaggerError, match=r"share at one\.py:4 and other at one\.py:10"):
        run_source(SHARE + SHARE.replace("def share", "def other"), "one.py")


def test_loading_a_file_or_a_notebook_cell_again_replaces_it() -> None:
    run_source(SHARE, "one.py")
    again = run_source(SHARE, "one.py")
    assert DECLARED["share_v1"].object is again["share"]
    DECLARED.clear()
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in ("<cell 1>", "<cell 2>"):
        exec(compile(SHARE, cell, "exec"), names)
    assert DECLARED["share_v1"].place == "<cell 2>:4"


def test_a_class_may_say_which_compiled_kernels_it_uses() -> None:
    def declared(**attributes: Any) -> tuple[str, ...]:
        parts = {"fields": {"n": int}, "tag": lambda self, batch: {}, **attributes}
        made = tagger("kernels_v1")(dataclass(type("Kernels", (), parts)))
        assert made.__name__ == "Kernels"
        return DECLARED.pop("kernels_v1").kernels

    assert declared() == ("words", "lines", "spans"), "what stands behind a batch's tables"
    assert declared(kernels=("scan", "words")) == ("words", "scan")
    assert declared(kernels=()) == ()
    with pytest.raises(TaggerError, match=r"tagger 'kernels_v1': no kernel named 'word'\. Did you mean 'words'"):
        declared(kernels=("word",))
    with pytest.raises(TaggerError, match=r"kernels is str 'words'; it is a tuple of names, as \('words',\)"):
        declared(kernels="words")
