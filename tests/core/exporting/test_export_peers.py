"""An export is opened with the code of its own model card, by a program that has the peer library and not this one."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from core.__main__ import main
from core.checkpoint.opening import Model, open_model
from core.exporting.card import CITATION, CardContent, model_card
from core.exporting.export import export_model
from core.spec.config import RunConfig
from core.spec.presets import PRESETS
from tests.core.caption_models import CLIP, COCA, save_model

ROOT = Path(__file__).parents[3]
CASES = {
    "clip-open_clip": (CLIP, "open_clip", "fp32"),
    "clip-transformers": (CLIP, "huggingface", "fp16"),
    "clip-onnx": (CLIP, "onnx", "fp32"),
    "coca-open_clip": (COCA, "open_clip", "bf16"),
    "coca-onnx": (COCA, "onnx", "fp32"),
}
MOST = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 5e-2}
PEER = """
import json, sys
shown = []
for code in json.load(sys.stdin):
    names = {"__name__": "__main__"}
    exec(code, names)
    shown.append([names["image_embeds"].tolist(), names["text_embeds"].tolist()])
assert not {"core", "sdgui"} & set(sys.modules)
print(json.dumps(shown))
"""
COCA_LOGITS = """
with torch.no_grad():
    output = model(torch.zeros(2, 3, 32, 32), tokenizer(["a cat", "a dog"]))
assert output["logits"].shape == (2, 15, 49408), output["logits"].shape
"""


def code_of_the_card(folder: Path) -> str:
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    return code[1]


def by_the_cards(codes: list[str], folder: Path) -> list[list[Any]]:
    """Embeddings of ``image.jpg`` in ``folder`` and of "a photo of a cat", as code of cards computes them."""
    hidden = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PEER], input=json.dumps(codes),
        cwd=folder, env=hidden | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    shown: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return shown


@pytest.mark.parametrize(
    "names",
    [
        ["clip-open_clip", "clip-transformers", "coca-open_clip"],
        pytest.param(["clip-onnx"], marks=pytest.mark.ci),
        pytest.param(["coca-onnx"], marks=pytest.mark.slow),
    ],
    ids=["torch", "clip-onnx", "coca-onnx"],
)
def test_peers_compute_the_same_without_our_code(tmp_path: Path, names: list[str]) -> None:
    image = Image.effect_mandelbrot((32, 32), (-3, -2.5, 2, 2.5), 60).convert("RGB")
    image.save(tmp_path / "image.jpg")
    pixels = pil_to_tensor(Image.open(tmp_path / "image.jpg"))[None]
    codes, ours = [], []
    for name in names:
        model_cfg, format_name, precision = CASES[name]
        cfg = dict(model_cfg)
        for tower in ("vision_cfg", "text_cfg"):  # which a config of ours need not have
            cfg[tower] = {key: value for key, value in cfg[tower].items() if key != "output_tokens"}
        source = save_model(tmp_path / f"source {name}", cfg)
        out = export_model(str(source), "", tmp_path / f'my "{name}" {{model}}', format_name, precision=precision)  # type: ignore[arg-type]
        codes.append(code_of_the_card(out) + (COCA_LOGITS if name == "coca-open_clip" else ""))
        towers = open_model(str(source)).network.towers
        with torch.no_grad():
            vector = towers.clip.encode_image(towers.normalise(pixels), normalize=True)
            ours.append((vector, towers.clip.encode_text(towers.tokenize(["a photo of a cat"]), normalize=True)))
        if name == "clip-onnx":
            any_batch(out, open_model(str(source)))
    for name, (vector, words), shown in zip(names, ours, by_the_cards(codes, tmp_path), strict=True):
        assert np.abs(np.array(shown[0]) - vector.numpy()).max() < MOST[CASES[name][2]], name
        assert np.abs(np.array(shown[1]) - words.numpy()).max() < MOST[CASES[name][2]], name


def any_batch(out: Path, ours: Model) -> None:
    """onnxruntime computes the same for one pair and for a hundred."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    image_session, text_session = (
        onnxruntime.InferenceSession(str(out / file), options) for file in ("image.onnx", "text.onnx")
    )
    towers = ours.network.towers
    for count in (1, 100):
        images = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        tokens = towers.tokenize([f"a cat of {index} years " + "very " * (index % 20) for index in range(count)])
        with torch.no_grad():
            image = towers.clip.encode_image(images, normalize=True)
            text = towers.clip.encode_text(tokens, normalize=True)
        found = image_session.run(["image_embeds"], {"pixel_values": images.numpy()})[0]
        assert np.abs(found - image.numpy()).max() < 1e-4
        found = text_session.run(["text_embeds"], {"input_ids": tokens.numpy()})[0]
        assert np.abs(found - text.numpy()).max() < 1e-4
    assert "the caption decoder" not in (out / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_files_follow_the_umask(tmp_path: Path) -> None:
    source = save_model(tmp_path / "source", CLIP)
    before = os.umask(0o027)
    try:
        out = export_model(str(source), "", tmp_path / "out", "open_clip")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o640}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "onnx", "--precision", "fp16"], "ONNX supports only fp32"),
        (["--format", "hf"], "is a CoCa, which transformers does not support"),
    ],
)
def test_unsupported_forms_are_refused_without_loading_torch(tmp_path: Path, options: list[str], said: str) -> None:
    source = save_model(tmp_path / "source", COCA)
    code = "import sys; from core.__main__ import main; code = main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", f"{code}; sys.exit(code)", "export", str(source), str(tmp_path / "out"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_card_states_versions_limitations_and_the_citation(tmp_path: Path) -> None:
    source = save_model(tmp_path / "source", CLIP)
    assert main(["export", str(source), str(tmp_path / "out"), "--precision", "fp16"]) == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version = cited["version"]
    assert f"Exported with sdgui {version}, torch {torch.__version__}, open_clip_torch 3." in card
    assert CITATION.format(version=version) in card
    assert all(f"{{{value}}}" in card for value in (cited["title"], cited["repository-code"], version))
    assert f"{{{{{cited['authors'][0]['name']}}}}}" in card
    assert "Captions are truncated to 16 tokens" in card
    assert "stored in fp16, rounded from fp32" in card


def test_run_names_do_not_become_markup() -> None:
    hostile = "x](http://evil)\n\n# <img src=e> `a` | *b*"
    config = RunConfig.model_validate(
        {"name": hostile, "preset": "sd-clip", "data": {"train": "a|b`c`.csv"}, "objectives": {}}
    )
    facts = CardContent(hostile, "onnx", hostile, hostile, CLIP, 5, config=config, network="student", step=7)
    card = model_card(facts)
    escaped = r"x\](http://evil) \# \<img src=e\> \`a\` \| \*b\*"
    assert f"# {escaped}\n" in card
    assert f"Licence: {escaped}." in card
    assert r"| training data | a\|b\`c\`.csv, 0 pairs |" in card
    assert yaml.safe_load(card.split("---")[1])["license"] == hostile
    assert [line for line in card.splitlines() if line.startswith("# ")] == [f"# {escaped}"]
    assert PRESETS["sd-clip"].paper in card
