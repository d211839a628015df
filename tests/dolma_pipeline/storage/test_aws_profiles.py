"""Profiles of ~/.aws through boto3; a small stand-in for it takes its place, so that it need not be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dolma_pipeline.storage.fake_store import Server
from tests.dolma_pipeline.storage.helpers import stored

ROOT = Path(__file__).parents[3]
STAND_IN = {
    "boto3/__init__.py": "from boto3.session import Session\n",
    "boto3/session.py": """
import configparser, os
from botocore.credentials import Credentials
from botocore.exceptions import ProfileNotFound
class Session:
    def __init__(self):
        self.region_name = None
    def get_credentials(self):
        found = configparser.ConfigParser()
        found.read(os.path.expanduser("~/.aws/credentials"))
        name = os.environ.get("AWS_PROFILE") or "default"
        if not found.has_section(name):
            if "AWS_PROFILE" in os.environ:
                raise ProfileNotFound("secret words")
            return None
        return Credentials(found[name]["aws_access_key_id"], found[name]["aws_secret_access_key"])
""",
    "botocore/__init__.py": "",
    "botocore/session.py": "class Session: pass\n",
    "botocore/exceptions.py": "class BotoCoreError(Exception): pass\nclass ProfileNotFound(BotoCoreError): pass\n",
    "botocore/credentials.py": """
from typing import NamedTuple
class Frozen(NamedTuple):
    access_key: str
    secret_key: str
    token: object = None
class Credentials:
    def __init__(self, key, secret):
        self.frozen = Frozen(key, secret)
    def get_frozen_credentials(self):
        return self.frozen
""",
}
WRITES = """
import sys
from dolma_pipeline.storage.folder import run_folder
run_folder("s3://bucket/run", {"endpoint": sys.argv[1], "region": "here"}).write("a", b"1")
print("boto3" in sys.modules)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in STAND_IN.items():
        (tmp_path / "stand_in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stand_in" / name).write_text(text)
    (tmp_path / ".aws").mkdir()
    key = "aws_access_key_id = {}\naws_secret_access_key = dummy\n"
    (tmp_path / ".aws/credentials").write_text(
        f"[default]\n{key.format('unknown')}[mine]\n{key.format('dummy-key-id')}"
    )
    return tmp_path


def write(server: Server, home: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """A file, in a process of its own whose home has profiles and whose environment holds no keys."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(home), **changes}
    environment["PYTHONPATH"] = f"{home / 'stand_in'}{os.pathsep}{ROOT}"
    command = [sys.executable, "-c", WRITES, server.endpoint]
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=60)


def test_the_profile_that_the_environment_names_is_used(server: Server, home: Path) -> None:
    done = write(server, home, AWS_PROFILE="mine")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert [*stored(server)] == ["run/a"]


def test_the_default_profile_is_used_and_a_store_may_not_know_it(server: Server, home: Path) -> None:
    done = write(server, home)
    assert done.returncode == 1
    assert "the store does not accept the credentials (the store said 403 InvalidAccessKeyId)" in done.stderr


def test_a_profile_that_is_not_there_is_named_and_nothing_else_is_told(server: Server, home: Path) -> None:
    done = write(server, home, AWS_PROFILE="none")
    assert (
        "s3://bucket/run cannot be opened: the profile 'none' of ~/.aws cannot be used (ProfileNotFound)" in done.stderr
    )
    assert "secret words" not in done.stderr.splitlines()[-1]
    (home / ".aws/credentials").write_text("")
    done = write(server, home)
    assert "no credentials were found" in done.stderr


def test_boto3_is_not_imported_where_the_environment_holds_keys(server: Server, home: Path) -> None:
    done = write(server, home, AWS_ACCESS_KEY_ID="dummy-key-id", AWS_SECRET_ACCESS_KEY="dummy")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
