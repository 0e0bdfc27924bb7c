"""The worker, spoken to as the window speaks to it: in a thread, and once as a process of its own."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.checkpoint.opening import open_model
from core.data.dataset import open_dataset
from core.inference.encoder import Features, encode_dataset, encode_texts
from core.spec.machines.answers import pack_bytes
from core.spec.reporter import Reporter
from core.spec.run.events import Evaluated, EventReader
from core.spec.run.folder import RunDir
from core.worker import server
from core.worker.server import Worker

WEIGHTS = ("student", "teacher")
CLOSE = 1e-5  # cosine; so near, candidates may stand either way
Reply = dict[str, Any]


class Client:
    """Sends requests to a worker in a thread of this process, and reads its replies, one line each."""

    def __init__(self) -> None:
        read, write = os.pipe()
        self._requests, self._asking = os.fdopen(read, encoding="utf-8"), os.fdopen(write, "w", encoding="utf-8")
        read, write = os.pipe()
        self._replies, answering = os.fdopen(read, encoding="utf-8"), os.fdopen(write, "w", encoding="utf-8")
        self._pipes = (self._requests, self._replies, answering)
        self._serving = threading.Thread(target=Worker(self._requests, answering).serve)
        self._serving.start()
        self.number = 0
        assert self.receive()["event"] == "ready"

    def write(self, line: str) -> None:
        self._asking.write(line + "\n")
        self._asking.flush()

    def send(self, **request: Any) -> None:
        self.write(json.dumps(request))

    def receive(self) -> Reply:
        while (reply := json.loads(self._replies.readline())) == {"event": "alive"}:
            pass
        assert isinstance(reply, dict)
        return reply

    def end(self) -> None:
        """Close the pipe of requests, as a window that is gone does; the worker ends by itself."""
        self._asking.close()
        self._serving.join(120)
        assert not self._serving.is_alive()
        for pipe in self._pipes:
            pipe.close()

    def replies(self, do: str, **arguments: Any) -> list[Reply]:
        """All that is said to a request; what is said last ends it."""
        self.number += 1
        self.send(id=self.number, do=do, **arguments)
        return self.rest(self.number)

    def rest(self, number: int) -> list[Reply]:
        """What is still said to request ``number``."""
        said = []
        while not said or said[-1]["event"] in ("progress", "partial"):
            said.append(self.receive())
            assert said[-1]["id"] == number
        return said

    def ask(self, do: str, **arguments: Any) -> Reply:
        """The last reply to a request, its progress passed over."""
        return self.replies(do, **arguments)[-1]

    def begin_long(self, number: int, source: Path) -> Reply:
        """Send a request that takes long, and return its first word from the midst of the work."""
        self.send(id=number, do="search_open", model="open_clip:sd-tiny", data=str(source))
        while (reply := self.receive())["event"] == "progress" and not 0 < reply["done"] < reply["total"]:
            assert reply["id"] == number
        return reply


class ProcessClient(Client):
    """Of ``python -m core worker``."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "core", "worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._asking, self._replies = self.process.stdin, self.process.stdout
        assert self.receive()["event"] == "ready"

    def end(self) -> None:
        with self.process:
            self._asking.close()
            assert self.process.wait(timeout=120) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For this module alone, with a cache of its own."""
    folder = tmp_path_factory.mktemp("worker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def run(folder: Path, trained_run: tuple[RunDir, Path]) -> RunDir:
    return trained_run[0]


@pytest.fixture(scope="module")
def many(run: RunDir) -> Path:
    """A table so long that its images are not through before a request can be taken back."""
    pairs = run.path.parent / "pairs"
    files = sorted(file.name for file in pairs.glob("*.png"))
    with (pairs / "many.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        writer.writerows((files[i % len(files)], f"number {i}") for i in range(8_000))
    return pairs / "many.csv"


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    client = Client()
    yield client
    client.end()


@pytest.fixture(scope="module")
def opened(client: Client, run: RunDir) -> dict[str, list[Reply]]:
    """What was said while each network was opened."""
    return {one: client.replies("search_open", model=f"{run.path}@last", weights=one) for one in WEIGHTS}


@pytest.fixture(scope="module")
def keys(opened: dict[str, list[Reply]]) -> dict[str, str]:
    return {weights: said[-1]["result"]["key"] for weights, said in opened.items()}


def test_progress_is_reported_until_the_end(opened: dict[str, list[Reply]]) -> None:
    for said in opened.values():
        assert [reply["event"] for reply in said] == ["progress"] * (len(said) - 1) + ["done"]
        assert all(set(reply) == {"id", "event", "doing", "done", "total"} for reply in said[:-1])
        told = [(reply["doing"], reply["done"], reply["total"]) for reply in said[:-1]]
        assert told[:2] == [("starting", 0, 0), ("loading the model", 0, 0)]
        assert told[-2:] == [("encoding images", 12, 12), ("encoding captions", 12, 12)]


def test_a_partial_answer_comes_before_the_whole(client: Client, keys: dict[str, str]) -> None:
    said = client.replies("search_map", key=keys["student"])
    assert [reply["event"] for reply in said if reply["event"] != "progress"] == ["partial", "done"]
    part = next(reply for reply in said if reply["event"] == "partial")
    assert set(part) == {"id", "event", "result"}
    assert (part["result"]["method"], said[-1]["result"]["method"]) == ("PCA", "t-SNE")


def test_answers_match_the_log(
    client: Client, run: RunDir, opened: dict[str, list[Reply]], keys: dict[str, str]
) -> None:
    logged = [event for event in EventReader(run.events).read_all() if isinstance(event, Evaluated)][-1]
    assert logged.step == 6
    for weights in WEIGHTS:
        result = opened[weights][-1]["result"]
        assert result["model"].removeprefix(f"{run.path}@step-").lstrip("0") == "6"
        assert (result["weights"], result["images"], result["captions"]) == (weights, 12, 12)
        answer = client.ask("search_evaluate", key=keys[weights])["result"]
        assert {"text_to_image_R@1", "image_to_text_R@10", "text_to_image_median_rank"} <= set(answer["recall"])
        for name, value in answer["recall"].items():
            assert value == pytest.approx(logged.values[f"val/{weights}/{name}"], abs=1e-9), name
        ranks = [query["rank"] for query in answer["text_to_image"]]
        assert len(ranks) == 12
        first = sum(rank == 1 for rank in ranks) / 12
        assert first == pytest.approx(logged.values[f"val/{weights}/text_to_image_R@1"])


def by_hand(run: RunDir, weights: str) -> tuple[Features, list[str], list[float]]:
    """Vectors of the held-out data, the file of each image, and each image's cosine with "a red circle"."""
    model = open_model(f"{run.path}@last", weights)
    network = model.network
    data = open_dataset(model.data.val, model.data, network.image_size, network.towers.tokenize)
    features = encode_dataset(network, data, model.runtime, 64, lambda *_: None)
    words = encode_texts(network, ["a red circle"], model.runtime)[0]
    paths = [str(data.path(row)) for row in features.rows.tolist()]
    return features, paths, [float(words @ image) for image in features.images]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_scores_and_true_ranks_match_a_plain_loop(
    client: Client, run: RunDir, keys: dict[str, str], weights: str
) -> None:
    features, paths, found = by_hand(run, weights)
    for caption in range(12):
        result = client.ask("search_query", key=keys[weights], caption=caption, k=12, group=False)["result"]
        hits = result["rows"]
        scores = [float(features.texts[caption] @ image) for image in features.images]
        assert [hit["rank"] for hit in hits] == list(range(1, 13))
        assert [hit["cosine"] for hit in hits] == pytest.approx(sorted(scores, reverse=True), abs=CLOSE)
        assert {hit["path"]: hit["cosine"] for hit in hits} == pytest.approx(
            dict(zip(paths, scores, strict=True)), abs=CLOSE
        )
        own = int(features.text_to_image[caption])
        others = [score for i, score in enumerate(scores) if i != own]
        better = sum(score > scores[own] + CLOSE for score in others)
        close = sum(abs(score - scores[own]) <= CLOSE for score in others)
        assert better + 1 <= result["true_rank"] <= better + close + 1
        true = next(hit for hit in hits if hit["row"] == result["true_row"])
        assert true["path"] == paths[own]
        assert better + 1 <= true["rank"] <= better + close + 1
    result = client.ask("search_query", key=keys[weights], texts="a red circle", k=3, group=False)["result"]
    assert [hit["cosine"] for hit in result["rows"]] == pytest.approx(sorted(found, reverse=True)[:3], abs=CLOSE)
    assert all(found[paths.index(hit["path"])] == pytest.approx(hit["cosine"], abs=CLOSE) for hit in result["rows"])
    assert (result["true_rank"], result["true_row"]) == (None, None)


