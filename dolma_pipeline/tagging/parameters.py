"""Parameters of taggers and mixers: which there are, and whether a value from a recipe fits its annotation.

YAML knows lists, not tuples, and writes 1 where 1.0 is meant: both are put right. Anything else that does not fit
is an error before work starts, not a TypeError in a worker an hour later. An annotation that cannot be read
(a name imported for type checkers only) counts as the type of the default.
"""

from __future__ import annotations

import collections.abc
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dolma_pipeline.errors import TaggerError, UnknownNameError

SEQUENCES = (collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable)
MAPPINGS = (dict, collections.abc.Mapping)


class _Misfit(Exception):
    """A value that does not fit; never leaves this file."""


def checked_parameters(
    what: str, target: Callable[..., Any], defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """All parameters of a function or dataclass: those given, in their types, and the defaults of the others.

    Args:
        what: for messages: `tagger 'gopher_v1'`.
        target: the function or dataclass; its annotations say what fits.
        defaults: parameter -> default; there are no others.
        given: parameter -> value. Lists become tuples and whole numbers floats where the annotation says so.

    Raises:
        UnknownNameError: a parameter that does not exist.
        TaggerError: a value that does not fit its annotation.
    """
    for unknown in sorted(given.keys() - defaults.keys()):
        raise UnknownNameError(f"parameter of {what}", unknown, defaults)
    checked = dict(defaults)
    for name, value in given.items():
        hint = _hint(target, name, defaults[name])
        try:
            checked[name] = _fitted(hint, value)
        except _Misfit:
            shown = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
            raise TaggerError(
                f"{what}: parameter '{name}' is {shown.replace('typing.', '')} (default {defaults[name]!r}), not "
                f"{type(value).__name__} {value!r}"
            ) from None
    return checked


def _hint(target: Callable[..., Any], name: str, default: Any) -> Any:
    annotation: Any = inspect.Parameter.empty
    owner: Any = target
    for base in target.__mro__ if isinstance(target, type) else (target,):
        if name in inspect.get_annotations(base):
            owner, annotation = base, inspect.get_annotations(base)[name]
            break
    if annotation is inspect.Parameter.empty:
        return type(default) if default is not None else Any
    names = getattr(owner, "__globals__", None) or vars(sys.modules.get(owner.__module__, typing))
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(holder, globalns=dict(names))[name]
    except NameError:
        return type(default) if default is not None else Any


def _fitted(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return value
    if origin in (typing.Union, types.UnionType):
        return _first_fitting(arguments, value)
    if origin is typing.Literal:
        if any(value == argument and type(value) is type(argument) for argument in arguments):
            return value
        raise _Misfit
    if hint is None or hint is type(None):
        return _only(value is None, value)
    if origin is float:
        return float(_only(isinstance(value, (int, float)) and not isinstance(value, bool), value))
    if origin is int:
        return _only(isinstance(value, int) and not isinstance(value, bool), value)
    if origin is Path:
        return Path(_only(isinstance(value, (str, Path)), value))
    if origin in (list, tuple) or origin in SEQUENCES:
        return _sequence(origin, arguments, value)
    if origin in MAPPINGS:
        _only(isinstance(value, collections.abc.Mapping), value)
        key, item = arguments or (Any, Any)
        return {_fitted(key, argument): _fitted(item, other) for argument, other in value.items()}
    return _only(not isinstance(origin, type) or isinstance(value, origin), value)


def _sequence(origin: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    _only(isinstance(value, (list, tuple)), value)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        _only(len(arguments) == len(value), value)
        return tuple(_fitted(hint, item) for hint, item in zip(arguments, value, strict=True))
    hint = arguments[0] if arguments else Any
    items = [_fitted(hint, item) for item in value]
    return items if origin is list else tuple(items)


def _first_fitting(hints: tuple[Any, ...], value: Any) -> Any:
    for exact in (True, False):  # of `float | int`, 1 is the int
        for hint in hints:
            if exact and hint is not type(value):
                continue
            try:
                return _fitted(hint, value)
            except _Misfit:
                continue
    raise _Misfit


def _only(fits: bool, value: Any) -> Any:
    if not fits:
        raise _Misfit
    return value
