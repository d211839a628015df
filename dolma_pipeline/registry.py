"""From a name to a tagger or mixer. Only names, parameters and file text travel to workers, never objects.

There are three ways in: the modules of the packages `taggers` and `mixers`; modules that a recipe names (importable,
or `./file.py`, whose text travels: `read_modules` on the launcher, `install_modules` in each process); and the
entry-point groups `dolma_pipeline.taggers` and `dolma_pipeline.mixers` of installed distributions.
Cost: the first look-up imports all of them, some milliseconds; none of the built-in ones loads a model or numba.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import linecache
import pkgutil
import posixpath
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from dolma_pipeline.errors import DolmaError, TaggerError, UnknownNameError, UsageError
from dolma_pipeline.io.formats import FORMATS
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.io.url_patterns import read_small
from dolma_pipeline.mixing import MIXERS, Mixer, MixerSpec
from dolma_pipeline.storage.inputs import NO_SETTINGS, is_url, location
from dolma_pipeline.tagging import DECLARED, LoadedTagger, TaggerSpec
from dolma_pipeline.tagging.loaded import RAISED
from dolma_pipeline.tagging.parameters import checked_parameters

Package = Literal["taggers", "mixers"]
PACKAGES: tuple[Package, ...] = ("taggers", "mixers")

YOUR_OWN = "`modules: [./my_file.py]` at the top of the recipe"
"""What an error says of names that a user may bring along."""

HOME = Path(__file__).resolve().parents[1]
"""The folder that holds `dolma_pipeline`, and so `taggers` and `mixers`."""

_TABLES: list[MutableMapping[str, Any]] = [FORMATS]
"""Tables of what modules register, beside taggers and mixers: name -> an object of a class of theirs."""

_installed: dict[str, str] = {}
"""Name of a file whose text runs in this process -> the module made of it."""

_running: list[str] = []
"""The modules of users' files that are being run."""


@dataclass(frozen=True, slots=True)
class UserModule:
    """A module that a recipe names, as it travels to workers.

    Args:
        kind: importable by name, or a file.
        name: as in the recipe; of a file, its path in short form.
        text: of a file, its source; else empty (workers must be able to import it).
        sha256: of the source, hex; empty for an importable module without one source file.
    """

    kind: Literal["import", "file"]
    name: str
    text: str
    sha256: str


def load_tagger(name: str, /, **parameters: object) -> LoadedTagger:
    """The tagger of this name, with these parameters.

    Raises:
        UnknownNameError: no such tagger or parameter; says what is near.
        TaggerError: a parameter of the wrong type, or a tagger that breaks its contract.
    """
    _load_all("taggers")
    if name not in DECLARED:
        raise UnknownNameError("tagger", name, DECLARED, hint=f"Your own: {YOUR_OWN}.")
    return LoadedTagger(DECLARED[name], parameters)


def built_in_tagger(name: str, /, **parameters: object) -> LoadedTagger:
    """One of the library's own taggers, with these parameters; nobody else's module is imported.

    Raises:
        UnknownNameError: no such tagger in the library, or parameter of it. TaggerError: parameters that it refuses.
    """
    _load_built_in("taggers")
    if name not in DECLARED:
        raise UnknownNameError("built-in tagger", name, DECLARED)
    return LoadedTagger(DECLARED[name], parameters)


def tagger_specs() -> list[TaggerSpec]:
    """What is known of each tagger, by name."""
    _load_all("taggers")
    return [DECLARED[name] for name in sorted(DECLARED)]


def load_mixer(name: str, /, **parameters: object) -> Mixer:
    """The mixer of this name, with these parameters filled in.

    Raises:
        UnknownNameError: no such mixer or parameter; says what is near.
        TaggerError: a parameter of the wrong type.
    """
    spec = mixer_spec(name)
    checked = checked_parameters(f"mixer '{name}'", spec.function, spec.parameters, parameters)
    return functools.partial(spec.function, **checked)


def mixer_spec(name: str) -> MixerSpec:
    """What is known of the mixer of this name.

    Raises:
        UnknownNameError: no such mixer; says what is near.
    """
    _load_all("mixers")
    if name not in MIXERS:
        raise UnknownNameError("mixer", name, MIXERS, hint=f"Your own: {YOUR_OWN}.")
    return MIXERS[name]