def test_an_error_is_reported_and_the_worker_survives(
    client: Client, run: RunDir, keys: dict[str, str], tmp_path: Path
) -> None:
    for request, message in (
        ({"do": "sing"}, "there is no verb 'sing'; available: describe_source, "),
        ({"do": "search_query", "texts": "red"}, "no collection is open; choose an index or a run."),
        ({"do": "search_open", "model": str(tmp_path)}, "has no checkpoint yet"),
        ({"do": "search_open", "model": str(run.path), "data": "/gone.csv"}, "/gone.csv"),
    ):
        reply = client.ask(**request)
        assert reply["event"] == "failed"
        assert message in reply["message"]
        assert reply["details"] == ""
    assert client.ask("search_query", key=keys["student"], texts="blue", k=1)["event"] == "done"


def test_a_bug_becomes_a_reply_and_the_worker_survives(client: Client, keys: dict[str, str]) -> None:
    reply = client.ask("search_query", key=keys["student"], texts="blue", unheard_of=1)
    assert reply["event"] == "failed"
    assert reply["message"].startswith("TypeError: ")
    assert "unheard_of" in reply["message"]
    assert reply["details"].startswith("Traceback")
    assert client.ask("search_query", key=keys["student"], texts="blue", k=1)["event"] == "done"


