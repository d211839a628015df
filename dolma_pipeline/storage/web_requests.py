"""One GET of the web: addresses, patience, what a server refuses in one clear sentence, and no secret passed on.

Nothing is decoded on the way: bytes are those that the server has. Headers given (a hub's token) go to the host that
was asked and to no other that it names.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from dolma_pipeline.errors import RunError
from dolma_pipeline.storage.faults import missing_file
from dolma_pipeline.storage.object_faults import GOES_ON, wait

TIMEOUT_SECONDS = 30.0
TRIES = 8
CHECK_SECONDS = 10.0
"""How long a server may be silent where people wait to be told what is wrong, before work starts."""
FEW_TRIES = 4
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
BROKEN = (OSError, http.client.HTTPException)
"""What a connection that fails raises; `urllib.error.HTTPError`, an answer, is one of them."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows as usual, but leaves credentials behind when the host is another one."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urlsplit(new.full_url).netloc != urlsplit(req.full_url).netloc:
            new.remove_header("Authorization")
            new.remove_header("Cookie")
        return new


def get(
    url: str,
    *,
    place: str,
    headers: Mapping[str, str],
    first: int = 0,
    last: int | None = None,
    tries: int = TRIES,
    silence_seconds: float = TIMEOUT_SECONDS,
) -> Any:
    """The answer to a GET, its body unread; asked again where the server is busy or the connection fails.

    Args:
        url: http or https. place: what errors call it. headers: sent along.
        first, last: bytes that are wanted, `last` among them; None: to the end. A server may send all the same.
        tries: how often it is asked. silence_seconds: how long it may send nothing.

    Raises:
        FileNotFoundError: 404 or 410. RunError: anything else that is not the file.
    """
    wanted = {"Range": f"bytes={first}-{'' if last is None else last}"} if first or last is not None else {}
    request = urllib.request.Request(_encoded(url), headers={"Accept-Encoding": "identity", **headers, **wanted})
    for number in range(tries):
        try:
            return urllib.request.build_opener(_Redirects).open(request, timeout=silence_seconds)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the file has no byte at `first`: nothing is left of it
                return error
            error.close()
            if error.code in (404, 410):
                raise missing_file(place, f" (the server says {error.code})") from None
            if error.code not in _AGAIN or number == tries - 1:
                raise refused(place, status=error.code) from None
        except BROKEN as error:
            if number == tries - 1:
                raise refused(place, error=error) from None
        wait(number)
    raise AssertionError("the last try raised or returned")


def refused(place: str, *, status: int = 0, error: BaseException | None = None) -> RunError:
    """The error for a file of the web that cannot be read: the server's status, or what the connection raised."""
    if status in (401, 403):
        why = f"the server does not permit it (it says {status}). Look at the address and at who may read it"
    elif status in _AGAIN:
        why = f"the server was busy for too long (it says {status}). {GOES_ON}"
    elif status:
        why = f"the server refuses it (it says {status})"
    else:
        reason = getattr(error, "reason", error)
        told = f" ({type(reason).__name__}: {reason})" if isinstance(reason, OSError) else ""
        why = f"{urlsplit(place).netloc or 'the server'} cannot be reached, or does not answer{told}. {GOES_ON}"
    return RunError(f"{place} cannot be read: {why}".removesuffix(".") + ".")


def _encoded(url: str) -> str:
    """The address as it may be sent: blanks and letters of other scripts are encoded, what is encoded stays."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    name, colon, port = host.partition(":")
    name = name if name.isascii() else name.encode("idna").decode("ascii")
    return f"{scheme}://{name}{colon}{port}{slash}{quote(path.partition('#')[0], safe='/%:=&?~+!$,;()*@[]' + chr(39))}"


def total_size(answer: Any) -> int | None:
    """Bytes of the whole file, as an answer tells; None if it does not."""
    found = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", answer.headers.get("Content-Range") or "")
    if found:
        return int(found[1])
    length = answer.headers.get("Content-Length")
    return int(length) if answer.status == 200 and length is not None else None


def first_byte(answer: Any) -> int:
    """Where in the file an answer begins: a server may send another range than it was asked for."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    return int(found[1]) if answer.status == 206 and found else 0


def version(answer: Any) -> str:
    """The ETag, else the time of the last change; empty where the server tells neither."""
    return str(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
