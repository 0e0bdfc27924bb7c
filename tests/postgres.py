"""A PostgreSQL server for tests, where it is installed: started once per process, on a socket in a folder of its own.

It never syncs to the disk, and is thrown away at the end. Tests that need it are skipped by name without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=80")


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs; Debian keeps them off the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return folders[-1] if folders else None


class PostgresServer:
    """``address(database)``: what ``--registry`` takes."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder, self._bin = folder, bin_folder
        self._user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
        self._made = 0

    def address(self, database: str = "postgres", user: str = "sdgui", host: str = "") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={host or self.folder}"

    def start(self) -> None:
        options = " ".join([f"-k {self.folder}", "-c listen_addresses=", *(f"-c {one}" for one in SETTINGS)])
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", str(self.folder / "log"), "-w", "start"
        )
        # Ends the server on a line, and with its folder at the end of the pipe: the process of the tests was killed.
        end = 'read -r _; code=$?; "$0" -D "$1/data" -m fast stop; [ $code = 0 ] || rm -rf "$1"'
        self._end = subprocess.Popen(
            ["sh", "-c", end, str(self._bin / "pg_ctl"), self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=self._user,
            start_new_session=True,
        )

    def make(self) -> None:
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "sdgui", "--no-sync", "-E", "UTF8")

    def stop(self) -> None:
        self._end.communicate(b"\n")

    def new_database(self) -> str:
        """The address of an empty database."""
        self._made += 1
        name = f"made_{self._made}"
        self.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside of a transaction; its rows, if it has any."""
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(host=str(self.folder), user="sdgui", dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            user=self._user,
            env=os.environ | {"PGCTLTIMEOUT": "600"},  # seconds that pg_ctl waits for a start on a busy machine
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; the test is skipped where PostgreSQL or psycopg is missing."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install psycopg[binary])")
    folder = Path(tempfile.mkdtemp(prefix="sdgui-postgres-"))  # short: a socket's path has at most 107 characters
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = PostgresServer(folder, bin_folder)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
