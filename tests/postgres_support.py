"""A PostgreSQL of the tests' own: Debian's server on a socket in a temporary directory, and places in it.

Nothing of it outlives the tests, so it need not reach the disk (fsync off).
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

PROGRAMS = Path("/usr/lib/postgresql/15/bin")  # where Debian 12 has them
FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB"}


@dataclass(slots=True)
class PostgreSQL:
    """One server. Every method may be called again."""

    folder: Path
    settings: Mapping[str, str]
    _numbers: "count[int]" = field(default_factory=count)

    def start(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "start")

    def stop(self) -> None:
        """At once, as a server that fails: whoever is connected loses that."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def make(self) -> None:
        """Make the server's files, and start it."""
        self._run("initdb", "-D", self.data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in self.settings.items())
            file.write("listen_addresses = ''\n")
            file.write(f"unix_socket_directories = '{self.folder}'\n")
        self.start()

    def new_place(self) -> str:
        """Return a URL under which nothing is yet: of a role that may make tables in a schema of its own."""
        name = f"t{next(self._numbers)}"
        self.query(f"CREATE ROLE {name} LOGIN; CREATE SCHEMA AUTHORIZATION {name}")
        return self.url(name)

    def url(self, user: str) -> str:
        return f"postgresql+psycopg://{user}@/postgres?host={self.folder}"

    def query(self, sql: str) -> str:
        """Run SQL as the owner of everything; return what psql prints, unadorned."""
        return self._run("psql", "-h", self.folder, "-U", "tests", "-d", "postgres", "-XAtqc", sql)

    def _run(self, program: str, *arguments: object) -> str:
        """Run a program of PostgreSQL, which refuses to be root."""
        line = [str(PROGRAMS / program), *map(str, arguments)]
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            line = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *line]
        # Not a pipe for its output: the server would hold it open.
        with tempfile.TemporaryFile() as told:
            subprocess.run(line, stdout=told, stderr=told, stdin=subprocess.DEVNULL, check=True, cwd="/", timeout=60)
            told.seek(0)
            return told.read().decode().strip()


@contextmanager
def running_postgresql(settings: Mapping[str, str] = FAST) -> Iterator[PostgreSQL]:
    """Yield a server; skip by name where it is not installed."""
    if not (PROGRAMS / "initdb").exists():
        pytest.skip("PostgreSQL 15 is not installed (Debian: apt install postgresql-15)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra 'pg')")
    folder = Path(tempfile.mkdtemp(prefix="mutewatch-pg-"))  # short: the path of a socket has 107 bytes
    server = PostgreSQL(folder, settings)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        server.make()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
