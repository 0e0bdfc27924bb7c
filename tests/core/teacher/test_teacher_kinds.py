"""Teachers of each kind: what is averaged, what is shared, when they begin, and trained ones of other architectures."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from core.checkpoint.opening import open_teachers
from core.checkpoint.starting import carry_over
from core.data.batch import Batch, View
from core.model.errors import ModelError
from core.model.network import Network
from core.model.towers.towers import Towers, build_towers, resolve_architecture
from core.objectives.build import build_network, build_objectives
from core.spec.config import RunConfig, TeacherConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.model_names import locate_run
from core.teacher.build import build_teacher
from core.teacher.ema import EmaTeacher
from core.teacher.frozen import FrozenTeacher
from core.training.schedules import build_schedules, momenta
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.teacher.frozen_teacher import frozen_teacher
from tests.core.variants import variant_config

RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}


def small(name: str = "sd-tiny", **vision: Any) -> dict[str, Any]:
    """An architecture with few words, so that the vocabulary costs nothing."""
    config = copy.deepcopy(resolve_architecture(name))
    config["text_cfg"]["vocab_size"] = 100
    config["vision_cfg"].update(vision)
    return config


def network(preset: str = "sd-clip-every-step", seed: int = 0, model: dict[str, Any] | None = None) -> Network:
    torch.manual_seed(seed)
    return build_network(variant_config(preset), model or small())


def batch(count: int = 3, side: int = 32, words: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    texts = torch.randint(1, 98, (count, words), generator=generator)
    texts[:, -1] = 99
    return Batch(torch.arange(count), texts, View(images))


def disturb(student: nn.Module) -> None:
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("kind", ["ema", "ema-state"])
def test_statistics_are_averaged_or_copied_like_a_plain_loop(kind: str) -> None:
    resnet = small()
    resnet["vision_cfg"] = RESNET
    student = network("clip", model=resnet).train()
    teacher = EmaTeacher(TeacherConfig(kind=kind, momentum=0.7, momentum_warmup=False), student)
    average = {name: value.clone() for name, value in student.state_dict().items()}
    for _ in range(1, 4):
        disturb(student)
        student.encode_images(batch(4).clean.images)  # moves the statistics
        teacher.update(student, 0.7)
        for name, value in student.state_dict().items():
            is_parameter = name in dict(student.named_parameters())
            if value.is_floating_point() and (is_parameter or kind == "ema-state"):
                average[name] = 0.7 * average[name] + 0.3 * value
            else:
                average[name] = value.clone()
    counters = [name for name in average if name.endswith("num_batches_tracked")]
    assert counters
    assert all(int(teacher.state_dict()[name]) == 3 for name in counters)
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value, average[name], atol=1e-5, rtol=1e-4, msg=name)


def test_a_linear_schedule_ends_at_its_end_value() -> None:
    config = TeacherConfig(
        kind="ema", momentum=0.5, momentum_schedule="linear", momentum_end=0.9, momentum_warmup=False
    )
    assert momenta(config, 4) == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])


def frozen_config(**objectives: Any) -> RunConfig:
    raw = preset_config("clip", "tiny").model_dump()
    raw["objectives"].update(objectives or {"distill_similarity": {"weight": 1.0}})
    raw["teacher"] = {"kind": "frozen", "checkpoint": "somewhere"}
    return RunConfig.model_validate(raw)


def test_a_frozen_teacher_of_another_architecture_gives_similarities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Towers, "end_id", 99)  # of the hundred word ids
    student = network("clip")
    other = small(image_size=48, width=96)
    other["embed_dim"], other["text_cfg"]["context_length"] = 24, 8
    trained = network("clip", 4, other)
    teacher = build_teacher(frozen_config().teacher, student, [trained])
    assert isinstance(teacher, FrozenTeacher)
    long = batch(words=12)
    target = teacher.targets(long)
    assert target.text.shape == (3, 24)
    assert target.clean.image.shape == (3, 24)
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    teacher.update(student, 1.0)
    assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())
    assert teacher.state_dict() == {}
    assert not any(parameter.requires_grad for parameter in trained.parameters())
    assert not trained.training
    # captions that are too long end with the end token, as the tokenizer would have cut them
    cut = long.texts[:, :8].clone()
    cut[:, -1] = 99
    torch.testing.assert_close(target.text, trained.encode_texts(cut))


@pytest.mark.parametrize("count", [1, 3])
def test_generations_teach_the_mean_of_their_similarities(count: int) -> None:
    student = network("clip")
    trained = [network("clip", seed) for seed in range(count)]
    with torch.no_grad():
        for number, one in enumerate(trained):
            one.towers.clip.logit_scale.fill_(math.log(5.0 + 10 * number))
    teacher = frozen_teacher(frozen_config(), student, trained)
    pairs = batch()
    target = teacher.targets(pairs)
    wanted = torch.stack(
        [one.logit_scale * one.encode_images(pairs.clean.images) @ one.encode_texts(pairs.texts).T for one in trained]
    ).mean(dim=0)
    got = target.logit_scale * target.distilled[0].image @ target.text.T
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(target.text.norm(dim=-1), torch.ones(3))


def test_unsupported_frozen_teachers_are_reported() -> None:
    student = network("clip")
    narrow = small()
    narrow["embed_dim"] = 24
    with pytest.raises(ModelError, match="teacher's embed_dim is 24, and the student's is 64"):
        frozen_teacher(frozen_config(distill_features={"weight": 1.0}), student, [network("clip", 1, narrow)])
    with pytest.raises(
        ModelError, match=r"does not have the student's prototypes; set objectives.distill_prototypes.w"
    ):
        frozen_teacher(frozen_config(distill_prototypes={"weight": 1.0}), network(), [student])
    with pytest.raises(ModelError, match="needs weights"):
        frozen_teacher(frozen_config(), student, [])
    short = small()
    short["text_cfg"]["context_length"] = 8
    shorter, asked = network("clip", 1, short), frozen_config(distill_captions={"weight": 1.0})
    with pytest.raises(ModelError, match=r"distill_captions.weight compares word by word, but the teacher reads 8 tok"):
        frozen_teacher(asked, student, [shorter])
    frozen_teacher(frozen_config(masked_words={"weight": 1.0, "alpha": 0.0}), student, [shorter])
    with pytest.raises(ModelError, match=r"masked_words.alpha .* or set objectives.masked_words.alpha to 0"):
        frozen_teacher(frozen_config(masked_words={"weight": 1.0, "alpha": 0.4}), student, [shorter])
    words = small()
    words["text_cfg"]["vocab_size"] = 101
    with pytest.raises(ModelError, match="different tokenizers"):
        frozen_teacher(frozen_config(), student, [network("clip", 1, words)])


PUBLISHED = {  # what open_clip's weights, which have no heads, can teach
    "features": {"distill_features": {"weight": 1.0, "on": "image"}},
    "features, crossed": {"distill_features": {"weight": 1.0, "on": "both", "cross": True}},
    "classes beside": {"classification": {"weight": 1.0}, "distill_similarity": {"weight": 1.0}},
    "captions": {"captioning": {"weight": 1.0}, "distill_captions": {"weight": 1.0}},
}


@pytest.mark.parametrize("what", PUBLISHED)
def test_published_weights_teach_objectives_without_heads(what: str) -> None:
    config, model = frozen_config(**PUBLISHED[what]), small("sd-coca-tiny")
    student = build_network(config, model, ("a", "b") if what == "classes beside" else ())
    teacher = frozen_teacher(config, student, [Network(build_towers(model))])
    objectives, pairs = build_objectives(config, student), replace(batch(), labels=torch.tensor([0, 1, -1]))
    objectives.begin_step(student, build_schedules(config, 10).at(5))
    target = teacher.targets(pairs, objectives.teacher_head_outputs)
    output = objectives.head_outputs(student, pairs, student.forward_student(pairs))
    losses = [objective(output, target)[0] for objective in objectives]
    assert len(losses) == len(PUBLISHED[what]) + 1  # and the contrastive loss
    assert all(loss.isfinite() for loss in losses)


def test_a_teacher_without_the_required_outputs_is_refused() -> None:
    plain = Network(build_towers(small()))
    captions = frozen_config(captioning={"weight": 1.0}, distill_captions={"weight": 1.0})
    with pytest.raises(ModelError, match="the teacher cannot caption"):
        frozen_teacher(captions, build_network(captions, small("sd-coca-tiny")), [plain])
    words = override(preset_config("albef", "tiny"), ["teacher.kind=frozen", "teacher.checkpoint=x"])
    with pytest.raises(ModelError, match=r"not trained with objectives\.masked_words as in this config"):
        frozen_teacher(words, build_network(words, small()), [plain])
    classes = frozen_config(classification={"weight": 1.0}, distill_logits={"weight": 1.0, "on": "classes"})
    student, same, other = (build_network(classes, small(), names) for names in (("a", "b"), ("a", "b"), ("c", "d")))
    frozen_teacher(classes, student, [same])
    with pytest.raises(ModelError, match=r"\(c, d\) differ from data.label \(a, b\)"):
        frozen_teacher(classes, student, [other])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("former")
    data, _ = write_pairs(folder / "pairs")
    trained = RunDir(folder / "run")
    settings = [f"data.train={data}", "optim.epochs=2", "checkpoint.keep=2", "runtime.threads=1", "data.cache_mib=0"]
    train(override(variant_config("sd-clip-every-step"), settings), trained, quiet=True)
    return trained


def test_an_earlier_run_is_opened_by_step_and_network(run: RunDir) -> None:
    device, state = torch.device("cpu"), torch.get_rng_state()
    teacher, student = (open_teachers(str(run.path), weights, device)[0] for weights in ("auto", "student"))
    assert not torch.equal(teacher.towers.clip.visual.proj, student.towers.clip.visual.proj)
    both = open_teachers(f"{run.path}@2; {run.path}@last", "teacher", device)
    assert len(both) == 2
    assert not torch.equal(both[0].towers.clip.visual.proj, both[1].towers.clip.visual.proj)
    assert torch.equal(both[1].towers.clip.visual.proj, teacher.towers.clip.visual.proj)
    assert torch.equal(torch.get_rng_state(), state)  # opening one must not move the student's random start
    found = locate_run(f"{run.path}@2", "student")
    assert found is not None
    assert found.path == run.checkpoints / "step-00000002" / "student.safetensors"
    assert locate_run("laion2b_s34b_b79k", "auto") is None
    with pytest.raises(UserError, match=r"teacher\.checkpoint: there is no model 'gone'; specify a run folder"):
        open_teachers("gone", "auto", device)
    with pytest.raises(UserError, match="has no weights"):
        open_teachers("open_clip:sd-tiny", "auto", device)


def test_fusion_and_heads_of_an_earlier_run_are_loaded_where_they_fit(run: RunDir) -> None:
    source = locate_run(str(run.path), "student")
    assert source is not None
    former = open_teachers(str(run.path), "student", torch.device("cpu"))[0].state_dict()
    fresh = network(seed=9, model=resolve_architecture("sd-tiny"))
    taken = carry_over(fresh, source)
    assert {name.split(".")[0] for name in taken if not name.startswith("towers.")} == {"fusion", "heads"}
    assert all(torch.equal(fresh.state_dict()[name], former[name]) for name in taken)
    wide = variant_config("sd-clip-every-step").model_dump()
    wide["objectives"]["distill_prototypes"]["prototypes"] = 32
    other = build_network(RunConfig.model_validate(wide), resolve_architecture("sd-tiny"))
    assert "head.prototypes" not in carry_over(other, source)