def mixer_names() -> list[str]:
    """All mixers that are known in this process, sorted."""
    _load_all("mixers")
    return sorted(MIXERS)


def read_modules(
    modules: Sequence[str], *, base: Path | None = None, settings: Mapping[str, str] = NO_SETTINGS
) -> tuple[UserModule, ...]:
    """What a recipe's `modules` name, read and ready to travel. Nothing is run.

    Args:
        modules: importable names (`my_package.taggers`), or paths or URLs that end in `.py`.
        settings: of object stores. base: the folder where relative paths start; default the working directory.

    Raises:
        UsageError: neither importable nor a file that can be read as UTF-8, or a path with a variable in it.
    """
    return tuple(_read_file(one, base, settings) if is_file(one) else _read_import(one) for one in modules)


def install_modules(modules: Sequence[UserModule], *, keep: bool = False) -> None:
    """Run these modules in this process, so that what they declare is known; those that already run are left alone.

    A file becomes a module of its own under a name that no other has, with `__file__` and with its lines in
    tracebacks. A file whose text has changed since is run anew, and what it declared before is forgotten.

    Args:
        modules: as `read_modules` gives them.
        keep: what other files declared stays known too. Else it is forgotten: what a run does must not depend on what
            ran before it in this process.

    Raises:
        TaggerError: a file that does not parse, or a module that raises; names file and line, and what was raised.
    """
    for package in PACKAGES:  # first the built-in ones: a clash of names is then the user's file's, in every process
        _load_all(package)
    for file in () if keep else _installed.keys() - {module.name for module in modules if module.kind == "file"}:
        _forget(file)
    for module in modules:
        if module.kind == "file":
            _run_file(module)
        else:
            _import(module.name, f"module '{module.name}' (modules)")


def declared_by(module: str, modules: Sequence[UserModule]) -> UserModule | None:
    """Which of a recipe's modules declares what is in the Python module `module`; None: built in, or installed.

    Args:
        module: `module` of a `TaggerSpec` or `MixerSpec`.
        modules: installed in this process.
    """
    for one in modules:
        if one.kind == "file" and _installed.get(one.name) == module:
            return one
        if one.kind == "import" and f"{module}.".startswith(f"{one.name}."):
            return one
    return None


def origin_of(spec: TaggerSpec) -> str:
    """Where a tagger comes from: `built-in`, the path of a module file, or a distribution with its version.

    A tagger of an importable module that no installed distribution offers is named by that module.
    """
    if spec.module.partition(".")[0] == "taggers":
        return "built-in"
    for file, module in _installed.items():
        if module == spec.module:
            return file
    for point in importlib.metadata.entry_points(group="dolma_pipeline.taggers"):
        if f"{spec.module}.".startswith(f"{point.module}.") and point.dist is not None:
            return f"{point.dist.name} {point.dist.version}"
    return f"module {spec.module}"


def is_file(module: str) -> bool:
    """Whether a name in `modules` is that of a file: it ends in `.py`, or has a slash."""
    return module.endswith(".py") or "/" in module


def _read_file(module: str, base: Path | None, settings: Mapping[str, str]) -> UserModule:
    elsewhere = is_url(module)
    path = Path() if elsewhere else (base or Path()) / expanded(module)
    if not elsewhere and not path.is_file():
        raise UsageError(f"no file {module} (modules), looked for at {path.absolute()}")
    try:
        where = location(module, settings) if elsewhere else str(path)
        text = read_small(where, f"{module} (modules)").decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{module} (modules) is not UTF-8: {error}") from error
    name = module if elsewhere else posixpath.normpath(module)
    return UserModule("file", name, text, hashlib.sha256(text.encode()).hexdigest())


def _read_import(module: str) -> UserModule:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module):
        raise UsageError(f"'{module}' (modules) is neither a module's name nor a path that ends in .py")
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        hint = f" There is a file {module}.py: write ./{module}.py." if Path(f"{module}.py").is_file() else ""
        raise UsageError(f"no module named '{module}' (modules) can be imported.{hint}")
    origin = Path(found.origin) if found.origin else None
    source = origin.read_bytes() if origin is not None and origin.suffix == ".py" and origin.is_file() else None
    return UserModule("import", module, "", "" if source is None else hashlib.sha256(source).hexdigest())


