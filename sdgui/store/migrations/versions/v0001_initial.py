"""All tables of the first version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sdgui.store.tables import Document

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
    _activity_to_configs()
    _experiments_to_panel_results()
    _studies_to_experiment_tags()
    _runs()
    _study_arms()
    _run_tags_to_summaries()


def _activity_to_configs() -> None:
    op.create_table(
        "activity",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_activity_experiment_id"), "activity", ["experiment_id"], unique=False)
    op.create_index(op.f("ix_activity_run_id"), "activity", ["run_id"], unique=False)
    op.create_table(
        "caption_origins",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_caption_origins")),
    )
    op.create_table(
        "captioned_images",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("refused", sa.Text(), nullable=False),
        sa.Column("made", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_captioned_images")),
        sa.UniqueConstraint("path", name=op.f("uq_captioned_images_path")),
    )
    op.create_index(op.f("ix_captioned_images_position"), "captioned_images", ["position"], unique=False)
    op.create_table(
        "configs",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("config", Document, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_configs")),
    )
    op.create_index(op.f("ix_configs_recipe"), "configs", ["recipe"], unique=False)


def _experiments_to_panel_results() -> None:
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
        "fixes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("panel", sa.String(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("found", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fixes")),
        sa.UniqueConstraint("source", "path", "caption", "label", name="uq_fixes_source"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "pair_marks",
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("wrong", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("source", "path", "caption", name=op.f("pk_pair_marks")),
    )
    op.create_table(
        "panel_results",
        sa.Column("panel", sa.String(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("made", sa.Double(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("panel", "subject", "data", name=op.f("pk_panel_results")),
    )
    op.create_index(op.f("ix_panel_results_made"), "panel_results", ["made"], unique=False)


def _studies_to_experiment_tags() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("deleted", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("folder", name=op.f("uq_studies_folder")),
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
        sa.Column("parent", sa.String(), nullable=False),
        sa.Column("queue_position", sa.Integer(), nullable=True),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("devices_asked", sa.String(), nullable=False),
        sa.Column("devices", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("remote_folder", sa.String(), nullable=False),
        sa.Column("logged", sa.Boolean(), nullable=False),
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
    op.create_index(op.f("ix_runs_digest"), "runs", ["digest"], unique=False)
    op.create_index(op.f("ix_runs_experiment_id"), "runs", ["experiment_id"], unique=False)
    op.create_index(op.f("ix_runs_queue_position"), "runs", ["queue_position"], unique=False)
    op.create_index(op.f("ix_runs_state"), "runs", ["state"], unique=False)


def _study_arms() -> None:
    op.create_table(
        "study_arms",
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_study_arms_experiment_id_experiments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_arms_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_study_arms")),
    )
    op.create_index(op.f("ix_study_arms_study_id"), "study_arms", ["study_id"], unique=False)


def _run_tags_to_summaries() -> None:
    op.create_table(
        "run_tags",
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["runs.id"], name=op.f("fk_run_tags_owner_id_runs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name=op.f("fk_run_tags_tag_id_tags"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "tag_id", name=op.f("pk_run_tags")),
    )
    op.create_index(op.f("ix_run_tags_tag_id"), "run_tags", ["tag_id"], unique=False)
    op.create_table(
        "step_values",
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("at_step", _LARGE, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("measured", _LARGE, nullable=False),
        sa.Column("offset", _LARGE, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_step_values_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("metric", "at_step", "run_id", name=op.f("pk_step_values")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_step_values_run_id"), "step_values", ["run_id"], unique=False)
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
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_summaries_metric"), "summaries", ["metric"], unique=False)
