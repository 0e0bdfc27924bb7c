"""Commands that fail print one sentence and exit with status 1; child processes have our environment and no input."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from core import __main__ as program
from core.spec.children import environment, python_command, start_program
from core.spec.errors import UserError
from core.spec.failures import sentence

CORE = python_command("core")
LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({0}, {0})); "
    "from core.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_a_user_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*CORE, "presets"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write the output: No space left on device")
    assert done.stderr.count("\n") == 1


def test_a_closed_stdout_and_a_leaving_reader_print_no_traceback() -> None:
    silent = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", *CORE, "presets"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (silent.returncode, silent.stderr) == (0, "")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*CORE, "presets", "clip"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux has them")
def test_out_of_memory_is_a_user_error() -> None:
    code = LIMITED.format(700 << 20)
    command = [sys.executable, "-P", "-c", code, "evaluate", "open_clip:sd-tiny", "--data", "x", "--task", "knn"]
    for _ in range(3):  # torch itself may die while it is loaded, seldom, by where its memory happens to lie
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=300)
        if done.returncode >= 0 and "SyntaxError" not in done.stderr:  # Python's own, of a module that it cannot hold
            break
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: not enough memory" in done.stderr


@pytest.mark.parametrize(("error", "is_reported"), [("MemoryError()", False), ("OSError(28, 'full')", True)])
def test_failing_exit_handlers_are_reported_unless_memory_ran_out(error: str, is_reported: bool) -> None:
    """Handlers of a partially loaded library may fail."""
    code = (
        "import atexit, sys; from core import __main__ as program; atexit.register(lambda: 1 / 0); "
        f"program.make_parser = lambda: (_ for _ in ()).throw({error}); sys.exit(program.main(['presets']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert ("ZeroDivisionError" in done.stderr) == is_reported


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("fix it."), "fix it."),
        (MemoryError(), "not enough memory"),
        (SystemError("error return without exception set"), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 byte"), "not enough memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory"),
        (ImportError("No module named 'faiss'"), "reinstall sdgui"),
        (OSError(28, "No space left on device", "/full/x.csv"), "cannot write /full/x.csv: No space left on device"),
    ],
)
def test_user_errors_print_one_sentence(error: Exception, message: str) -> None:
    assert message in (sentence(error) or "")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(program.training, "_presets", broken)
    assert sentence(ZeroDivisionError()) is None
    with pytest.raises(ZeroDivisionError):
        program.main(["presets"])


def test_a_failed_command_frees_its_memory_before_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[set[int]]] = []
    printed: list[tuple[str, object]] = []

    def broken(*_: object) -> int:
        large = {1}
        held.append(weakref.ref(large))
        raise MemoryError

    monkeypatch.setattr(program.training, "_presets", broken)
    monkeypatch.setattr(program, "say_error", lambda text: printed.append((text[:24], held[0]())))
    assert program.main(["presets"]) == 1
    assert printed == [("error: not enough memory", None)]


def test_child_programs_import_nothing_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    for name in ("core/__init__.py", "psutil.py"):
        (tmp_path / name).write_text("print('not ours')\nraise SystemExit(7)\n")
    done = subprocess.run(
        [*CORE, "presets"], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 0
    assert "sd-clip" in done.stdout
    assert "not ours" not in done.stdout


_REPORT = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()), sys.flags.safe_path)"


@pytest.mark.skipif(sys.platform == "win32", reason="no sessions there")
@pytest.mark.parametrize("detached", [False, True])
def test_a_detached_child_has_no_input_and_its_own_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detached: bool
) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        child = start_program([sys.executable, "-c", _REPORT], stdout, stderr, detached)
        assert child.wait(timeout=60) == 0, err.read_text()
    assert out.read_text().split() == [str(detached), "''", "True"]
    monkeypatch.setenv("PYTHONPATH", "mine")
    assert environment()["PYTHONPATH"].split(os.pathsep)[-1] == "mine"