def test_invalid_lines_are_answered_and_end_nothing(client: Client) -> None:
    requests = ('{"do": ["x"]}', '{"id": [1], "do": "cancel"}', '{"id": {}, "do": "receive"}')
    for line in ("hello", "[1, 2]", '{"id": 5}', '{"id": 5, "do": ', "[" * 100_000, *requests):
        client.write(line)
        reply = client.receive()
        assert (reply["event"], reply["id"], reply["details"]) == ("failed", None, "")
        assert "not a request: " + repr(line[:150])[:-1] in reply["message"]
    assert client.ask("nothing")["message"].startswith("there is no verb")


def test_a_request_cancelled_before_its_turn_is_not_started(client: Client, run: RunDir) -> None:
    client.send(do="cancel", id="early")
    client.send(id="early", do="search_open", model=str(run.path))
    reply = client.receive()
    assert reply == {"id": "early", "event": "failed", "message": "cancelled", "details": ""}


def test_a_request_whose_images_failed_is_answered_once(client: Client, run: RunDir) -> None:
    client.send(do="receive", id="with images", name="../a.png", at=0, data="")
    client.send(do="search_open", id="with images", model=str(run.path))
    reply = client.receive()
    assert (reply["id"], reply["event"]) == ("with images", "failed")
    assert "is not a valid name" in reply["message"]
    assert client.ask("nothing")["message"].startswith("there is no verb")


def test_a_worker_ends_without_its_received_images_if_the_window_is_gone() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            if '"ready"' not in text:
                raise BrokenPipeError
            return super().write(text)

    Worker(io.StringIO("no request\n"), Closed()).serve()
    part = {"do": "receive", "id": 1, "name": f"{'0' * 32}.png", "at": 0, "data": pack_bytes(b"a part")}
    worker = Worker(io.StringIO(json.dumps(part) + '\n{"id": 1, "do": "x"}\n'), Closed())
    with pytest.raises(BrokenPipeError):
        worker.serve()
    assert worker._received._bytes == len(b"a part")
    assert not worker._received.folder.exists()


def test_a_running_request_is_cancelled(client: Client, keys: dict[str, str], many: Path) -> None:
    assert client.begin_long(1001, many)["event"] == "progress"
    client.send(do="cancel", id=1001)
    said = client.rest(1001)
    assert said[-1] == {"id": 1001, "event": "failed", "message": "cancelled", "details": ""}
    assert client.ask("search_query", key=keys["student"], texts="blue", k=1)["event"] == "done"


def test_shutdown_ends_the_work_and_the_process(folder: Path, many: Path) -> None:
    client = ProcessClient()
    try:
        assert client.begin_long(1, many)["event"] == "progress"
        client.send(id=2, do="search_query", texts="never begun")
        client.send(do="shutdown")
        assert client.rest(1)[-1]["message"] == "cancelled"
        assert client.rest(2)[-1]["message"] == "cancelled"
        assert client.process.wait(timeout=120) == 0  # though its pipes are open
        assert client._replies.read() == ""
    finally:
        client.end()


def test_long_requests_send_heartbeats_and_idle_workers_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEARTBEAT_SECONDS", 0.01)
    read, write = os.pipe()
    replies = io.StringIO()
    with os.fdopen(read) as requests, os.fdopen(write, "w") as asking:
        worker = Worker(requests, replies)
        beats: list[int] = []

        def long(progress: Reporter) -> Reply:
            while replies.getvalue().count("alive") < 3:
                time.sleep(0.01)
            return {}

        def count(progress: Reporter) -> Reply:
            beats.append(replies.getvalue().count("alive"))
            return {}

        worker._verbs = {"long": long, "count": count}
        serving = threading.Thread(target=worker.serve)
        serving.start()
        for do in ("long", "count"):
            asking.write(json.dumps({"id": 1, "do": do}) + "\n")
        asking.flush()
        while not beats:
            time.sleep(0.01)
        time.sleep(0.2)  # idle
        idle = replies.getvalue().count("alive")
        asking.write('{"do": "shutdown"}\n')
        asking.flush()
        serving.join()
    assert beats[0] >= 3
    assert idle <= beats[0] + 2


def test_replies_of_two_threads_stay_complete_lines() -> None:
    """The thread that listens tells of lines that are no requests while another answers."""

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            for letter in text:  # as the system may take it: piece by piece
                super().write(letter)
                time.sleep(0)
            return len(text)

    pipe = Pipe()
    worker = Worker(io.StringIO(), pipe)
    together = threading.Barrier(2)

    def tell(number: int) -> None:
        together.wait()
        for _ in range(50):
            worker._reply({"id": number, "event": "progress", "doing": "x" * 20})

    threads = [threading.Thread(target=tell, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [json.loads(line)["id"] for line in pipe.getvalue().splitlines()]
    assert sorted(told) == [1] * 50 + [2] * 50
