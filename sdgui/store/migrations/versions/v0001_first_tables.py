"""The first tables: experiments, runs, summaries and tags."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LARGE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # SQLite's NOCASE by its name: words that differ in case alone are equal.
        same = "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        op.execute(f'CREATE COLLATION IF NOT EXISTS "NOCASE" {same}')
    _experiments_and_tags()
    _runs()
    _summaries()


def _experiments_and_tags() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.Column("deleted", sa.Double(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(collation="NOCASE"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("name", name=op.f("uq_tags_name")),
    )
    op.create_table(
        "experiment_tags",
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["experiments.id"], name=op.f("fk_experiment_tags_owner_id_experiments"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_experiment_tags_tag_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner_id", "tag_id", name=op.f("pk_experiment_tags")),
    )
    op.create_index(op.f("ix_experiment_tags_tag_id"), "experiment_tags", ["tag_id"], unique=False)


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("deleted", sa.Double(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("launched", sa.Double(), nullable=True),
        sa.Column("started", sa.Double(), nullable=True),
        sa.Column("finished", sa.Double(), nullable=True),
        sa.Column("step", _LARGE, nullable=False),
        sa.Column("total_steps", _LARGE, nullable=False),
        sa.Column("best_metric", sa.String(), nullable=False),
        sa.Column("best_value", sa.Double(), nullable=True),
        sa.Column("best_step", _LARGE, nullable=False),
        sa.Column("offset", _LARGE, nullable=False),
        sa.Column("ending", sa.String(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("queue_position", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint('"offset" >= 0', name=op.f("ck_runs_offset")),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_runs_experiment_id_experiments"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("folder", name=op.f("uq_runs_folder")),
        sa.UniqueConstraint("key", name=op.f("uq_runs_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_runs_experiment_id"), "runs", ["experiment_id"], unique=False)
    op.create_index(op.f("ix_runs_queue_position"), "runs", ["queue_position"], unique=False)
    op.create_index(op.f("ix_runs_state"), "runs", ["state"], unique=False)
    op.create_table(
        "run_tags",
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["runs.id"], name=op.f("fk_run_tags_owner_id_runs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name=op.f("fk_run_tags_tag_id_tags"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "tag_id", name=op.f("pk_run_tags")),
    )
    op.create_index(op.f("ix_run_tags_tag_id"), "run_tags", ["tag_id"], unique=False)


def _summaries() -> None:
    op.create_table(
        "summaries",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("last", sa.Double(), nullable=True),
        sa.Column("last_step", _LARGE, nullable=False),
        sa.Column("best", sa.Double(), nullable=True),
        sa.Column("best_step", _LARGE, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_summaries_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "metric", name=op.f("pk_summaries")),
    )


def downgrade() -> None:
    for table in ("summaries", "run_tags", "runs", "experiment_tags", "tags", "experiments"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute('DROP COLLATION IF EXISTS "NOCASE"')
