"""The tables, as SQLAlchemy's typed declarative classes.

Flow: only ``Store`` opens sessions on these tables. A change needs a revision in ``migrations/versions`` and a new
``SCHEMA_VERSION``. Times are seconds since the epoch, as in events and status files.
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


Large = BigInteger().with_variant(Integer, "sqlite")  # SQLite's integers have any size


class JsonDocument(UserDefinedType[Any]):
    """PostgreSQL's JSONB, written and read only by SQL functions."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "JSONB"


# on SQLite, binary JSON, or text if the library is too old for it (see run_table.configs)
Document = LargeBinary().with_variant(JsonDocument(), "postgresql")


class Base(DeclarativeBase):
    """Base of all tables. Constraints are named, because SQLite's copy-and-move migrations refer to them."""

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
    """A tag of experiments and runs. Names differ in more than case (see ``sessions.tag_rows``)."""

    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(collation="NOCASE"), unique=True)


class ExperimentRow(Base):
    """A config; ``config`` is kept as text, so that one from another version is not lost."""

    __tablename__ = "experiments"
    __table_args__ = ({"sqlite_autoincrement": True},)  # ids are never reused

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    config: Mapped[str] = mapped_column(Text)
    created: Mapped[float]
    changed: Mapped[float]
    deleted: Mapped[float | None]
    note: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[TagRow]] = relationship(secondary=experiment_tags, lazy="selectin", order_by=TagRow.name)


class RunRow(Base):
    """A training run, with its progress up to ``offset`` in the events and its position in the queue."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint('"offset" >= 0', name="offset"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), index=True)
    key: Mapped[str] = mapped_column(unique=True)
    folder: Mapped[str] = mapped_column(unique=True)  # relative if inside the runs folder, so that home may move
    digest: Mapped[str] = mapped_column(index=True)
    color: Mapped[int]  # palette index; never changes
    created: Mapped[float]
    deleted: Mapped[float | None]
    state: Mapped[str] = mapped_column(index=True)
    launched: Mapped[float | None]
    started: Mapped[float | None]
    finished: Mapped[float | None]
    training_seconds: Mapped[float] = mapped_column(default=0.0)
    last_event: Mapped[float | None]
    step: Mapped[int] = mapped_column(Large, default=0)
    total_steps: Mapped[int] = mapped_column(Large, default=0)
    best_metric: Mapped[str] = mapped_column(default="")
    best_value: Mapped[float | None]
    best_step: Mapped[int] = mapped_column(Large, default=0)
    offset: Mapped[int] = mapped_column(Large, default=0)
    ending: Mapped[str] = mapped_column(default="")
    failure: Mapped[str] = mapped_column(Text, default="")
    parent: Mapped[str] = mapped_column(default="")  # description of the run that it continues, forks or fine-tunes
    queue_position: Mapped[int | None] = mapped_column(index=True)
    machine: Mapped[str] = mapped_column(default="")  # "" for the computer with the run folder
    devices_asked: Mapped[str] = mapped_column(default="")  # indices such as "0,1"; "" for any
    devices: Mapped[str] = mapped_column(default="")  # the devices of its last start
    owner: Mapped[str] = mapped_column(default="")  # who launched or queued it
    remote_folder: Mapped[str] = mapped_column(default="")  # computer and folder of a remote run
    logged: Mapped[bool] = mapped_column(default=False)  # logged by a user's script (core.start_run)
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
    __table_args__ = ({"sqlite_with_rowid": False},)  # rows in key order: a lookup reads one page

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True, index=True)
    last: Mapped[float | None]
    last_step: Mapped[int] = mapped_column(Large)
    best: Mapped[float | None]
    best_step: Mapped[int] = mapped_column(Large)


class StepValueRow(Base):
    """The last value of a metric up to a requested step, from the first ``offset`` bytes of the events.

    ``measured``: the step of that point, or -1 if there is none; ``value`` is then NULL, as for non-finite values.
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
    path: Mapped[bytes] = mapped_column(LargeBinary, unique=True)  # raw bytes, because file names need not be UTF-8
    position: Mapped[int] = mapped_column(index=True)
    text: Mapped[str] = mapped_column(Text)
    origin: Mapped[str]
    refused: Mapped[str] = mapped_column(Text)
    made: Mapped[str] = mapped_column(Text)


class CaptionOriginRow(Base):
    """The model, weights and settings that generated captions, as JSON."""

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
    """A user's mark on a pair of a data source: mismatched or correct."""

    __tablename__ = "pair_marks"

    source: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    path: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    caption: Mapped[str] = mapped_column(Text, primary_key=True)
    wrong: Mapped[bool]


class FixRow(Base):
    """An entry of the basket: a change to a data source. The newest entry per subject counts."""

    __tablename__ = "fixes"
    __table_args__ = (
        UniqueConstraint("source", "path", "caption", "label", name="uq_fixes_source"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[bytes] = mapped_column(LargeBinary)  # empty: every source that contains the image
    path: Mapped[bytes] = mapped_column(LargeBinary)
    caption: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(Text)
    kind: Mapped[str]
    value: Mapped[str] = mapped_column(Text)
    panel: Mapped[str]
    run: Mapped[str] = mapped_column(Text)
    found: Mapped[float]


class PanelResultRow(Base):
    """A panel's last result for a run (or model) and data, as JSON, to be restored after a restart."""

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
