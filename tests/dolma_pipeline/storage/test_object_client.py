"""Settings, credentials and addresses of stores; copies of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage import object_client
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.storage.objects import ObjectFolder
from tests.dolma_pipeline.storage.fake_azure import AzureHandler
from tests.dolma_pipeline.storage.fake_objects import SECRET
from tests.dolma_pipeline.storage.fake_store import Handler, Server, serving
from tests.dolma_pipeline.storage.helpers import names, stored, without

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"regoin": "x"}, r"^no setting of a store named 'regoin'\. Did you mean 'region'\?"),
        ({"endpoint": "127.0.0.1:9000"}, r"the endpoint must be http\(s\)://host:port"),
        ({"endpoint": f"http://me:{SECRET}@host"}, r"the endpoint must be http"),
        ({"endpoint": f"http://host/?key={SECRET}"}, r"the endpoint must be http"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        run_folder("s3://bucket/run", settings)
    assert SECRET not in str(caught.value)


def test_missing_credentials(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_SERVICE_ACCOUNT_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    for scheme in ("s3", "gs"):
        folder = ObjectFolder(f"{scheme}://bucket/run", {"endpoint": server.endpoint})
        with pytest.raises(UsageError, match=rf"^{scheme}://bucket/run cannot be opened: no credentials were found"):
            folder.check()
        with pytest.raises(RunError, match="no credentials were found"):
            folder.read("a")
    assert not server.objects.asked


def test_missing_credentials_where_the_machine_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata address is one of loopback, where nobody listens."""
    without(monkeypatch, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    folder = ObjectFolder("s3://bucket/run", {"endpoint": server.endpoint, "region": "somewhere"})
    with pytest.raises(UsageError, match=r"^s3://bucket/run cannot be read: no credentials were found\. Set AWS"):
        folder.check()


def test_half_of_the_credentials(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    folder = ObjectFolder("s3://bucket/run", {"endpoint": server.endpoint})
    with pytest.raises(
        RunError, match=r"cannot be opened, GenericError: look at the environment's credentials"
    ) as caught:
        folder.read("a")
    assert SECRET not in str(caught.value)


def test_an_azure_account_and_signature_are_asked_for_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("az", AzureHandler) as one:
        folder = ObjectFolder("az://bucket/run", {"endpoint": one.endpoint})
        without(monkeypatch, "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY")
        with pytest.raises(
            RunError, match=r"^az://bucket/run cannot be opened, .*name the account: `storage: \{account"
        ):
            folder.read("a")
        monkeypatch.setenv("AZURE_STORAGE_SAS_KEY", f"sv=2020&sp=rw&sig={SECRET}")
        named = ObjectFolder("az://bucket/run", {"endpoint": one.endpoint, "account": "mine"})
        one.objects.refusal = (400, "Something")
        for ask in (lambda: named.read("a"), lambda: named.write("a", b"1"), lambda: names(named)):
            with pytest.raises(RunError, match=r"the store refused it") as caught:
                ask()
            assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "variable"),
    [("s3", "AWS_ENDPOINT_URL"), ("gs", "GOOGLE_BASE_URL"), ("az", "AZURE_STORAGE_ENDPOINT")],
)
def test_the_environment_may_name_the_store(scheme: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(scheme, AzureHandler if scheme == "az" else Handler) as one:
        monkeypatch.setenv(variable, one.endpoint)
        monkeypatch.setattr(object_client, "_CLIENTS", {})
        folder = run_folder(f"{scheme}://bucket/run")
        folder.check()
        folder.write("a", b"1")
        assert folder.read("a") == b"1"
        assert [*stored(one)] == ["run/a"]


FORKS = """
import os, sys
from dolma_pipeline.errors import RunError
from dolma_pipeline.storage.folder import run_folder
folder = run_folder("s3://bucket/run", {"endpoint": sys.argv[1]})

def in_copy():
    child = os.fork()
    if child == 0:
        try:
            folder.write("copy", b"1")
            os._exit(0)
        except RunError as error:
            os._exit(7 if "forked copy of one that had used object stores" in str(error) else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert in_copy() == 0
folder.write("parent", b"1")
assert in_copy() == 7
assert folder.read("parent") == b"1"
file = folder.stream("parent")
child = os.fork()
if child == 0:
    try:
        file.read()
    except RunError:
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert file.read() == b"1"
"""


def test_copies_of_a_process_that_used_a_store_are_told(server: Server) -> None:
    command = [sys.executable, "-c", FORKS, server.endpoint]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {*stored(server)} == {"run/copy", "run/parent"}
