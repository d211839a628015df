"""A hub on loopback, for tests: what of the Hugging Face hub's interface `hf://` asks, over one dataset.

Files are of a commit; a token is wanted where the repository is private.
"""

from __future__ import annotations

import hashlib
import json
from urllib.parse import parse_qs, unquote

from tests.dolma_pipeline.storage.fake_web import WebHandler

TOKEN = "hf_dummy-secret-that-no-file-may-hold"
COMMIT = "c0ffee" * 6 + "beef"


class HubHandler(WebHandler):
    """One connection; files of the dataset are those of the server below `/datasets/me/set/resolve/`."""

    def do_GET(self) -> None:
        """Repository, tree, or a file."""
        path, _, query = self.path.partition("?")
        if self.server.moved.get("private") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.told(401, {}, {"X-Error-Code": "RepoNotFound"})
        if not unquote(path).startswith(("/api/datasets/me/set", "/datasets/me/set/")):
            return self.told(404, {}, {"X-Error-Code": "RepoNotFound"})
        if path.startswith("/datasets/"):
            self.path = "/" + path.split("/resolve/", 1)[1].partition("/")[2]
            return super().do_GET()
        rest = unquote(path.removeprefix("/api/datasets/me/set")).strip("/").split("/")
        if rest[:1] == ["tree"]:
            under = "/".join(rest[2:])
            return self.tree(f"{under}/" if under else "", parse_qs(query).get("recursive") in (["true"], ["True"]))
        if rest[:1] == ["revision"] and rest[1] not in (COMMIT, "v1"):
            return self.told(404, {}, {"X-Error-Code": "RevisionNotFound"})
        return self.told(200, {"id": "me/set", "sha": COMMIT, "siblings": [], "tags": [], "private": False})

    def do_POST(self) -> None:
        """What is known of paths."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        self.told(200, [self.about(one) for one in wanted if f"/{one}" in self.server.files])

    def tree(self, prefix: str, recursive: bool) -> None:
        """Files and folders below a prefix."""
        names = sorted(name[1:] for name in self.server.files if name[1:].startswith(prefix))
        if not names:
            return self.told(404, {}, {"X-Error-Code": "EntryNotFound"})
        rows = [self.about(name) for name in names if recursive or "/" not in name[len(prefix) :]]
        folders = {prefix + name[len(prefix) :].split("/")[0] for name in names if "/" in name[len(prefix) :]}
        return self.told(200, rows + [{"type": "directory", "path": one, "oid": "0"} for one in sorted(folders)])

    def about(self, name: str) -> dict[str, object]:
        """A file of a tree."""
        content = self.server.files[f"/{name}"]
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def told(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON."""
        self.answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})
