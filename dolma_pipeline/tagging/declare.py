"""`@tagger`: declares a tagger, and checks at once what can be known without running it.

A declaration is a line in a table of this process; `registry` finds it by name. Parameters are the function's
keyword-only arguments or the dataclass's fields, and all have defaults: a tagger's name alone is a tagger.
"""

from __future__ import annotations

import dataclasses
import inspect
import linecache
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from dolma_pipeline.documents import Batch, Fields
from dolma_pipeline.errors import TaggerError, UnknownNameError
from dolma_pipeline.kernels.warm import checked
from dolma_pipeline.tagging.columns import NAME, checked_fields, short

RESERVED_PARAMETERS = ("tagger", "name")
"""Words that mean something else in a recipe's `{tagger: T, name: N, ...}`."""

T = TypeVar("T", bound=Callable[..., Any])


class Tagger(Protocol):
    """The class form: a dataclass whose fields are the parameters, all with defaults.

    It may also have `setup(self) -> None`, called once a process before the first `tag` (models, tables);
    `assets`, a tuple of names of model files that it needs; and, in the class, `kernels`, a tuple of names of compiled
    kernels that it uses (`dolma_pipeline.kernels.warm.KERNELS`), which a run then compiles before it starts: without
    it, those behind `Batch.words`, `Batch.lines`, `Batch.paragraphs` and `Batch.spans`. `fields` and `assets` may
    depend on parameters, never on `setup()`. A name in `assets` with a "/" in it is a file of the user's, which a run
    takes along. `check(self, *, max_memory: int) -> None` is called in the launcher before a run starts.
    """

    @property
    def fields(self) -> Fields:
        """Field -> bool, int, float, str or list[Span]."""

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """Field -> column (Arrow array, numpy array or list) of `len(batch)`; never called with an empty batch."""


@dataclass(frozen=True)
class TaggerSpec:
    """A declared tagger.

    Args:
        name: its name.
        form: a function of one document, or a class over batches.
        object: what was decorated.
        paper: where its rules come from.
        summary: first line of its docstring.
        parameters: name -> default.
        module: the module that declares it.
        place: `file:line` of the declaration.
        fields: of the function form; None for a class, whose fields may depend on parameters.
        kernels: names of the compiled kernels that it uses.
    """

    name: str
    form: Literal["function", "class"]
    object: Callable[..., Any]
    paper: str
    summary: str
    parameters: Mapping[str, Any]
    module: str
    place: str
    fields: Fields | None = None
    kernels: tuple[str, ...] = ()


DECLARED: dict[str, TaggerSpec] = {}
"""Every tagger declared in this process, by name."""


