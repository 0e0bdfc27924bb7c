"""The tables, as SQLAlchemy's typed declarative classes.

Flow: ``Store`` alone makes sessions over these; a change here needs a revision under ``migrations/versions`` and
``SCHEMA_VERSION`` raised to it. Times are seconds since the epoch, as in events and status files.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import UserDefinedType

SCHEMA_VERSION = "0001"  # the newest revision; digits that count up


Large = BigInteger().with_variant(Integer, "sqlite")  # SQLite's own integers are of any size


class JsonDocument(UserDefinedType[Any]):
    """PostgreSQL's JSONB, written and read only by SQL functions."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "JSONB"


# SQLite's column holds its own binary JSON, or text where the library is older than that (see run_table.configs).
Document = LargeBinary().with_variant(JsonDocument(), "postgresql")


class Base(DeclarativeBase):
    """Constraints have names, so that SQLite's copy-and-move migrations can name them."""

    type_annotation_map: ClassVar[dict[type, Any]] = {float: Double()}
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def _link(table: str, owner: str) -> Table:
    return Table(
        table,
        Base.metadata,
        Column("owner_id", ForeignKey(f"{owner}.id", ondelete="CASCADE"), primary_key=True),
        Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, index=True),
    )


experiment_tags = _link("experiment_tags", "experiments")
run_tags = _link("run_tags", "runs")


class TagRow(Base):
    """A tag of experiments and runs."""

    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(collation="NOCASE"), unique=True)


class ExperimentRow(Base):
    """A config; ``config`` is kept as text, so that one from another version is not lost."""

    __tablename__ = "experiments"
    __table_args__ = ({"sqlite_autoincrement": True},)  # an id is never given twice

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    config: Mapped[str] = mapped_column(Text)
    created: Mapped[float]
    changed: Mapped[float]
    deleted: Mapped[float | None]
    note: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[TagRow]] = relationship(secondary=experiment_tags, lazy="selectin", order_by=TagRow.name)


