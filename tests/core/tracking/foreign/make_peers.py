"""Writes ``peers/``: small logs by the tools' own writers, and beside each the points that its own reader returns.

    pip install tensorboard==2.21.0 wandb==0.31.0 mlflow-skinny==3.17.2 sqlalchemy alembic trackio==0.43.0
    python make_peers.py tensorboard wandb mlflow trackio
    pip install lightning-fabric transformers open_clip_torch
    python make_peers.py lightning transformers open_clip

SQLite files are committed as SQL. ``points.json``: name of a metric -> [step, value, seconds since the epoch].
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PEERS = Path(__file__).parent / "peers"
STEPS = 8


def main() -> None:
    os.environ["LOGNAME"] = "user"
    for name in sys.argv[1:]:
        shutil.rmtree(PEERS / name, ignore_errors=True)
        (PEERS / name).mkdir(parents=True)
        points = globals()[name](PEERS / name)
        (PEERS / name / "points.json").write_text(json.dumps(points) + "\n")
        for path in PEERS.rglob("*"):
            if path.suffix in (".yaml", ".sql", ".txt"):
                path.write_text(path.read_text().replace(str(PEERS), "/logs").replace(str(Path.cwd()), "/logs"))


def logged(step: int) -> dict[str, float]:
    return {"train/loss": 1 / (step + 1), "val/acc": step / STEPS}


def tensorboard(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    writer = EventFileWriter(str(folder / "log"))
    writer.add_event(Event(wall_time=1.7e9, summary=summary_v2.hparams_pb({"lr": 0.001, "name": "a", "on": True})))
    for step in range(STEPS):
        for name, value in logged(step).items():
            summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=summary))
        value = Summary.Value(tag="tf2", tensor=make_tensor_proto(step / 3, dtype="float32"))
        value.metadata.plugin_data.plugin_name = "scalars"
        writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=[value])))
    image = Summary.Image(height=1, width=1, colorspace=3, encoded_image_string=b"png" * 100)
    writer.add_event(Event(wall_time=1.7e9, step=1, summary=Summary(value=[Summary.Value(tag="im", image=image)])))
    writer.close()
    accumulator = EventAccumulator(str(folder / "log"))
    accumulator.Reload()
    points = {
        name: [[scalar.step, scalar.value, scalar.wall_time] for scalar in accumulator.Scalars(name)]
        for name in accumulator.Tags()["scalars"]
    }
    points["tf2"] = [
        [tensor.step, tensor.tensor_proto.float_val[0], tensor.wall_time] for tensor in accumulator.Tensors("tf2")
    ]
    return points


def wandb(folder: Path) -> Any:
    import wandb as library
    from wandb.proto.wandb_internal_pb2 import Record

    settings = library.Settings(
        mode="offline", console="off", x_disable_stats=True, silent=True, host="host", x_disable_meta=True,
        x_disable_machine_info=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        run = library.init(
            project="cifar", name="baseline", dir=temporary, config={"lr": 1e-3, "model": {"width": 8}},
            tags=["first", "second"], settings=settings,
        )  # fmt: skip
        for step in range(STEPS):
            run.log({"train": {"loss": 1 / (step + 1)}, "val/acc": step / STEPS, "text": "no number"}, step=step)
        run.log({"histogram": library.Histogram([1, 2, 3], num_bins=2), "bad": float("nan")}, step=STEPS + 1)
        run.finish()
        (file,) = Path(temporary).rglob("*.wandb")
        (folder / file.parent.name).mkdir()
        shutil.copy(file, folder / file.parent.name / file.name)
    points: dict[str, Any] = {}
    for data in _leveldb_records((folder / file.parent.name / file.name).read_bytes()):
        record = Record.FromString(data)
        items = {"/".join(item.nested_key or [item.key]): json.loads(item.value_json) for item in record.history.item}
        for name, value in items.items():
            if name[:1] != "_" and isinstance(value, (int, float)):
                points.setdefault(name, []).append([record.history.step.num, value, items["_timestamp"]])
    return points


def _leveldb_records(data: bytes) -> Any:
    """As wandb's own DataStore of version 0.19, which later versions have in Go."""
    at, pieces = 7, []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        pieces.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):
            yield b"".join(pieces)
            pieces = []


def mlflow(folder: Path) -> Any:
    os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "1", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_DISABLE_TELEMETRY": "true"}
    import mlflow as library
    from mlflow.tracking import MlflowClient

    points = {}
    with tempfile.TemporaryDirectory() as temporary:
        for store in (f"sqlite:///{temporary}/mlflow.db", f"{folder}/mlruns"):
            library.set_tracking_uri(store)
            library.set_registry_uri(str(folder / "registry"))
            library.set_experiment("cifar")
            with library.start_run(run_name="baseline") as run:
                library.log_params({"lr": 1e-3, "width": 8})
                library.set_tags({"team": "vision", "seen": ""})
                for step in range(STEPS):
                    library.log_metrics(logged(step), step=step)
                library.log_metric("bad", float("nan"), step=STEPS)
                if not store.startswith("sqlite"):  # which stores the largest float instead
                    library.log_metric("large", float("inf"), step=STEPS)
            client = MlflowClient(store)
            key = "sqlite" if store.startswith("sqlite") else "files"
            run_data = client.get_run(run.info.run_id).data
            points[key] = {
                name: [[m.step, m.value, m.timestamp / 1000] for m in client.get_metric_history(run.info.run_id, name)]
                for name in run_data.metrics
            }
        tables = ("experiments", "runs", "metrics", "params", "tags")
        (folder / "mlflow.sql").write_text(_dump(Path(temporary, "mlflow.db"), tables))
    shutil.rmtree(folder / "registry", ignore_errors=True)
    return points


