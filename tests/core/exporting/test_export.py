"""Models for other programs: open_clip, transformers and onnxruntime compute what this one does; and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from core.__main__ import main
from core.checkpoint.opening import Model, Subject, open_model
from core.evaluation.report import Report, to_json
from core.exporting.export import ExportError, export_model
from core.metrics.outcome import Outcome, Queries
from core.model.errors import ModelError
from core.model.towers.formats.huggingface import to_clip_model
from core.spec import installed
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.installed import NotInstalled
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.caption_models import CLIP, COCA, save_model
from tests.core.images import write_pairs
from tests.core.variants import variant_config

CAPTIONS = ["a red circle", "Two small, BLUE squares!", "it's a bar", "", "naïve café 22 " + "very " * 40 + "long"]


def vectors(model: Model, images: Tensor, captions: list[str] = CAPTIONS) -> tuple[Tensor, Tensor]:
    clip: Any = model.network.towers.clip
    with torch.no_grad():
        image = clip.encode_image(images, normalize=True)
        return image, clip.encode_text(model.network.towers.tokenize(captions), normalize=True)


def images_for(model: Model, count: int = 100) -> Tensor:
    side = model.network.towers.image_size
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of sd-clip with a fusion and heads, a teacher, and a validation."""
    folder = tmp_path_factory.mktemp("exported")
    train_data, val_data = write_pairs(folder)
    settings = ["optim.batch_size=8", "optim.epochs=0.25", "runtime.threads=1", "name=shapes"]
    settings = [f"data.train={train_data}", f"data.val={val_data}", *settings]
    config = override(variant_config("sd-clip-every-step"), settings)
    assert train(config, RunDir(folder / "run"), quiet=True) == "done"
    return folder / "run"


def test_open_clip_opens_an_exported_run_and_computes_the_same(run: Path, tmp_path: Path) -> None:
    out = export_model(str(run), "teacher", tmp_path / "out", "open_clip", licence="cc-by-4.0")
    ours = open_model(str(run), "teacher")
    theirs, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{out}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{out}")
    images = images_for(ours)
    image, text = vectors(ours, images)
    with torch.no_grad():
        assert torch.allclose(theirs.eval().encode_image(images, normalize=True), image, atol=1e-5)
        assert torch.allclose(theirs.encode_text(tokenizer(CAPTIONS), normalize=True), text, atol=1e-5)
    normalise = prepare.transforms[-1]
    assert list(normalise.mean) == pytest.approx(list(ours.network.towers.image_mean))
    again = open_model(str(out))  # and this program opens it by its folder
    assert all(torch.equal(a, b) for a, b in zip(vectors(again, images), (image, text), strict=True))

    card = (out / "README.md").read_text(encoding="utf-8")
    assert 'license: "cc-by-4.0"' in card
    assert "# shapes" in card
    assert "the weights of the teacher after" in card
    assert "the fusion of image and text" in card
    assert "On the validation data" in card
    assert "| teacher/image_to_text_R@1 |" in card
    assert "student/" not in card
    config = (out / "config.json").read_text(encoding="utf-8")
    assert str(run.parent) not in card + config
    assert json.loads(config)["data"]["train"] == "train.csv"
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "open_clip_config.json", "open_clip_model.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_transformers_opens_an_exported_clip_and_computes_the_same(tmp_path: Path, quick_gelu: bool) -> None:
    source = save_model(tmp_path / "source", CLIP | {"quick_gelu": quick_gelu})
    out = export_model(str(source), "", tmp_path / "out", "huggingface")
    ours = open_model(str(source))
    theirs = CLIPModel.from_pretrained(out).eval()
    words = AutoTokenizer.from_pretrained(out)
    images = images_for(ours)
    image, text = vectors(ours, images)
    length = ours.network.towers.context_length
    tokens = words(CAPTIONS[:3], padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    mine = ours.network.towers.tokenize(CAPTIONS[:3])
    for row, own in zip(tokens["input_ids"], mine, strict=True):  # ours pads with 0, theirs repeats the end
        end = int((own == 49407).nonzero()[0])
        assert row[: end + 1].tolist() == own[: end + 1].tolist()
    with torch.no_grad():
        out_image = theirs.visual_projection(theirs.vision_model(pixel_values=images).pooler_output)
        out_text = theirs.text_projection(theirs.text_model(**tokens).pooler_output)
    assert torch.allclose(out_image / out_image.norm(dim=-1, keepdim=True), image, atol=1e-5)
    assert torch.allclose(out_text / out_text.norm(dim=-1, keepdim=True), text[:3], atol=1e-5)
    assert theirs.logit_scale.exp().item() == pytest.approx(float(ours.network.towers.logit_scale.detach()))
    side = AutoImageProcessor.from_pretrained(out).crop_size
    assert (side["height"], side["width"]) == (32, 32)


def test_a_transformers_folder_can_be_used_and_trained_from(tmp_path: Path) -> None:
    source = save_model(tmp_path / "source", CLIP | {"quick_gelu": True})
    first = export_model(str(source), "", tmp_path / "theirs", "huggingface")
    CLIPModel.from_pretrained(first).save_pretrained(tmp_path / "saved")  # as transformers itself writes it
    ours, again = open_model(str(source)), open_model(str(tmp_path / "saved"))
    images = images_for(ours, 8)
    for mine, back in zip(vectors(ours, images), vectors(again, images), strict=True):
        assert torch.allclose(mine, back, atol=1e-6)
    colours = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.25, 0.5, 0.125]}
    (tmp_path / "saved" / "preprocessor_config.json").write_text(json.dumps(colours))
    towers = open_model(str(tmp_path / "saved")).network.towers
    assert [*towers.image_mean, *towers.image_std] == pytest.approx([*colours["image_mean"], *colours["image_std"]])
    write_pairs(tmp_path)
    wanted = [f"towers.architecture={tmp_path / 'saved'}", f"towers.pretrained={tmp_path / 'saved'}"]
    settings = [*wanted, f"data.train={tmp_path / 'train.csv'}", "optim.batch_size=8", "optim.epochs=0.25"]
    assert train(override(preset_config("clip", "tiny"), settings), RunDir(tmp_path / "run"), quiet=True) == "done"


