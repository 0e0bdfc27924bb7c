"""The address of a shared registry, from ``--registry``; its password is never shown or stored."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sdgui.store.records import StoreError

_DRIVER = "postgresql+psycopg"
_EXAMPLE = "postgresql+psycopg://ann@db.example.org/sdgui"


@dataclass(frozen=True)
class RegistryAddress:
    """The address of a PostgreSQL database; ``str`` omits the password."""

    url: URL

    def __str__(self) -> str:
        url = self.url
        return URL.create(_DRIVER, url.username, None, url.host, url.port, url.database).render_as_string()

    @property
    def server(self) -> str:
        """Host and port, with libpq's defaults."""
        return f"{self.url.host or 'the local socket'}:{self.url.port or 5432}"


def parse_address(text: str) -> RegistryAddress:
    """Parse ``postgresql+psycopg://USER[:PASSWORD]@HOST[:PORT]/DATABASE``. Raises StoreError for anything else.

    Without a password, libpq looks it up as usual: ``~/.pgpass``, PGPASSWORD, certificates.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(f"--registry is not a database address; write it as {_EXAMPLE}.") from error
    if url.drivername not in (_DRIVER, "postgresql", "postgres"):
        raise StoreError(
            f"--registry points to a {url.drivername} database, but a registry needs PostgreSQL, as in {_EXAMPLE}."
        )
    if not url.database:
        raise StoreError(f"--registry contains no database name; append it, as in {_EXAMPLE}.")
    return RegistryAddress(url.set(drivername=_DRIVER))
