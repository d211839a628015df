"""Inputs on the Hugging Face hub: `hf://datasets/OWNER/NAME[@REVISION]/path`, and `hf://OWNER/NAME/…` for models.

`huggingface_hub` (which `tokenizers` installs) lists and knows the token of the environment; files are read like those
of any web server. A version is the id of a file's content; the commit that was seen is noted beside it. `HF_ENDPOINT`
names another hub. Without a revision a name is read as it is at that moment: give a commit to pin it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.inputs import InputEntry, InputScheme, register_scheme
from dolma_pipeline.storage.web import open_web, open_web_random, web_head

HUB = "https://huggingface.co"
_URL = re.compile(
    r"hf://(?P<kind>datasets/|spaces/|(?!datasets/|spaces/))(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<path>.*))?",
    re.DOTALL,
)


class _Place(NamedTuple):
    kind: str
    repo: str
    revision: str | None
    path: str
    head: str
    """The URL up to the path."""


class Hub(InputScheme):
    """Files of datasets and models on the hub."""

    def check(self, url: str) -> None:
        """See `InputScheme.check`."""
        found = _URL.fullmatch(url)
        if found is None or found["kind"] == "spaces/":
            raise UsageError(
                f"{url!r} names no dataset: write hf://datasets/OWNER/NAME/path, or hf://datasets/OWNER/NAME@REVISION/path."
            )

    def stat(self, url: str, settings: Mapping[str, str]) -> InputEntry | None:
        """See `InputScheme.stat`: two requests."""
        place = _place(url)
        with _asking(url):
            commit = _commit(place)
            for one in _api().get_paths_info(place.repo, place.path, revision=commit, repo_type=place.kind):
                if _is_file(one) and one.path == place.path:
                    return _entry(place, one, commit)
        return None

    def stream(self, url: str, settings: Mapping[str, str], start: int = 0) -> BinaryIO:
        """See `InputScheme.stream`."""
        address, headers = _address(url)
        return open_web(address, place=url, headers=headers, start=start)

    def head(self, url: str, settings: Mapping[str, str], size: int) -> bytes:
        """See `InputScheme.head`: one request."""
        address, headers = _address(url)
        return web_head(address, place=url, headers=headers, size=size)

    def random(self, url: str, settings: Mapping[str, str]) -> BinaryIO:
        """See `InputScheme.random`."""
        address, headers = _address(url)
        return open_web_random(address, place=url, headers=headers)

    def entries(self, folder: str, settings: Mapping[str, str]) -> Iterator[InputEntry]:
        """See `InputScheme.entries`: a request for some hundred files."""
        place = _place(folder)
        with _asking(folder, missing=False):
            commit = _commit(place)
            for one in _tree(place, commit, recursive=True):
                if _is_file(one):
                    yield _entry(place, one, commit)

    def names(self, folder: str, settings: Mapping[str, str]) -> list[str]:
        """See `InputScheme.names`."""
        place, found = _place(folder), list[str]()
        with _asking(folder, missing=False):
            found += sorted(one.path.rpartition("/")[2] for one in _tree(place, _commit(place), recursive=False))
        return found


def _place(url: str) -> _Place:
    found = _URL.fullmatch(url)
    assert found is not None, url  # it was checked
    path = found["path"] or ""
    head = url[: len(url) - len(path)].rstrip("/")
    return _Place(found["kind"].removesuffix("s/") or "model", found["repo"], found["revision"], path, head)


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint(), library_name="dolma-pipeline")


def _commit(place: _Place) -> str:
    return str(_api().repo_info(place.repo, revision=place.revision, repo_type=place.kind, timeout=30).sha)


def _tree(place: _Place, commit: str, *, recursive: bool) -> Iterator[Any]:
    yield from _api().list_repo_tree(
        place.repo, place.path or None, recursive=recursive, revision=commit, repo_type=place.kind
    )


def _is_file(one: Any) -> bool:
    return hasattr(one, "blob_id")


def _entry(place: _Place, one: Any, commit: str) -> InputEntry:
    content = one.lfs.sha256 if one.lfs else one.blob_id
    return InputEntry(f"{place.head}/{one.path}", int(one.size), str(content), commit)


def _address(url: str) -> tuple[str, dict[str, str]]:
    """Where the hub serves a file, and the headers that it wants."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers

    place = _place(url)
    kind = None if place.kind == "model" else place.kind
    address = hf_hub_url(place.repo, place.path, repo_type=kind, revision=place.revision, endpoint=_endpoint())
    return address, dict(build_hf_headers(library_name="dolma-pipeline"))


@contextlib.contextmanager
def _asking(url: str, *, missing: bool = True) -> Iterator[None]:
    """Turns what the hub refuses in the block into one clear error, which repeats nothing of its answer.

    Args:
        missing: a file that is not there is an error, too; else the block just ends.
    """
    from huggingface_hub import errors

    # Of its client, which differs between its versions.
    unreachable: type[Exception] = vars(errors)["HTTPError"]

    place = _place(url)
    name = place.head.partition("@")[0]
    token = "set HF_TOKEN to a token that may" if not os.environ.get("HF_TOKEN") else "HF_TOKEN may not read it"
    try:
        yield
    except errors.EntryNotFoundError:
        if missing:
            raise RunError(f"{url} cannot be read: there is no such file.") from None
    except errors.GatedRepoError:
        raise RunError(f"{url} cannot be read: access to {name} must be asked for on the hub; {token}.") from None
    except errors.RepositoryNotFoundError:
        raise RunError(
            f"{url} cannot be read: {_endpoint()} has no {name}, or it is private. Correct the name, or {token}."
        ) from None
    except errors.RevisionNotFoundError:
        raise RunError(f"{url} cannot be read: {name} has no revision '{place.revision}'.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "nothing"
        cure = f": {token}" if status in (401, 403) else ""
        raise RunError(f"{url} cannot be read: the hub refuses it (it says {status}){cure}.") from None
    except (unreachable, OSError) as error:
        raise RunError(
            f"{url} cannot be read: {_endpoint()} cannot be reached ({type(error).__name__}). Look at HF_ENDPOINT and "
            "the network."
        ) from None


register_scheme("hf", Hub())
