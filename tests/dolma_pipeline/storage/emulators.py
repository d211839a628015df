"""Others' emulators of stores, on loopback, where `make stores` brought them: moto for S3, azurite for Azure.

Each is started once a process that runs tests, when it is first asked for. Their programs are named by environment
variables; without these the forms are not there, and the fakes of our own are what tests run on.
"""

from __future__ import annotations

import atexit
import base64
import functools
import hashlib
import hmac
import os
import socket
import subprocess
import urllib.request
from email.utils import formatdate

from tests.processes import wait_for

MOTO, AZURITE = "DOLMA_PIPELINE_MOTO", "DOLMA_PIPELINE_AZURITE"
"""Environment variables: the programs `moto_server` and `azurite-blob`."""
BUCKET = "bucket"


@functools.cache
def moto() -> str:
    """Endpoint of a moto server with an empty bucket."""
    port = _free_port()
    _begin([os.environ[MOTO], "-H", "127.0.0.1", "-p", str(port)], port)
    endpoint = f"http://127.0.0.1:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
    return endpoint


@functools.cache
def azurite() -> str:
    """Endpoint of an azurite with an empty container; account and key are those of all tests."""
    port = _free_port()
    account, key = os.environ["AZURE_STORAGE_ACCOUNT_NAME"], os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
    command = [os.environ[AZURITE], "--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    _begin(command, port, AZURITE_ACCOUNTS=f"{account}:{key}")
    endpoint = f"http://127.0.0.1:{port}/{account}"
    _make_container(endpoint, account, key)
    return endpoint


def _make_container(endpoint: str, account: str, key: str) -> None:
    """Put a container, signed as the Blob service wants it (its manual, "Authorize with Shared Key")."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    # Length zero is signed as nothing; the account is in the path as well as in the resource.
    lines = ["PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{version}"]
    resource = f"/{account}/{account}/{BUCKET}\nrestype:container"
    signed = hmac.new(base64.b64decode(key), "\n".join([*lines, resource]).encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Content-Length": "0",
        "Authorization": f"SharedKey {account}:{base64.b64encode(signed).decode()}",
    }
    request = urllib.request.Request(f"{endpoint}/{BUCKET}?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request).close()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _begin(command: list[str], port: int, **variables: str) -> None:
    """Start a server, which ends with this process, and wait until it listens."""
    server = subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    atexit.register(server.kill)

    def listens() -> bool:
        assert server.poll() is None, f"{command[0]} ended with {server.returncode}"
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens)
