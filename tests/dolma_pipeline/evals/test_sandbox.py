"""What generated code can do. Programs check from within: one that finds itself unprotected does not pass."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError
from dolma_pipeline.evals import jail, sandbox
from dolma_pipeline.evals.sandbox import Limits, Verdict, run_code
from dolma_pipeline.evals.system_calls import CLONE, MACHINES

LIBC = "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"

NAMED = LIBC + "libc.prctl(15, b'{name}', 0, 0, 0)\n"
"""The program gives its process (and what it forks) a name that can be seen from outside."""


def verdict_of(program: str, **limits: float) -> Verdict:
    return run_code(program, allow_code=True, limits=Limits(**limits))  # type: ignore[arg-type]


def processes_named(name: str) -> list[int]:
    """Of the whole machine, those without a word left in them included."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                own = (folder / "comm").read_text().strip()
            except OSError:  # it has ended meanwhile
                continue
            if own == name:
                found.append(int(folder.name))
    return found


def wait_for(name: str, *, there: bool) -> list[int]:
    deadline = time.monotonic() + 20
    while bool(found := processes_named(name)) != there:
        assert time.monotonic() < deadline, f"processes named {name}: {found}"
        time.sleep(0.02)
    return found


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex[:15]


@pytest.mark.usefixtures("sandboxed")
class TestVerdicts:
    @pytest.mark.parametrize(
        ("program", "verdict"),
        [
            ("", ("passed", "")),
            ("def f(): return 1\nassert f() == 1", ("passed", "")),
            ("assert 1 == 2", ("failed", "AssertionError")),
            ("1 +", ("failed", "SyntaxError")),
            ("def f(n): return f(n)\nf(0)", ("failed", "RecursionError")),
            ("raise MemoryError", ("out_of_memory", "MemoryError")),
            ("input()", ("failed", "EOFError")),
            ("import ctypes; ctypes.string_at(0)", ("failed", "it was ended by signal 11 (Segmentation fault)")),
            ("import os; os.kill(os.getpid(), 9)", ("failed", "it was ended by signal 9 (Killed)")),
            ("import os; os.kill(os.getpid(), 40)", ("failed", "it was ended by signal 40 (Real-time signal 6)")),
            ("def f(a: int): pass\nassert f.__annotations__ == {'a': int}", ("passed", "")),
            ("import numpy", ("failed", "ModuleNotFoundError")),
            (
                "import __main__; assert __main__.__name__ == 'program' and not hasattr(__main__, 'libc')",
                ("passed", ""),
            ),
            ("a = '\ud800'", ("failed", "UnicodeEncodeError")),
            ("a = 'é世界😀'\nassert len(a) == 4", ("passed", "")),
        ],
    )
    def test_how_a_program_ended(self, program: str, verdict: tuple[str, str]) -> None:
        assert verdict_of(program) == verdict

    @pytest.mark.parametrize(
        ("program", "reason"),
        [
            ("import os; os._exit(0)", "it left before its end with exit code 0"),
            ("import sys; sys.exit(0)", "SystemExit"),
            ("import sys; sys.exit()\n", "SystemExit"),
            ("import os; print('passed'); os._exit(0)", "it left before its end with exit code 0"),
            (
                "import os\nfor fd in range(64):\n    try: os.write(fd, b'passed')\n    except OSError: 0\nos._exit(0)",
                "passed",
            ),
            (
                "import os\nfor fd in range(64):\n    try: os.write(fd, b'refused: no\\n')\n    except OSError: pass\n",
                "it left before its end with exit code 0",
            ),
            ("class A(Exception): pass\nA.__name__ = 'a b'\nraise A", "it left before its end with exit code 1"),
            ("import os\nos.read = os.write = os._exit = lambda *a: b''\n1/0", "ZeroDivisionError"),
        ],
    )
    def test_a_program_that_only_says_that_it_passed_has_failed(self, program: str, reason: str) -> None:
        assert verdict_of(program) == ("failed", reason)

    def test_nothing_after_the_end_of_a_program_that_has_put_other_functions_in_place_changes_it(self) -> None:
        assert verdict_of("import os\nos.read = os.write = os._exit = None").status == "passed"

    def test_its_memory_does_not_hold_the_word(self) -> None:
        program = (
            "import gc, re, sys\n"
            "frame, held = sys._getframe(), gc.get_objects()\n"
            "while frame: held.append(frame.f_locals); frame = frame.f_back\n"
            "texts = [x for one in held if isinstance(one, dict) for x in one.values() if isinstance(x, bytes)]\n"
            "assert len(texts) > 10 and not any(re.fullmatch(b'[0-9a-f]{32}', text) for text in texts), texts\n"
        )
        assert verdict_of(program) == ("passed", "")

    def test_chance_is_the_same_in_every_run(self) -> None:
        program = "import random\nassert (random.random(), hash('a')) == {}"
        seen = subprocess.run(
            [sys.executable, "-c", "import random; random.seed(0); print((random.random(), hash('a')))"],
            env={"PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert verdict_of(program.format(seen)).status == "passed"
        assert verdict_of(program.format("(0.5, 1)")).status == "failed"


@pytest.mark.usefixtures("sandboxed")
class TestLimits:
    def test_an_endless_loop_ends(self) -> None:
        assert verdict_of("while True: pass", cpu_seconds=1) == ("timed_out", "it used 1 s of a processor")

    def test_a_loop_that_ignores_the_signal_ends_too(self) -> None:
        program = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
        assert verdict_of(program, cpu_seconds=1) == ("timed_out", "it used 1 s of a processor")

    def test_a_program_that_waits_ends(self) -> None:
        assert verdict_of("import time; time.sleep(100)", wall_seconds=0.5) == ("timed_out", "it ran for 0.5 s")

    def test_memory_is_limited(self) -> None:
        assert verdict_of("x = bytearray(10 << 30)") == ("out_of_memory", "MemoryError")
        assert (
            verdict_of("x = []\nwhile True: x.append(bytes(1 << 20))", memory_bytes=200 << 20).status == "out_of_memory"
        )
        # Whatever it holds, the limit is what was asked for.
        assert verdict_of("x = bytearray(200 << 20)", memory_bytes=300 << 20).status == "passed"
        assert verdict_of("x = bytearray(400 << 20)", memory_bytes=300 << 20).status == "out_of_memory"

    def test_what_would_get_around_the_limit_on_memory_is_refused(self) -> None:
        program = LIBC + (
            "import os, mmap\n"
            "assert libc.shmget(0, 4096, 0o1600) == -1 and ctypes.get_errno() == errno.EPERM\n"
            "try: os.memfd_create('a')\nexcept PermissionError: pass\nelse: assert False\n"
            "try: mmap.mmap(-1, 10 << 30)\nexcept OSError: pass\nelse: assert False\n"
        )
        assert verdict_of(program) == ("passed", "")

    def test_files_are_limited_in_size_together_and_in_number(self) -> None:
        program = (
            "import errno, os\n"
            "written = 0\n"
            "with open('one', 'wb', buffering=0) as file:\n"
            "    try:\n"
            "        while True: written += file.write(bytes(1 << 16))\n"
            "    except OSError as error: assert error.errno == errno.EFBIG, error\n"
            "assert written == 1 << 20, written\n"
            "try: open('two', 'wb', buffering=0).write(bytes(1 << 16)); assert False\n"
            "except OSError as error: assert error.errno == errno.ENOSPC, error\n"
            "os.remove('one')\n"
            "made = 0\n"
            "try:\n"
            "    while True: os.mkdir(str(made)); made += 1\n"
            "except OSError as error: assert error.errno == errno.ENOSPC, error\n"
            "assert 0 < made <= 20, made\n"
        )
        assert verdict_of(program, file_bytes=1 << 20, num_files=20) == ("passed", "")

    def test_open_files_are_limited(self) -> None:
        program = (
            "import errno, os\nkept = []\n"
            "try:\n    while True: kept.append(os.open('/dev/null', 0))\n"
            "except OSError as error: assert error.errno == errno.EMFILE, error\n"
            "assert max(kept) == 15, kept\n"
        )
        assert verdict_of(program, num_open=16) == ("passed", "")

    def test_threads_are_limited(self) -> None:
        program = (
            "import threading\nkept = []\n"
            "try:\n"
            "    while len(kept) < 100:\n"
            "        kept.append(threading.Thread(target=threading.Event().wait, daemon=True)); kept[-1].start()\n"
            "except RuntimeError: kept.pop()\n"
            "assert len(kept) == 9, len(kept)\n"
        )
        assert verdict_of(program, num_threads=10) == ("passed", "")

    def test_limits_that_no_one_chooses(self) -> None:
        program = (
            "import os, resource, sys\n"
            "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
            "assert resource.getrlimit(resource.RLIMIT_MEMLOCK) == (0, 0)\n"
            "assert resource.getrlimit(resource.RLIMIT_MSGQUEUE) == (0, 0)\n"
            "assert resource.getrlimit(resource.RLIMIT_STACK) == (8 << 20, 8 << 20)\n"
            "assert os.statvfs('/work').f_flag & os.ST_NOEXEC and os.statvfs('/work').f_flag & os.ST_NODEV\n"
            "assert os.umask(0) == 0o077 and sys.argv == ['program.py']\n"
            "for name, values in vars(resource).items():\n"
            "    if name.startswith('RLIMIT_'):\n"
            "        soft, hard = resource.getrlimit(values)\n"
            "        try: resource.setrlimit(values, (soft, hard + 1))\n"
            "        except (ValueError, OSError): pass\n"
            "        else: assert hard == resource.RLIM_INFINITY, name\n"
        )
        assert verdict_of(program) == ("passed", "")

    def test_a_flood_of_output_goes_nowhere(self) -> None:
        assert verdict_of("for _ in range(1000): print('x' * 100_000)") == ("passed", "")

    def test_a_flood_where_verdicts_go_is_no_verdict(self) -> None:
        program = (
            "import os\n"
            "for fd in range(3, 64):\n"
            "    try: os.set_blocking(fd, False); os.write(fd, b'x' * 1_000_000)\n    except OSError: pass\n"
        )
        assert verdict_of(program).status == "failed"


@pytest.mark.usefixtures("sandboxed")
class TestProcesses:
    def test_a_fork_bomb_does_not_start(self, name: str) -> None:
        program = NAMED.format(name=name) + "import os\nwhile True: os.fork()"
        assert verdict_of(program) == ("failed", "PermissionError")
        wait_for(name, there=False)

    def test_no_other_way_to_start_a_process(self) -> None:
        program = (
            "import os, subprocess, multiprocessing\n"
            "def refused(function, *arguments):\n"
            "    try: function(*arguments)\n"
            "    except PermissionError: return True\n"
            "assert refused(os.posix_spawn, '/bin/true', ['true'], {})\n"
            "assert refused(subprocess.run, ['true'])\n"
            "assert refused(multiprocessing.get_context('fork').Process(target=print).start)\n"
        )
        assert verdict_of(program) == ("passed", "")

    def test_a_fork_bomb_stays_small_and_ends_where_forks_are_allowed(self, name: str) -> None:
        program = NAMED.format(name=name) + ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n")
        most = 0
        ended = threading.Event()

        def bomb() -> None:
            assert verdict_of(program, wall_seconds=0.7, num_threads=12, may_fork=True).status == "timed_out"
            ended.set()

        thread = threading.Thread(target=bomb)
        thread.start()
        while thread.is_alive():
            most = max(most, len(processes_named(name)))
        assert ended.is_set()
        assert 2 <= most <= 12
        wait_for(name, there=False)

    def test_a_process_that_hides_dies_with_the_rest(self, name: str) -> None:
        program = NAMED.format(name=name) + (
            "import os, signal, time\n"
            "if os.fork() == 0:\n"
            "    os.setsid()\n"
            "    if os.fork() == 0:\n"
            "        for number in range(1, 65):\n"
            "            try: signal.signal(number, signal.SIG_IGN)\n"
            "            except (OSError, ValueError): pass\n"
            "        time.sleep(100)\n"
            "    os._exit(0)\n"
            "time.sleep(1)\n"
        )
        verdicts: list[Verdict] = []
        thread = threading.Thread(target=lambda: verdicts.append(verdict_of(program, may_fork=True)))
        thread.start()
        found = wait_for(name, there=True)
        assert Path(f"/proc/{found[0]}/oom_score_adj").read_text() == "1000\n"
        thread.join()
        assert verdicts == [("passed", "")]
        assert processes_named(name) == []

    def test_it_dies_with_its_caller(self, name: str) -> None:
        program = NAMED.format(name=name) + "import time; time.sleep(100)"
        caller = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from dolma_pipeline.evals.sandbox import Limits, run_code\n"
                f"run_code({program!r}, allow_code=True, limits=Limits(wall_seconds=100))",
            ]
        )
        wait_for(name, there=True)
        caller.kill()
        caller.wait()
        wait_for(name, there=False)

    def test_a_sandbox_that_hangs_is_killed(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = Path(jail.__file__).read_text()
        (tmp_path / "jail.py").write_text(source.replace('task["wall_seconds"])', "1000)"))
        monkeypatch.setattr(sandbox, "JAIL", tmp_path / "jail.py")
        monkeypatch.setattr(sandbox, "GRACE_SECONDS", 0.5)
        with pytest.raises(RunError, match="without a verdict"):
            verdict_of(NAMED.format(name=name) + "import time; time.sleep(100)", wall_seconds=0.5)
        wait_for(name, there=False)

    def test_nothing_of_it_is_left_in_the_caller(self) -> None:
        before = threading.enumerate()
        assert verdict_of("") == ("passed", "")
        assert threading.enumerate() == before

    def test_it_kills_nothing_outside(self) -> None:
        program = (
            "import os, signal\n"
            "assert (os.getpid(), os.getppid()) == (2, 1)\n"
            "for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV):\n"
            "    try: os.kill(os.getppid(), number)\n"  # of the caller's own user it is allowed, and ignored
            "    except PermissionError: pass\n"
            "try: os.kill(-1, signal.SIGKILL)\nexcept (ProcessLookupError, PermissionError): pass\n"
            f"try: os.kill({os.getpid()}, 0)\nexcept ProcessLookupError: pass\nelse: assert False\n"
        )
        assert verdict_of(program) == ("passed", "")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.usefixtures("sandboxed")
class TestWorld:
    def test_namespaces_of_its_own(self, name: str) -> None:
        program = NAMED.format(name=name) + "import time; time.sleep(0.7)"
        thread = threading.Thread(target=verdict_of, args=(program,))
        thread.start()
        (found,) = wait_for(name, there=True)
        outside = parent(parent(found))
        kinds = ("user", "mnt", "net", "ipc", "uts", "cgroup", "pid_for_children")
        shared = [
            kind for kind in kinds if len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in ("self", outside)}) < 2
        ]
        thread.join()
        assert shared == []

    def test_no_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_TOKEN", "secret")
        monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
        program = (
            "import os\nassert set(os.environ) == {'PYTHONHASHSEED', 'HOME', 'TMPDIR', 'LC_ALL', 'TZ'}, os.environ"
        )
        assert verdict_of(program) == ("passed", "")

    def test_no_open_files_of_others(self) -> None:
        """Standard input and output, where its word lies and where verdicts go."""
        program = (
            "import os\nfound = []\n"
            "for number in range(64):\n"
            "    try: found.append(os.fstat(number).st_rdev)\n    except OSError: pass\n"
            "assert found == [os.stat('/dev/null').st_rdev] * 3 + [0, 0], found\n"
        )
        assert verdict_of(program) == ("passed", "")

    def test_no_files_but_the_standard_library(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("word")
        secret.chmod(0o644)
        allowed = sorted({Path(folder).parts[1] for folder in sandbox._folders()} | {"dev", "work"})
        program = (
            "import os, json\n"
            f"assert not os.path.exists({str(secret)!r}) and not os.path.exists({__file__!r})\n"
            f"assert sorted(os.listdir('/')) == {allowed}, os.listdir('/')\n"
            "assert os.listdir('/..') == os.listdir('/../..') == os.listdir('/')\n"  # where the old root would lie
            "assert os.listdir('/dev') == ['null']\n"
            "assert not os.path.exists('/proc') and not os.path.exists('/etc') and not os.path.exists('/usr/bin')\n"
            "assert os.getcwd() == os.environ['HOME'] == '/work' and os.listdir() == []\n"
        )
        assert verdict_of(program) == ("passed", "")

    def test_it_writes_in_its_folder_only_and_each_has_its_own(self, tmp_path: Path) -> None:
        before = sorted(os.listdir(tmp_path))
        folders = ["/", "/dev", os.path.dirname(os.__file__), *sandbox._folders(), str(tmp_path), "/tmp"]
        program = (
            "import os, tempfile\n"
            "assert os.listdir() == []\n"
            "open('a', 'w').write('b'); assert open('/work/a').read() == 'b'\n"
            "tempfile.NamedTemporaryFile().write(b'x')\n"
            f"for folder in {folders}:\n"
            "    try: open(os.path.join(folder, 'a'), 'w')\n"
            "    except OSError: pass\n"
            "    else: assert False, folder\n"
            f"for file in ({os.__file__!r}, '/dev/null'):\n"
            "    for function in (os.remove, lambda path: os.chmod(path, 0o777)):\n"
            "        try: function(file)\n"
            "        except OSError: pass\n"
            "        else: assert False, file\n"
        )
        assert verdict_of(program) == ("passed", "")
        assert verdict_of(program) == ("passed", "")
        assert sorted(os.listdir(tmp_path)) == before
        assert not Path("/work/a").exists()

    def test_the_library_cannot_be_written_by_rights_of_files_alone(self) -> None:
        """Each mount is read-only, so that even its owner could not write."""
        program = "import os\n" + "".join(
            f"assert os.statvfs({folder!r}).f_flag & os.ST_RDONLY and os.statvfs({folder!r}).f_flag & os.ST_NOSUID\n"
            for folder in ["/", "/dev/null", *sandbox._folders()]
            if folder != "/"
        )
        assert verdict_of(program + "assert os.statvfs('/').f_flag & os.ST_RDONLY") == ("passed", "")

    def test_no_network(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.1)
            program = (
                "import errno, socket\n"
                f"try: socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=5)\n"
                "except OSError as error: assert error.errno == errno.ENETUNREACH, error\n"
                "else: assert False\n"
            )
            assert verdict_of(program) == ("passed", "")
            with pytest.raises(TimeoutError):
                server.accept()

    def test_no_sockets_that_leave_by_other_ways(self) -> None:
        program = (
            "import socket\n"
            "for family in (16, 17, 38, 40):\n"
            "    try: socket.socket(family, socket.SOCK_DGRAM)\n"
            "    except PermissionError: pass\n"
            "    else: assert False, family\n"
            "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n"
        )
        assert verdict_of(program) == ("passed", "")

    def test_no_rights_and_no_way_to_any(self) -> None:
        program = LIBC + (
            "import os, socket, struct\n"
            f"assert os.getresuid() == os.getresgid() == ({jail.NOBODY},) * 3\n"
            "header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()\n"
            "assert libc.capget(header, data) == 0 and not any(data)\n"
            "assert all(libc.prctl(23, number, 0, 0, 0) != 1 for number in range(64))\n"  # PR_CAPBSET_READ
            "assert libc.prctl(39, 0, 0, 0, 0) == 1\n"  # PR_GET_NO_NEW_PRIVS
            "assert libc.prctl(21, 0, 0, 0, 0) == 2\n"  # PR_GET_SECCOMP
            "def refused(result): return result == -1 and ctypes.get_errno() == errno.EPERM\n"
            "assert refused(libc.unshare(0x10000000)) and refused(libc.mount(b'a', b'/work', b'tmpfs', 0, None))\n"
            "assert refused(libc.ptrace(16, 1, 0, 0)) and refused(libc.chroot(b'/work'))\n"
            "assert refused(libc.syscall(425, 1, 0)) and libc.setresuid(0, 0, 0) == -1\n"
            "assert libc.syscall(435, 0, 0) == -1 and ctypes.get_errno() == errno.ENOSYS\n"
            "assert socket.gethostname() == 'sandbox'\n"
        )
        assert verdict_of(program) == ("passed", "")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can join groups, and leave them")
    def test_root_takes_no_groups_along(self) -> None:
        own = os.getgroups()
        os.setgroups([0, 4])
        try:
            assert verdict_of("import os\nassert os.getgroups() == []") == ("passed", "")
        finally:
            os.setgroups(own)

    def test_no_namespaces_by_clone_where_forks_are_allowed(self) -> None:
        number = CLONE[MACHINES.index(platform.machine())]
        program = LIBC + (
            f"assert libc.syscall({number}, 0x10000000 | 17, 0, 0, 0, 0) == -1 and ctypes.get_errno() == errno.EPERM\n"
            "import os\nassert os.waitpid(os.fork() or os._exit(0), 0)[1] == 0"
        )
        assert verdict_of(program, may_fork=True) == ("passed", "")