class RunRow(Base):
    """A training run: its progress by the events up to ``offset``, and its position in the queue."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint('"offset" >= 0', name="offset"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), index=True)
    key: Mapped[str] = mapped_column(unique=True)
    folder: Mapped[str] = mapped_column(unique=True)  # under the runs folder: relative, so that home may move
    digest: Mapped[str] = mapped_column(index=True)
    color: Mapped[int]  # palette index, given once, so that nothing that happens later changes it
    created: Mapped[float]
    deleted: Mapped[float | None]
    state: Mapped[str] = mapped_column(index=True)
    launched: Mapped[float | None]
    started: Mapped[float | None]
    finished: Mapped[float | None]
    step: Mapped[int] = mapped_column(Large, default=0)
    total_steps: Mapped[int] = mapped_column(Large, default=0)
    best_metric: Mapped[str] = mapped_column(default="")
    best_value: Mapped[float | None]
    best_step: Mapped[int] = mapped_column(Large, default=0)
    offset: Mapped[int] = mapped_column(Large, default=0)
    ending: Mapped[str] = mapped_column(default="")
    failure: Mapped[str] = mapped_column(Text, default="")
    parent: Mapped[str] = mapped_column(default="")  # the run that it continues, forks or fine-tunes, in words
    queue_position: Mapped[int | None] = mapped_column(index=True)
    machine: Mapped[str] = mapped_column(default="")  # where it trains; "" for the machine with its folder
    devices_asked: Mapped[str] = mapped_column(default="")  # "" for any, else their indices: "0", "0,1"
    devices: Mapped[str] = mapped_column(default="")  # the devices of its last start
    owner: Mapped[str] = mapped_column(default="")  # who launched or queued it
    remote_folder: Mapped[str] = mapped_column(default="")  # computer and folder of a run elsewhere, like ``folder``
    logged: Mapped[bool] = mapped_column(default=False)  # by a script of the user's own (core.start_run)
    note: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[TagRow]] = relationship(secondary=run_tags, lazy="selectin", order_by=TagRow.name)


class ConfigRow(Base):
    """A config that runs were launched with, to filter and compare them by; the run folder has the original."""

    __tablename__ = "configs"

    digest: Mapped[str] = mapped_column(primary_key=True)
    recipe: Mapped[str] = mapped_column(index=True)  # the digest without name and seed
    config: Mapped[Any] = mapped_column(Document)


class SummaryRow(Base):
    """Last and best value of one metric of one run; NULL for nan, which SQLite cannot store."""

    __tablename__ = "summaries"
    __table_args__ = ({"sqlite_with_rowid": False},)  # rows are stored in key order: one page read finds one

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True, index=True)
    last: Mapped[float | None]
    last_step: Mapped[int] = mapped_column(Large)
    best: Mapped[float | None]
    best_step: Mapped[int] = mapped_column(Large)


class StepValueRow(Base):
    """The last value of a metric up to a requested step, from the first ``offset`` bytes of the events.

    ``measured``: the step of that point, -1 without one; ``value`` is NULL then, and where it is not finite.
    """

    __tablename__ = "step_values"
    __table_args__ = ({"sqlite_with_rowid": False},)

    metric: Mapped[str] = mapped_column(primary_key=True)
    at_step: Mapped[int] = mapped_column(Large, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, index=True)
    value: Mapped[float | None]
    measured: Mapped[int] = mapped_column(Large)
    offset: Mapped[int] = mapped_column(Large)


class CaptionedImageRow(Base):
    """An image in the list of the Caption panel; ``made`` is JSON: the captions of each of the two models."""

    __tablename__ = "captioned_images"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[bytes] = mapped_column(LargeBinary, unique=True)  # as the system has it: names need not be UTF-8
    position: Mapped[int] = mapped_column(index=True)
    text: Mapped[str] = mapped_column(Text)
    origin: Mapped[str]
    refused: Mapped[str] = mapped_column(Text)
    made: Mapped[str] = mapped_column(Text)


class CaptionOriginRow(Base):
    """Which model, weights and settings captions came from, as JSON."""

    __tablename__ = "caption_origins"

    key: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(Text)


class StudyRow(Base):
    """A study's folder, which holds its config and progress."""

    __tablename__ = "studies"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    folder: Mapped[str] = mapped_column(unique=True)  # relative to home when inside
    created: Mapped[float]
    deleted: Mapped[float | None]


class StudyArmRow(Base):
    """Which experiment lists the runs of an arm."""

    __tablename__ = "study_arms"

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    arm: Mapped[str]


class PairMarkRow(Base):
    """A user's mark on a pair of a data source: its caption is wrong, or right."""

    __tablename__ = "pair_marks"

    source: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    path: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    caption: Mapped[str] = mapped_column(Text, primary_key=True)
    wrong: Mapped[bool]


class FixRow(Base):
    """An entry of the basket: a change to a data source. The newest entry of one subject counts."""

    __tablename__ = "fixes"
    __table_args__ = (
        UniqueConstraint("source", "path", "caption", "label", name="uq_fixes_source"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[bytes] = mapped_column(LargeBinary)  # empty: whichever data have the image
    path: Mapped[bytes] = mapped_column(LargeBinary)
    caption: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(Text)
    kind: Mapped[str]
    value: Mapped[str] = mapped_column(Text)
    panel: Mapped[str]
    run: Mapped[str] = mapped_column(Text)
    found: Mapped[float]


class PanelResultRow(Base):
    """What a panel found last of a run (or model) and data, as JSON, to be shown again after a restart."""

    __tablename__ = "panel_results"

    panel: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    made: Mapped[float] = mapped_column(index=True)
    content: Mapped[str] = mapped_column(Text)


class ActivityRow(Base):
    """A change by a person; has no foreign keys, so that it outlives its subject."""

    __tablename__ = "activity"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[float]
    who: Mapped[str]
    what: Mapped[str]
    name: Mapped[str]
    experiment_id: Mapped[int | None] = mapped_column(index=True)
    run_id: Mapped[int | None] = mapped_column(index=True)
    detail: Mapped[str] = mapped_column(Text, default="")