def trackio(folder: Path) -> Any:
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TRACKIO_DIR"] = temporary
        import trackio as library

        library.init(project="cifar", name="baseline", config={"lr": 1e-3, "model": {"width": 8}})
        for step in range(STEPS):
            library.log({"train": {"loss": 1 / (step + 1)}, "val/acc": step / STEPS, "text": "no"}, step=step)
        library.log({"bad": float("nan"), "large": float("inf")}, step=STEPS)
        library.finish()
        from trackio.sqlite_storage import SQLiteStorage

        logs = SQLiteStorage.get_logs("cifar", "baseline")
        (folder / "cifar.sql").write_text(_dump(Path(temporary, "cifar.db"), ("metrics", "configs", "system_metrics")))
    points: dict[str, Any] = {}
    for log in logs:
        for name, value in {**log, **{f"train/{inner}": v for inner, v in log.get("train", {}).items()}}.items():
            if isinstance(value, (int, float)) and name != "step":
                points.setdefault(name, []).append([log["step"], value, log["timestamp"]])
    return points


def _dump(path: Path, tables: tuple[str, ...]) -> str:
    """The SQL of some tables, with their indexes."""
    source, copy = sqlite3.connect(path), sqlite3.connect(":memory:")
    for (sql,) in source.execute(
        f"SELECT sql FROM sqlite_master WHERE tbl_name IN ({','.join('?' * len(tables))}) AND sql NOT NULL"
        " ORDER BY type DESC",
        tables,
    ):
        copy.execute(sql)
    for table in tables:
        for row in source.execute(f"SELECT * FROM {table}"):
            copy.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
    copy.commit()
    return "\n".join(copy.iterdump()) + "\n"


def lightning(folder: Path) -> Any:
    from lightning_fabric.loggers.csv_logs import CSVLogger

    logger = CSVLogger(str(folder), name="exp", flush_logs_every_n_steps=3)
    points: dict[str, Any] = {}
    for step in range(STEPS):
        for values in (logged(step),) if step % 4 == 3 else ({"train/loss": 1 / (step + 1)},):
            logger.log_metrics(values, step=step)
            for name, value in values.items():
                points.setdefault(name, []).append([step, value, None])
    logger.save()
    return points


def transformers(folder: Path) -> Any:
    from transformers import TrainerState

    history: list[dict[str, float]] = []
    for step in range(1, STEPS + 1):
        history.append({"loss": 1 / step, "learning_rate": 1e-3, "epoch": step / 4, "step": step})
        if step % 4 == 0:
            history.append({"eval_loss": 2 / step, "epoch": step / 4, "step": step})
            state = TrainerState(global_step=step, max_steps=STEPS, log_history=list(history))
            (folder / f"checkpoint-{step}").mkdir()
            state.save_to_json(str(folder / f"checkpoint-{step}" / "trainer_state.json"))
    points: dict[str, Any] = {}
    for entry in TrainerState.load_from_json(str(folder / f"checkpoint-{STEPS}" / "trainer_state.json")).log_history:
        for name, value in entry.items():
            if name != "step":
                points.setdefault(name, []).append([entry["step"], value, None])
    return points


def open_clip(folder: Path) -> Any:
    import logging

    import torch
    from open_clip import ClipLoss
    from open_clip_train import train
    from open_clip_train.logger import setup_logging

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.logit_scale = torch.nn.Linear(4, 4), torch.nn.Parameter(torch.tensor(2.6))

        def forward(self, images: Any, texts: Any) -> Any:
            return {
                "image_features": torch.nn.functional.normalize(self.layer(images), dim=-1),
                "text_features": torch.nn.functional.normalize(texts, dim=-1),
                "logit_scale": self.logit_scale.exp(),
            }

    batches = [(torch.randn(2, 4), torch.randn(2, 4)) for _ in range(4)]

    class Loader(list):  # type: ignore[type-arg]
        num_batches, num_samples = 4, 8

    loader = SimpleNamespace(dataloader=Loader(batches), set_epoch=lambda _epoch: None)
    args = SimpleNamespace(
        device="cpu", precision="fp32", accum_freq=1, distill=False, skip_scheduler=True, grad_clip_norm=None,
        batch_size=2, world_size=1, rank=0, local_rank=0, log_every_n_steps=2, wandb=False, save_logs=True,
        horovod=False, checkpoint_path=str(folder / "demo" / "checkpoints"), val_frequency=1, zeroshot_frequency=0,
        epochs=2, distributed=False, model="tiny", lr=0.1,
    )  # fmt: skip
    (folder / "demo" / "checkpoints").mkdir(parents=True)
    setup_logging(str(folder / "demo" / "out.log"), logging.INFO)
    (folder / "demo" / "params.txt").write_text("".join(f"{name}: {vars(args)[name]}\n" for name in sorted(vars(args))))
    points: dict[str, Any] = {}

    class Writer:
        def __init__(self, steps_per_epoch: int) -> None:
            self.factor = steps_per_epoch

        def add_scalar(self, name: str, value: float, step: int) -> None:
            points.setdefault(name, []).append([step * self.factor, float(value), None])

    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for epoch in range(2):
        data = {"train": loader, "val": loader}
        train.train_one_epoch(model, data, ClipLoss(), epoch, optimizer, None, None, None, args, tb_writer=Writer(1))
        train.evaluate(model, data, epoch + 1, args, tb_writer=Writer(4))
    logging.shutdown()
    return points


if __name__ == "__main__":
    main()