def _run_file(module: UserModule) -> None:
    digest = hashlib.sha256(f"{module.name}\0{module.text}".encode()).hexdigest()
    stem = re.sub(r"\W", "_", Path(module.name).stem, flags=re.ASCII)
    name = f"dolma_pipeline_file_{stem}_{digest[:16]}"
    if _installed.get(module.name) == name:
        return
    _forget(module.name)
    try:
        code = compile(module.text, module.name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise TaggerError(f"{module.name}:{error.lineno}: {error.msg}") from error
    loaded = ModuleType(name)
    loaded.__file__ = module.name
    # No time of change: linecache then never looks for the file, which a worker does not have.
    lines = module.text.splitlines(keepends=True)
    linecache.cache[module.name] = (len(module.text), None, lines, module.name)
    sys.modules[name] = loaded  # dataclasses and pickle look there
    _installed[module.name] = name
    _running.append(name)
    try:
        exec(code, vars(loaded))
    except ModuleNotFoundError as error:
        _forget(module.name)
        raise TaggerError(
            f"{_line(error, module.name)}: {module.name} needs the module '{error.name}', which is not installed. A "
            "file of `modules` travels to the workers alone: what it imports must be installed there."
        ) from error
    except RAISED as error:
        _forget(module.name)
        raise TaggerError(f"{_line(error, module.name)}: {_told(error)}") from error
    finally:
        _running.pop()


def _forget(file: str) -> None:
    name = _installed.pop(file, None)
    if name is not None:
        sys.modules.pop(name, None)
        for table in (DECLARED, MIXERS):
            for one in [key for key, spec in table.items() if spec.module == name]:
                del table[one]
        for objects in _TABLES:
            for one in [key for key, value in objects.items() if _declaring(value) == name]:
                del objects[one]


def _declaring(value: object) -> str:
    """The Python module that put an object into a table: that of its class, unless it says another (`declared_in`)."""
    return getattr(value, "declared_in", "") or type(value).__module__


def running_file() -> str:
    """The Python module of the user's file that is being run just now; "" if none is."""
    return _running[-1] if _running else ""


def keep_registry(table: MutableMapping[str, Any]) -> None:
    """Make known a table in which modules register objects: what a file put there goes when its text has changed."""
    _TABLES.append(table)


def _import(module: str, what: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            raise TaggerError(f"{what} cannot be imported: {error}. It must be installed on every worker.") from error
        raise TaggerError(f"{what} needs the module '{error.name}', which is not installed") from error
    except RAISED as error:
        raise TaggerError(f"{what} cannot be imported: {_line(error, '')}: {_told(error)}") from error


def _line(error: BaseException, file: str) -> str:
    """`file:line` where a module that was being run raised: the last line of `file`, or of any file if that is ""."""
    if isinstance(error, SyntaxError) and error.filename and not file:
        return f"{error.filename}:{error.lineno}"
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [place for place in places if not file or place[0] == file]
    return ":".join(map(str, own[-1] if own else (file, "?")))


def _told(error: BaseException) -> str:
    """What an error of a user's module says: ours as they are, others with their type."""
    if isinstance(error, DolmaError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@functools.cache
def _load_built_in(package: Package) -> None:
    _refuse_foreign(package)
    for found in sorted(pkgutil.iter_modules([str(HOME / package)]), key=lambda found: found.name):
        importlib.import_module(f"{package}.{found.name}")


@functools.cache
def _load_all(package: Package) -> None:
    """Import the built-in modules, then what installed distributions offer. In order of name: the same everywhere."""
    _load_built_in(package)
    points = importlib.metadata.entry_points(group=f"dolma_pipeline.{package}")
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        distribution = point.dist.name if point.dist is not None else "an unknown distribution"
        _import(point.module, f"module '{point.module}' (entry point '{point.name}' of {distribution})")


def _refuse_foreign(package: str) -> None:
    found = importlib.util.find_spec(package)
    places = [] if found is None else [Path(place).resolve() for place in found.submodule_search_locations or ()]
    if found is not None and not places and found.origin is not None:
        places = [Path(found.origin).resolve()]  # a file taggers.py
    if places == [HOME / package]:
        return
    there = " and ".join(str(place) for place in places) or "nowhere"
    raise UsageError(
        f"the package '{package}' is found at {there}, but dolma_pipeline's own is at {HOME / package}. Something else "
        f"of that name stands before it on Python's path: rename it, or start from another folder (or set "
        "PYTHONSAFEPATH=1)."
    )
