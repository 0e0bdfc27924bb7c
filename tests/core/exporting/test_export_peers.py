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
import pytest
import torch
import yaml
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from core.__main__ import main
from core.checkpoint.opening import open_model
from core.exporting.card import CITATION, CardFacts, model_card
from core.exporting.export import export_model
from core.spec.config import RunConfig
from core.spec.presets import PRESETS
from core.spec.run.export_forms import ExportPrecision, Form
from tests.core.caption_models import CLIP, COCA, save_model

ROOT = Path(__file__).parents[3]
SHOW = """
import json, sys
assert not {"core", "sdgui"} & set(sys.modules)
print(json.dumps([image_embeds.tolist(), text_embeds.tolist()]))
"""
COCA_LOGITS = """
with torch.no_grad():
    output = model(torch.zeros(2, 3, 32, 32), tokenizer(["a cat", "a dog"]))
assert output["logits"].shape == (2, 15, 49408), output["logits"].shape
"""


def by_the_card(folder: Path, more: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of ``image.jpg`` beside ``folder`` and of "a photo of a cat", as the card's own code computes them."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    hidden = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code[1] + more + SHOW],
        cwd=folder.parent, env=hidden | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    image, text = json.loads(done.stdout.splitlines()[-1])
    return np.array(image), np.array(text)


@pytest.mark.parametrize(
    ("model_cfg", "form", "precision"),
    [
        (CLIP, "open_clip", "fp32"),
        (CLIP, "huggingface", "fp32"),
        (CLIP, "huggingface", "fp16"),
        (CLIP, "onnx", "fp32"),
        (COCA, "open_clip", "bf16"),
        (COCA, "onnx", "fp32"),
    ],
    ids=["clip-open_clip", "clip-transformers", "clip-transformers-fp16", "clip-onnx", "coca-open_clip", "coca-onnx"],
)
def test_a_peer_computes_the_same_without_our_code(
    tmp_path: Path, model_cfg: dict[str, Any], form: Form, precision: ExportPrecision
) -> None:
    cfg = dict(model_cfg)
    for tower in ("vision_cfg", "text_cfg"):  # which a config of ours need not have
        cfg[tower] = {name: value for name, value in cfg[tower].items() if name != "output_tokens"}
    source = save_model(tmp_path / "source", cfg)
    source_image = Image.effect_mandelbrot((32, 32), (-3, -2.5, 2, 2.5), 60).convert("RGB")
    source_image.save(tmp_path / "image.jpg")
    out = export_model(str(source), "", tmp_path / 'my "exported" {model}', form, precision=precision)
    decoder = COCA_LOGITS if model_cfg is COCA and form == "open_clip" else ""
    image, text = by_the_card(out, decoder)

    towers = open_model(str(source)).network.towers
    pixels = pil_to_tensor(Image.open(tmp_path / "image.jpg"))[None]
    with torch.no_grad():
        ours = towers.clip.encode_image(towers.normalise(pixels), normalize=True)
        words = towers.clip.encode_text(towers.tokenize(["a photo of a cat"]), normalize=True)
    most = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 5e-2}[precision]
    assert np.abs(image - ours.numpy()).max() < most
    assert np.abs(text - words.numpy()).max() < most


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
        (["--format", "onnx", "--precision", "fp16"], "ONNX is written in fp32 only"),
        (["--format", "hf"], "is a CoCa, and transformers has no CoCa"),
    ],
)
def test_what_a_form_cannot_hold_is_refused_without_loading_torch(
    tmp_path: Path, options: list[str], said: str
) -> None:
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


def test_names_of_a_run_do_not_become_markup() -> None:
    hostile = "x](http://evil)\n\n# <img src=e> `a` | *b*"
    config = RunConfig.model_validate(
        {"name": hostile, "preset": "sd-clip", "data": {"train": "a|b`c`.csv"}, "objectives": {}}
    )
    facts = CardFacts(hostile, "onnx", hostile, hostile, CLIP, 5, config=config, network="student", step=7)
    card = model_card(facts)
    escaped = r"x\](http://evil) \# \<img src=e\> \`a\` \| \*b\*"
    assert f"# {escaped}\n" in card
    assert f"Licence: {escaped}." in card
    assert r"| training data | a\|b\`c\`.csv, 0 pairs |" in card
    assert yaml.safe_load(card.split("---")[1])["license"] == hostile
    assert [line for line in card.splitlines() if line.startswith("# ")] == [f"# {escaped}"]
    assert PRESETS["sd-clip"].paper in card
