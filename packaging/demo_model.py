"""Data and configs of the model that the demo opens on: a CoCa trained on color emoji by five artists.

    python packaging/icon_sets.py DATA openmoji twemoji fluent-emoji-flat fluent-emoji emojione fxemoji
    sdgui-core demo-data DEMO
    python packaging/demo_model.py DATA --demo DEMO
    sdgui-core train DATA/demo-model.json FIRST
    sdgui-core train DATA/demo-model.json SECOND --set towers.pretrained=FIRST optim.epochs=5 optim.warmup=0.05 \\
        optim.learning_rate=0.0008 objectives.contrastive.label_smoothing=0.1
    python packaging/demo_model.py DATA --captioner SECOND
    sdgui-core train DATA/captioner.json THIRD
    sdgui-core train DATA/captioner.json FOURTH --set towers.pretrained=THIRD \\
        optim.learning_rate=0.0008 optim.warmup=0.05
    python packaging/demo_model.py DATA --keywords
    sdgui-core train DATA/captioner.json FIFTH --set towers.pretrained=FOURTH data.train=DATA/train-keywords.csv \\
        optim.epochs=16 optim.warmup=0.05
    sdgui-core train DATA/captioner.json SIXTH --set towers.pretrained=FIFTH data.train=DATA/train-keywords.csv \\
        optim.epochs=14 optim.warmup=0.05 optim.learning_rate=0.0008 seed=1
    sdgui-core train DATA/captioner.json RUN --set towers.pretrained=SIXTH towers.freeze=both optim.epochs=5 \\
        optim.warmup=0.05 optim.learning_rate=0.0008
    sdgui-core evaluate RUN --data DATA/test.csv --task retrieval --json > test.json
    sdgui-core export RUN resources/models/emoji-coca --precision fp16 --licence cc-by-sa-4.0 --report test.json
    python packaging/demo_model.py DATA --finish resources/models/emoji-coca

The third command writes ``train.csv``, ``val.csv`` (500 pairs), ``test.csv`` (1,500) and ``other.csv`` (FxEmoji, whose
artist is not trained on) to ``DATA``, and the config. A caption is the emoji's Unicode name. Held out are random images
of all five sets, and OpenMoji's images of every emoji that the demo data does not train on.

First a dual encoder is trained, since its step costs half as much; the CoCa starts from its transformers. Its images
then get keywords as further captions, so that it can be searched by words that are in no name. In the last training,
the decoder alone is trained, on names. The last command replaces the weights of tokens that are in no caption by their
mean, so that the file compresses well, and adds the authors of the images to the model card.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from icon_sets import npm_archive
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file

import core
from core.checkpoint.opening import open_network
from core.data.derived.manifest import manifest
from core.model.towers.architectures import resolve_architecture
from core.model.towers.towers import build_towers
from core.spec.config import override
from core.spec.files import write_whole
from core.spec.presets import preset_config
from core.spec.run.model_names import locate

SETS = ("openmoji", "twemoji", "fluent-emoji-flat", "fluent-emoji", "emojione")
OTHER = "fxemoji"
SEED = 7
VALIDATION, TEST = 500, 1500
SETTINGS = (
    "name=emoji-clip",
    "optim.epochs=12",
    "optim.batch_size=64",
    "optim.learning_rate=0.001",
    "objectives.contrastive.label_smoothing=0.3",
    "runtime.log_every=50",
    "checkpoint.every_steps=500",
)
CAPTIONER = (
    "name=emoji-coca",
    "optim.epochs=12",
    "optim.batch_size=64",
    "optim.learning_rate=0.001",
    "objectives.contrastive.label_smoothing=0.1",
    "runtime.log_every=50",
    "checkpoint.every_steps=200",
)

Row = dict[str, str]

_AUTHORS = """The model was trained in seven stages (packaging/demo_model.py of sdgui). The table describes
the last one, which trained the decoder alone. Captions are the emoji's Unicode names and, in two of the stages,
also groups and keywords (CLDR's, Unicode-3.0, from emojibase-data, MIT). The images are emoji by five artists,
rendered at 64 pixels:
"""


def main() -> None:
    """Prepare the training, or finish the exported model."""
    parser = argparse.ArgumentParser(description="Data and config of the demo's model.")
    parser.add_argument("data", type=Path, help="folder written by icon_sets.py")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--demo", type=Path, metavar="DIR", help="demo data, written by sdgui-core demo-data")
    task.add_argument("--keywords", action="store_true", help="write training data with keywords beside names")
    task.add_argument("--captioner", type=Path, metavar="RUN", help="the trained dual encoder, to start a CoCa from")
    task.add_argument("--precision", metavar="MODEL", help="print how precisely keywords find held-out images")
    task.add_argument("--finish", type=Path, metavar="MODEL", help="the exported model")
    arguments = parser.parse_args()
    if arguments.finish:
        level_unused_tokens(arguments.finish / "open_clip_model.safetensors", _titles(arguments.data))
        add_authors(arguments.finish / "README.md", arguments.data / "sources.json")
    elif arguments.keywords:
        write_keywords(arguments.data)
    elif arguments.precision:
        print_precision(arguments.data, arguments.precision)
    elif arguments.captioner:
        write_captioner(arguments.data, arguments.captioner)
    else:
        write_data(arguments.data, arguments.demo)


def write_data(data: Path, demo: Path) -> None:
    """Write the manifests and the config to ``data``."""
    demo_titles = {_key(row["title"]) for split in ("val", "test", "unseen") for row in _rows(demo / f"{split}.csv")}
    pool = []
    for name in SETS:
        rows = _rows(data / f"{name}.csv")
        pool += [row for row in rows if name != "openmoji" or _key(row["title"]) not in demo_titles]
    order = np.random.default_rng(SEED).permutation(len(pool)).tolist()
    _write(data / "test.csv", [pool[i] for i in sorted(order[:TEST])])
    _write(data / "val.csv", [pool[i] for i in sorted(order[TEST : TEST + VALIDATION])])
    _write(data / "train.csv", [pool[i] for i in sorted(order[TEST + VALIDATION :])])
    names = {_key(row["title"]): row["title"] for row in pool}
    other = [
        row | {"title": names[key]} for row in _rows(data / f"{OTHER}.csv") if (key := _key(row["title"])) in names
    ]
    _write(data / "other.csv", other)
    _write_config(data, "demo-model", "clip", list(SETTINGS))
    print({"train": len(pool) - TEST - VALIDATION, "val": VALIDATION, "test": TEST, "other": len(other)})


def write_keywords(data: Path) -> None:
    """Write ``DATA/train-keywords.csv``: the training pairs, and captions of one or two keywords for their images.

    Keywords are CLDR's and the emoji's subgroup, from npm's emojibase-data, and its group. An image gets two such
    captions; one that shows a skin tone or a gender gets one or none, since its keywords are those of many images.
    """
    generator = random.Random(SEED)
    keywords = _keywords(npm_archive(data / "npm", "emojibase-data"))
    rows = _rows(data / "train.csv")
    captioned = list(rows)
    for row in rows:
        words = keywords.get(_key(row["title"]), [])
        is_variant = row["title"] != row["concept"]
        for _ in range(generator.random() < 0.5 if is_variant else 2):
            if words:
                chosen = generator.sample([*words, row["group"]], generator.choice([1, 2]))
                captioned.append(row | {"title": " ".join(chosen)})
    _write(data / "train-keywords.csv", captioned)
    print({"names": len(rows), "keywords": len(captioned) - len(rows)})


def print_precision(data: Path, model_name: str) -> None:
    """Print the precision of the first five held-out images (``test.csv``) of each keyword that 3 to 100 have, in %.

    The keywords occur in training, with other images.
    """
    keywords = _keywords(npm_archive(data / "npm", "emojibase-data"))
    rows = _rows(data / "test.csv")
    relevant: dict[str, set[int]] = {}
    for index, row in enumerate(rows):
        for word in keywords.get(_key(row["title"]), ()):
            relevant.setdefault(word, set()).add(index)
    queries = sorted(word for word, images in relevant.items() if 3 <= len(images) <= 100)
    model = core.open_model(model_name)
    images = core.encode(model, images=[str(data / row["filepath"]) for row in rows])
    ranked = np.argsort(-core.encode(model, texts=queries) @ images.T, axis=1)[:, :5]
    precisions = [
        len(relevant[query].intersection(first.tolist())) / min(5, len(relevant[query]))
        for query, first in zip(queries, ranked, strict=True)
    ]
    print({"keywords": len(queries), "precision at 5": round(100 * float(np.mean(precisions)), 1)})


def _keywords(archive: Path) -> dict[str, list[str]]:
    """The keywords of each emoji, by its name without case and punctuation."""
    with tarfile.open(archive) as package:

        def read(file: str) -> Any:
            member = package.extractfile(f"package/{file}")
            assert member is not None
            return json.load(member)

        emoji, subgroups = read("en/data.json"), read("meta/groups.json")["subgroups"]
    keywords: dict[str, list[str]] = {}
    for entry in emoji:
        if "subgroup" not in entry:  # a skin tone by itself, or a letter of flags
            continue
        subgroup = subgroups[str(entry["subgroup"])].split("-")
        words = [*entry["tags"], " ".join(subgroup), subgroup[-1]]
        for variant in (entry, *entry.get("skins", ())):
            for name in (variant["label"], variant["label"].removeprefix("flag: ")):
                keywords.setdefault(_key(name), list(dict.fromkeys(words)))
    return keywords


def write_captioner(data: Path, run: Path) -> None:
    """Write the config of a CoCa, and its initial weights: both transformers of the dual encoder ``run``.

    Projections, pooling and decoder keep their random initialisation.
    """
    trained = open_network(locate(str(run)), torch.device("cpu")).towers.clip.state_dict()
    torch.manual_seed(SEED)
    captioner = build_towers(resolve_architecture("sd-coca-demo")).clip
    weights = captioner.state_dict()
    for name, value in trained.items():
        own = name if name in weights else f"text.{name}"
        if own in weights and weights[own].shape == value.shape:
            weights[own] = value
    save_file({name: value.contiguous() for name, value in weights.items()}, data / "captioner.safetensors")
    overrides = [*CAPTIONER, f"towers.pretrained={data.resolve() / 'captioner.safetensors'}"]
    _write_config(data, "captioner", "coca", overrides)


def level_unused_tokens(file: Path, titles: list[str]) -> None:
    """Replace the embeddings and output weights of each token that is in none of ``titles`` by their mean.

    A mean of output weights, unlike zeros, keeps these tokens improbable.
    """
    weights = load_file(file)
    unused = torch.ones(len(weights["text.token_embedding.weight"]), dtype=torch.bool)
    unused[torch.unique(SimpleTokenizer()(titles))] = False
    for name, dim in (("text.token_embedding.weight", 0), ("text_decoder.text_projection", 1)):
        rows = weights[name].movedim(dim, 0).clone()
        rows[unused] = rows[unused].float().mean(dim=0).to(rows.dtype)
        weights[name] = rows.movedim(0, dim).contiguous()
    save_file(weights, file, metadata={"format": "pt"})


def add_authors(card: Path, sources: Path) -> None:
    """Add who drew the images, under which licence, to the model card."""
    authors = json.loads(sources.read_text(encoding="utf-8"))
    lines = [
        f"- {name}: [{author['name']}]({author['url']}), {authors[name]['license']['title']}"
        for name in SETS
        for author in (authors[name]["author"],)
    ]
    text = card.read_text(encoding="utf-8").replace("## Results", "\n".join([_AUTHORS, *lines, "", "## Results"]), 1)
    write_whole(card, text.encode())


def _write_config(data: Path, name: str, preset: str, overrides: list[str]) -> None:
    splits = [f"data.{split}={data.resolve() / split}.csv" for split in ("train", "val", "test")]
    config = override(preset_config(preset, "demo"), [*overrides, *splits])
    write_whole(data / f"{name}.json", (json.dumps(config.model_dump(mode="json"), indent=1) + "\n").encode())


def _titles(data: Path) -> list[str]:
    splits = ("train-keywords", "val", "test")
    return sorted({row["title"] for split in splits for row in _rows(data / f"{split}.csv")})


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _key(title: str) -> str:
    """``title`` in lower case without punctuation: how artists spell a name differs."""
    return re.sub(r"[^a-z0-9]+", "", title.lower())


def _write(path: Path, rows: list[Row]) -> None:
    pairs = ((row["filepath"], row["title"], [row["concept"], row["group"]]) for row in rows)
    write_whole(path, manifest(pairs, ("concept", "group")))


if __name__ == "__main__":
    main()
