"""The address of a group's registry, as ``--registry`` takes it; the password in it is never shown or stored."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sdgui.store.records import StoreError

_DRIVER = "postgresql+psycopg"
_EXAMPLE = "postgresql+psycopg://ann@db.example.org/sdgui"


@dataclass(frozen=True)
class RegistryAddress:
    """Where a PostgreSQL database is; ``str`` leaves the password out."""

    url: URL

    def __str__(self) -> str:
        url = self.url
        return URL.create(_DRIVER, url.username, None, url.host, url.port, url.database).render_as_string()

    @property
    def server(self) -> str:
        """Host and port, as libpq will take them."""
        return f"{self.url.host or 'the local socket'}:{self.url.port or 5432}"


def parse_address(text: str) -> RegistryAddress:
    """``postgresql+psycopg://USER[:PASSWORD]@HOST[:PORT]/DATABASE``; StoreError for anything else.

    Without a password, libpq's own ways apply: ``~/.pgpass``, PGPASSWORD, certificates.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(f"--registry is no database address; write it as {_EXAMPLE}.") from error
    if url.drivername not in (_DRIVER, "postgresql", "postgres"):
        raise StoreError(
            f"--registry names {url.drivername}, and a shared registry is kept in PostgreSQL; write {_EXAMPLE}."
        )
    if not url.database:
        raise StoreError(f"--registry names no database; end it with one, as in {_EXAMPLE}.")
    return RegistryAddress(url.set(drivername=_DRIVER))