def test_other_transformers_models_are_refused(tmp_path: Path) -> None:
    source = save_model(tmp_path / "source", CLIP)
    out = export_model(str(source), "", tmp_path / "out", "huggingface")
    state = load_file(out / "model.safetensors")
    del state["vision_model.encoder.layers.0.self_attn.k_proj.bias"]
    save_file(state, out / "model.safetensors")
    with pytest.raises(ModelError, match=r"vision_model.encoder.layers.0.self_attn.k_proj.bias is missing"):
        open_model(str(out))
    config = json.loads((out / "config.json").read_text())
    for change, said in (
        ({"vision_config": config["vision_config"] | {"hidden_act": "relu"}}, "activation relu, which"),
        ({"text_config": config["text_config"] | {"hidden_act": "quick_gelu"}}, "gelu in one tower and quick_gelu in"),
        ({"vision_config": config["vision_config"] | {"num_attention_heads": 0}}, "configuration of a CLIPModel"),
        ({"text_config": 5}, "configuration of a CLIPModel"),
    ):
        (out / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=said):
            open_model(str(out))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"multimodal_cfg": {"width": 16}}, "multimodal_cfg"),
        ({"vision_cfg": CLIP["vision_cfg"] | {"attentional_pool": True}}, "vision_cfg.attentional_pool"),
        ({"text_cfg": CLIP["text_cfg"] | {"no_causal_mask": True}}, "text_cfg.no_causal_mask"),
        ({"vision_cfg": CLIP["vision_cfg"] | {"layers": [1, 1, 1, 1]}}, "a ResNet"),
        ({"init_logit_bias": -10.0}, "init_logit_bias"),
    ],
)
def test_parts_that_transformers_lacks_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as error:
        to_clip_model(CLIP | change, {})
    assert "open_clip folder or ONNX" in str(error.value)