def tagger(name: str, *, fields: Fields | None = None, paper: str = "") -> Callable[[T], T]:
    """Declare a tagger; the decorated object is returned unchanged.

    A function takes one `Document` and keyword-only parameters with defaults, and returns field -> value; its
    `fields` are given here. A class is a dataclass, see `Tagger`; its `fields` are an attribute or a property.

    Args:
        name: `[a-z][a-z0-9_]*`, by custom with a version: `gopher_v1`.
        fields: field -> bool, int, float, str or list[Span]; for a function only.
        paper: where the rules come from.

    Raises:
        TaggerError: a wrong name, wrong fields or parameters, or a name that is declared elsewhere.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise TaggerError(
            f"a tagger cannot be named {name!r}: a name is lower-case letters, digits and '_', a letter first, "
            "e.g. 'shouting_v1'"
        )

    def declare(target: T) -> T:
        if inspect.isclass(target):
            spec = _class_spec(name, target, fields, paper)
        elif inspect.isfunction(target):
            spec = _function_spec(name, target, fields, paper)
        else:
            raise TaggerError(f"tagger '{name}': @tagger stands on a function or a dataclass, not on {target!r}")
        before = DECLARED.get(name)
        if before is not None and not _same_declaration(before, spec):
            raise TaggerError(
                f"tagger '{name}' is declared twice: {before.object.__qualname__} at {before.place} and "
                f"{spec.object.__qualname__} at {spec.place}. Give one of them another name."
            )
        DECLARED[name] = spec
        return target

    return declare


def _function_spec(name: str, target: Callable[..., Any], fields: Fields | None, paper: str) -> TaggerSpec:
    if fields is None:
        example = f"@tagger({name!r}, fields={{'share': float}})"
        raise TaggerError(f"tagger '{name}': a function declares its fields, e.g. {example}")
    checked = checked_fields(name, fields)
    arguments = list(inspect.signature(target).parameters.values())
    if not arguments or arguments[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise TaggerError(f"tagger '{name}': {target.__qualname__}() takes a Document as its first parameter")
    for parameter in arguments[1:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            example = f"def {target.__name__}({arguments[0].name}, *, min_letters: int = 2)"
            raise TaggerError(
                f"tagger '{name}': parameter '{parameter}' of {target.__qualname__}() is not keyword-only with a "
                f"default; write e.g. {example}"
            )
    parameters = {parameter.name: parameter.default for parameter in arguments[1:]}
    _check_parameters(name, parameters)
    code = inspect.unwrap(target).__code__
    place = f"{code.co_filename}:{code.co_firstlineno}"
    summary = _first_paragraph(target.__doc__)
    return TaggerSpec(name, "function", target, paper, summary, parameters, target.__module__, place, checked)


def _class_spec(name: str, target: type, fields: Fields | None, paper: str) -> TaggerSpec:
    what = f"tagger '{name}': class {target.__qualname__}"
    if fields is not None:
        raise TaggerError(f"{what} has its fields as an attribute or property `fields`, not in @tagger")
    if "__dataclass_fields__" not in vars(target):  # an inherited one would leave out this class's own fields
        raise TaggerError(f"{what} is not a dataclass; write @dataclass on the line below @tagger")
    for needed in ("fields", "tag"):
        if not hasattr(target, needed):
            raise TaggerError(f"{what} has no `{needed}`; it needs `fields` and `tag(self, batch)`")
    parameters: dict[str, Any] = {}
    for field in dataclasses.fields(target):
        if not field.init:
            continue
        if field.default is not dataclasses.MISSING:
            parameters[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            parameters[field.name] = field.default_factory()
        else:
            raise TaggerError(f"{what} has a parameter without a default: '{field.name}'")
    _check_parameters(name, parameters)
    generated = (target.__doc__ or "").startswith(f"{target.__name__}(")  # dataclass writes one where there is none
    summary = "" if generated else _first_paragraph(target.__doc__)
    place, kernels = _class_place(target), _kernels(name, target)
    return TaggerSpec(
        name, "class", target, paper, summary, parameters, target.__module__, place=place, kernels=kernels
    )


def _kernels(name: str, target: type) -> tuple[str, ...]:
    """The compiled kernels that a class says it uses, or those of a batch's tables."""
    given = getattr(target, "kernels", ("words", "lines", "spans"))
    if not isinstance(given, (tuple, list)) or not all(isinstance(one, str) for one in given):
        raise TaggerError(f"tagger '{name}': kernels is {short(given)}; it is a tuple of names, as ('words',)")
    try:
        return tuple(checked(given))
    except UnknownNameError as error:
        raise TaggerError(f"tagger '{name}': {error}") from error


def _class_place(target: type) -> str:
    """`file:line` of its first method: unlike the source text, it is known for code of any origin."""
    for value in vars(target).values():
        code = getattr(value, "__code__", None)
        if code is not None and code.co_filename != "<string>":  # what dataclass generates is "<string>"
            return f"{code.co_filename}:{code.co_firstlineno}"
    return str(getattr(sys.modules.get(target.__module__), "__file__", target.__module__))


def _check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    for reserved in RESERVED_PARAMETERS:
        if reserved in parameters:
            raise TaggerError(
                f"tagger '{name}': a parameter cannot be named '{reserved}', which has its own meaning in a recipe's "
                "{tagger: T, name: N, ...}"
            )


def _same_declaration(before: TaggerSpec, after: TaggerSpec) -> bool:
    """Loading a file again (imported, then named by a recipe), or running a notebook cell again, adds none."""
    if before.object.__qualname__ != after.object.__qualname__:
        return False
    if before.module == after.module == "__main__":
        return True
    first, other = (spec.place.rpartition(":")[0] or spec.place for spec in (before, after))
    if os.path.realpath(first) == os.path.realpath(other):
        return True
    return (text := _source(first)) != "" and text == _source(other)


def _source(file: str) -> str:
    """The text of a source file; of a recipe's file what was run; empty where nobody knows it."""
    linecache.checkcache(file)
    return "".join(linecache.getlines(file))


def _first_paragraph(doc: str | None) -> str:
    return " ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split())
