"""The worker: a real process, spoken to as the window speaks to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core.config import override
from core.data.dataset import open_dataset
from core.encoder import encode_dataset, load_checkpoint
from core.events import Evaluated, EventReader
from core.presets import preset_config
from core.rundir import RunDir
from core.train import train
from tests.core.pictures import write_pairs


class Client:
    """Sends requests and reads replies, one line each."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "core", "worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.number = 0
        assert self.receive() == {"event": "ready"}

    def send(self, **request: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        reply: dict[str, Any] = json.loads(self.process.stdout.readline())
        return reply

    def end(self) -> None:
        """Close the pipes, as a window that is gone does; the worker ends by itself."""
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            assert self.process.wait(timeout=120) == 0

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The last reply to a request, its progress passed over."""
        self.number += 1
        self.send(id=self.number, do=do, **arguments)
        while (reply := self.receive())["event"] == "progress":
            assert reply["id"] == self.number
        return reply


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("worker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        pairs, held_out = write_pairs(folder / "pairs")
        config = override(
            preset_config("sd-clip", "tiny"),
            [f"data.train={pairs}", f"data.val={held_out}", "optim.batch_size=12", "optim.epochs=4"],
        )
        run = RunDir(folder / "run")
        train(config, run, quiet=True)
    return run


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.send(do="shutdown")
    client.end()


def test_nothing_opened_yet_is_said(client: Client) -> None:
    reply = client.ask("search", text="a red circle")
    assert (reply["event"], reply["message"]) == ("failed", "nothing is opened yet; choose a run first.")


def test_open_gives_the_numbers_of_the_log(client: Client, run: RunDir) -> None:
    reply = client.ask("open", run=str(run.path), checkpoint="last")
    result = reply["result"]
    assert result["step"] == 12
    assert result["weights"] == ["student", "teacher"]
    assert result["pictures"] == len(result["captions"]) == 12
    logged = [event for event in EventReader(run.events).read_all() if isinstance(event, Evaluated)][-1].values
    for network in ("student", "teacher"):
        for name, value in result["recall"][network].items():
            assert value == pytest.approx(logged[f"val/{network}/{name}"], abs=1e-9), name
        first = sum(rank == 1 for rank in result["ranks"][network]) / 12
        assert first == pytest.approx(logged[f"val/{network}/text_to_image_R@1"])


def test_search_by_caption_gives_scores_and_the_true_rank(client: Client, run: RunDir) -> None:
    opened = client.ask("open", run=str(run.path), checkpoint="last")["result"]
    loaded = load_checkpoint(run, "last")
    network = loaded.networks["teacher"]
    data = open_dataset(loaded.config.data.val, loaded.config.data, network.image_size, network.towers.tokenize)
    features = encode_dataset(network, data, loaded.runtime, 64, lambda *_: None)
    for caption in range(12):
        result = client.ask("search", caption=caption, k=12)["result"]
        hits = result["teacher"]
        scores = torch.tensor([float(features.texts[caption] @ image) for image in features.images])
        assert [hit["rank"] for hit in hits] == list(range(1, 13))
        assert [hit["score"] for hit in hits] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-5)
        true = [hit for hit in hits if hit["true"]]
        assert [hit["image"] for hit in true] == [opened["captions"][caption]["image"]]
        assert true[0]["rank"] == pytest.approx(result["true_rank"]["teacher"], abs=1)


def test_search_by_words(client: Client, run: RunDir) -> None:
    client.ask("open", run=str(run.path))
    result = client.ask("search", text="a red circle", k=3)["result"]
    assert len(result["student"]) == len(result["teacher"]) == 3
    assert result["true_rank"] == {"student": None, "teacher": None}
    assert not any(hit["true"] for hit in result["student"])
    assert all(Path(hit["image"]).is_file() for hit in result["student"])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"do": "open", "run": "/nowhere"}, "/nowhere has no checkpoint yet"),
        ({"do": "sing"}, "does not know 'sing'; it knows open, search"),
        ({"do": "search", "caption": 99}, "there is no caption 99; there are 12"),
        ({"do": "open", "run": "RUN", "data": "/gone.csv"}, "/gone.csv"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_worker_lives_on(
    client: Client, run: RunDir, request_: dict[str, Any], message: str
) -> None:
    client.ask("open", run=str(run.path))
    reply = client.ask(**{key: str(run.path) if value == "RUN" else value for key, value in request_.items()})
    assert reply["event"] == "failed"
    assert message in reply["message"]
    assert reply["details"] == ""
    assert client.ask("search", text="blue", k=1)["event"] == "done"


def test_a_line_that_is_no_request_is_answered(client: Client) -> None:
    assert client.process.stdin is not None
    client.process.stdin.write("hello\n")
    client.process.stdin.flush()
    reply = client.receive()
    assert (reply["event"], reply["id"]) == ("failed", None)
    assert "not a request: 'hello" in reply["message"]


def test_a_request_taken_back_ends_at_once(run: RunDir) -> None:
    client = Client()
    client.send(do="cancel", id=7)
    client.send(id=7, do="open", run=str(run.path))
    reply = client.receive()
    assert (reply["event"], reply["message"]) == ("failed", "cancelled")
    client.end()