def test_a_coca_in_an_open_clip_folder_captions_as_before(tmp_path: Path) -> None:
    source = save_model(tmp_path / "source")
    out = export_model(str(source), "", tmp_path / "out", "open_clip")
    before, after = (load_file(folder / "open_clip_model.safetensors") for folder in (source, out))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((out / "open_clip_config.json").read_text())["model_cfg"]["multimodal_cfg"]


def test_existing_files_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = save_model(tmp_path / "source", CLIP), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    assert main(["export", str(source), str(out), "--force"]) == 1
    assert "already exists; choose a new folder." in capsys.readouterr().err
    assert (out / "thesis.txt").read_text() == "precious"
    exported = tmp_path / "exported"
    assert main(["export", str(source), str(exported)]) == 0
    assert main(["export", str(source), str(exported)]) == 1
    assert "replace an earlier export with --force" in capsys.readouterr().err
    assert main(["export", str(source), str(exported), "--format", "hf", "--force"]) == 0
    assert (exported / "model.safetensors").is_file()
    assert not (exported / "open_clip_model.safetensors").exists()
    link = tmp_path / "link"
    link.symlink_to(exported)
    with pytest.raises(ExportError, match="already exists"):
        export_model(str(source), "", link, "open_clip", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exported", "link", "out", "source"]


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    source = save_model(tmp_path / "source", COCA)
    with pytest.raises(ExportError, match="which transformers does not support"):
        export_model(str(source), "", tmp_path / "out", "huggingface")
    with pytest.raises(ExportError, match="cannot write"):
        export_model(str(source), "", source / "open_clip_config.json" / "out", "open_clip")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_card_has_saved_reports_with_their_intervals(tmp_path: Path) -> None:
    source = save_model(tmp_path / "source", CLIP)
    values = np.array([1.0, 0.0, 1.0, 1.0])
    outcome = Outcome(task="zero-shot", samples=4, metrics={"acc1": 0.75}, per_query={"acc1": Queries(values)})
    saved = tmp_path / "report.json"
    saved.write_text(json.dumps(to_json(Report(Subject(model="m", dataset="shapes | 4"), outcome), queries=True)))
    assert main(["export", str(source), str(tmp_path / "out"), "--report", str(saved)]) == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "  acc1    75.0 %   " in card
    assert "95 % intervals" in card
    assert str(tmp_path) not in card
    assert "Licence: not stated" in card


def test_without_the_onnx_packages_their_names_and_the_remedy_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save_model(tmp_path / "source", CLIP)
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(NotInstalled, match=r"no module onnxscript.*\[export\]"):
        export_model(str(source), "", tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_weights_are_rounded_on_request_and_never_to_infinity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_model(tmp_path / "source", CLIP)
    half = export_model(str(source), "", tmp_path / "half", "open_clip", precision="fp16")
    tensors = load_file(half / "open_clip_model.safetensors")
    assert {value.dtype for value in tensors.values() if value.is_floating_point()} == {torch.float16}
    assert "stored in fp16" in (half / "README.md").read_text(encoding="utf-8")
    whole = load_file(source / "open_clip_model.safetensors")
    whole["logit_scale"] = torch.tensor(1e6)
    save_file(whole, source / "open_clip_model.safetensors")
    with pytest.raises(UserError, match="overflow in fp16; use the precision fp32"):
        export_model(str(source), "", tmp_path / "large", "open_clip", precision="fp16")
    save_file(whole | {"logit_scale": torch.tensor(torch.nan)}, source / "open_clip_model.safetensors")
    with pytest.raises(UserError, match="logit_scale has values that are not finite"):
        export_model(str(source), "", tmp_path / "large", "open_clip")
    arguments = ["export", str(source), str(tmp_path / "onnx"), "--format", "onnx", "--precision", "fp16"]
    assert main(arguments) == 1
    assert "ONNX supports only fp32, not fp16" in capsys.readouterr().err
