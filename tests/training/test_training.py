# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The training loop end to end on a tiny model: it learns, resumes, stops, and is the same on several processes."""

import dataclasses
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from tiny_models import TINY, TINY_TEXT, TINY_VISION, tiny_config
from tiny_tokenizer import tiny_tokenizer
from transformers import AutoModelForSemanticSegmentation, AutoProcessor, CLIPConfig, CLIPModel

from fgaseg_hf import FGASegConfig
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments
from fgaseg_hf.model.clip_dense_features import is_clip_parameter
from fgaseg_hf.training import (
    model_building,
    run_folder,
    run_processes,
    train,
    training_arguments,
    training_data,
    training_log,
    training_loop,
    training_run,
    training_step,
)
from fgaseg_hf.training.argument_checks import check_start

ROOT = Path(__file__).parent.parent.parent
ACCELERATE_CONFIGS = ROOT / "training" / "accelerate_configs"
NAMES = ["sky", "red car", "blue car", "tree"]
COLOURS = np.array([[90, 160, 230], [220, 30, 30], [30, 30, 200], [20, 140, 40]])


def make_rows(num_pictures: int, seed: int) -> Dataset:
    """Pictures of two flat halves, in the colours of their classes."""
    generator = np.random.default_rng(seed)
    pictures, label_maps = [], []
    for _ in range(num_pictures):
        labels = np.zeros((40, 48), dtype=np.uint8)
        labels[generator.integers(10, 30) :] = generator.integers(1, 4)
        labels[:2, :2] = 255
        noise = generator.integers(-10, 10, (40, 48, 3))
        pictures.append(Image.fromarray((COLOURS[labels % 4] + noise).clip(0, 255).astype(np.uint8)))
        label_maps.append(Image.fromarray(labels))
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    return Dataset.from_dict({"image": pictures, "annotation": label_maps}, features=features)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("training"))


def make_inputs(folder: Path) -> Path:
    """Fills a folder with a data set, a tokenizer and a configuration file."""
    (folder / "dataset" / "data").mkdir(parents=True)
    for split, number in (("train", 12), ("validation", 5)):
        path = folder / "dataset" / "data" / f"{split}-00000-of-00001.parquet"
        make_rows(number, seed=number).to_parquet(path)
    (folder / "dataset" / "class_names.txt").write_text("\n".join(NAMES))
    tiny_tokenizer().save_pretrained(folder / "tokenizer")
    config = {
        "model_config": {
            **{name: list(value) if isinstance(value, tuple) else value for name, value in TINY.items()},
            "text_config": TINY_TEXT,
            "vision_config": TINY_VISION,
            "trainable_clip": "all",
            "num_aggregation_layers": 1,
        },
        "tokenizer": str(folder / "tokenizer"),
        "dataset": str(folder / "dataset"),
        "batch_size": 4,
        "learning_rate": "1e-3",
        "clip_learning_rate_multiplier": 1.0,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "max_steps": 8,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def run(inputs: Path, output: Path, *arguments: str) -> list[dict[str, Any]]:
    """Trains in this process; returns the lines of the log."""
    train.main(["--config", str(inputs / "config.yaml"), "--output_dir", str(output), *arguments])
    return read_log(output)


def read_log(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / training_log.LOG_FILE).read_text().splitlines()]


def losses(log: list[dict[str, Any]]) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in log if "loss" in line}


def test_a_run_learns_and_writes_what_it_says(inputs: Path, tmp_path: Path) -> None:
    log = run(
        inputs,
        tmp_path,
        *("--max_steps", "30", "--evaluation_splits", "validation", "--evaluation_steps", "15"),
        *("--checkpoint_steps", "10", "--keep_checkpoints", "2", "--learning_rate", "3e-3"),
    )
    by_step = losses(log)
    assert list(by_step) == list(range(1, 31))
    assert np.mean([by_step[step] for step in range(26, 31)]) < 0.9 * np.mean([by_step[step] for step in range(1, 6)])

    line = log[0]
    config = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "last").config
    weighted = config.segmentation_loss_weight * line["segmentation_loss"]
    weighted += config.alignment_loss_weight * line["alignment_loss"]
    weighted += sum(w * line[f"auxiliary_loss_{n}"] for n, w in enumerate(config.auxiliary_loss_weights))
    assert line["loss"] == pytest.approx(weighted, abs=1e-5)
    assert line["learning_rate"] == pytest.approx(3e-3)
    assert line["gradient_norm"] > 0
    assert line["pictures_per_second"] > 0
    rates = [line["learning_rate"] for line in log if "learning_rate" in line]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 3e-5

    evaluations = [line for line in log if "validation/mean_iou" in line]
    assert [line["step"] for line in evaluations] == [15, 30]
    assert set(evaluations[0]["validation/iou_by_class"]) <= set(NAMES)
    assert [path.name for path in run_folder.checkpoints_in(tmp_path)] == ["step-20", "step-30"]
    leftovers = [path.name for path in tmp_path.rglob("*") if "unfinished" in path.name or path.name.endswith(".old")]
    assert leftovers == []
    for name in ("best", "last"):
        model = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / name).eval()
        processor = AutoProcessor.from_pretrained(tmp_path / name)
        batch = processor(images=Image.new("RGB", (30, 20)), text=NAMES, return_tensors="pt")
        with torch.no_grad():
            assert model(**batch).logits.isfinite().all()


@pytest.mark.parametrize(
    "data",
    [
        (),
        ("--streaming", "--shuffle_buffer", "5"),
        ("--rare_class_temperature", "0.5", "--class_balancing", "0.5"),
    ],
    ids=["plain", "streamed", "rare classes"],
)
def test_a_resumed_run_has_the_losses_that_it_would_have_had(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: tuple[str, ...]
) -> None:
    # `datasets` sleeps for seconds at the end of each epoch, against a flaw of threads that read from a network.
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)
    arguments = ("--num_sampled_classes", "3", "--checkpoint_steps", "4", *data)
    whole = run(inputs, tmp_path / "whole", *arguments)
    run(inputs, tmp_path / "cut", *arguments, "--stop_at_step", "6")
    # as if it had been killed after step 6 with its last checkpoint at step 4, while it wrote the next one
    stale = tmp_path / "cut" / run_folder.CHECKPOINT_FOLDER
    (stale / "step-6").rename(stale / "unfinished")
    with (tmp_path / "cut" / training_log.LOG_FILE).open("a") as file:
        file.write('{"step": 7, "lo')
    with pytest.raises(ValueError, match="already holds a run"):
        run(inputs, tmp_path / "cut", *arguments)
    resumed = run(inputs, tmp_path / "cut", *arguments, "--resume")
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-6)
    for first, second in zip(*(load(tmp_path / name).parameters() for name in ("whole", "cut")), strict=True):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def load(folder: Path) -> Any:
    return AutoModelForSemanticSegmentation.from_pretrained(folder / "last")


def test_a_signal_stops_the_run_with_a_checkpoint(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = training_loop.train_step

    def step_with_signal(*arguments: Any, **keywords: Any) -> Any:
        if keywords["step"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(*arguments, **keywords)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(training_loop, "train_step", step_with_signal)
    with pytest.raises(
        training_run.StoppedBySignal, match=r"^stopped at step \d of 8, go on with --resume$"
    ) as stopped:
        run(inputs, tmp_path)
    assert stopped.value.exit_code == 143
    log = read_log(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    last = log[-1]["step"]
    assert last in (3, 4)
    assert [path.name for path in run_folder.checkpoints_in(tmp_path)] == [f"step-{last}"]
    assert (tmp_path / "last" / "model.safetensors").exists()


def test_the_time_limit_stops_the_run(inputs: Path, tmp_path: Path) -> None:
    log = run(inputs, tmp_path, "--max_minutes", "0")
    assert log[-1]["step"] == 1
    assert log[-1]["learning_rate"] == pytest.approx(1e-3)
    assert run(inputs, tmp_path, "--resume")[-1]["step"] == 8


def test_accumulation_sees_the_same_gradient(inputs: Path, tmp_path: Path) -> None:
    # without batch norm, whose statistics are those of each part
    arguments = ("--config_overrides", "use_alignment_head=false", "--max_steps", "4")
    whole = losses(run(inputs, tmp_path / "one", *arguments))
    parts = losses(run(inputs, tmp_path / "parts", *arguments, "--gradient_accumulation_steps", "4"))
    assert parts == pytest.approx(whole, abs=1e-4)


def test_checkpointed_activations_and_workers_change_nothing(inputs: Path, tmp_path: Path) -> None:
    arguments = ("--max_steps", "3")
    plain = losses(run(inputs, tmp_path / "plain", *arguments))
    other = losses(run(inputs, tmp_path / "other", *arguments, "--gradient_checkpointing", "--num_workers", "1"))
    assert other == pytest.approx(plain, abs=1e-5)


@pytest.mark.slow
def test_a_compiled_run_has_the_same_losses(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what is traced is asked here, not the compiler of the machine
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_module(self, backend="aot_eager"))
    arguments = ("--max_steps", "2", "--evaluation_splits", "validation")
    eager = losses(run(inputs, tmp_path / "eager", *arguments))
    compiled = losses(run(inputs, tmp_path / "compiled", *arguments, "--compile"))
    assert compiled == pytest.approx(eager, abs=1e-5)


def test_a_hub_data_set_stays_at_the_commit_that_the_run_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = training_arguments.TrainingDataArguments(dataset="some/scenes")
    processes: Any = SimpleNamespace(is_main=True, share=lambda value: [value])
    said: list[str] = []
    commits = iter(["first", "second"])

    def ask(name: str, revision: str | None = None) -> Any:
        return SimpleNamespace(commit=next(commits))

    monkeypatch.setattr(training_data, "find_hub_dataset", ask)
    pinned = training_data.pin_revision(arguments, tmp_path, processes, said.append)
    assert (pinned.dataset_revision, said) == ("first", ["some/scenes: commit first"])
    (tmp_path / run_folder.ARGUMENTS_FILE).write_text(json.dumps(dataclasses.asdict(pinned)))
    assert training_data.pin_revision(arguments, tmp_path, processes, said.append).dataset_revision == "first"
    own = dataclasses.replace(arguments, dataset_revision="mine")
    assert training_data.pin_revision(own, tmp_path, processes, said.append).dataset_revision == "mine"


@pytest.mark.parametrize("part", ["alignment_loss", "segmentation_loss"])
def test_a_loss_that_is_not_finite_stops_with_step_and_part(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    true_losses = training_step.scaled_losses
    calls = []

    def broken_losses(*arguments: Any) -> dict[str, torch.Tensor]:
        losses = true_losses(*arguments)
        calls.append(losses)
        return (
            losses | {part: losses["loss"] * math.nan, "loss": losses["loss"] * math.nan} if len(calls) == 3 else losses
        )

    monkeypatch.setattr(training_step, "scaled_losses", broken_losses)
    with pytest.raises(training_step.TrainingDiverged, match=f"In step 3 {part} is nan"):
        run(inputs, tmp_path)
    assert list(losses(read_log(tmp_path))) == [1, 2]


def test_whole_pictures_may_be_larger_than_crops(inputs: Path, tmp_path: Path) -> None:
    sizes = ("--crop_size", "32", "16", "--picture_size", "48", "64", "--scale_range", "1.5")
    log = run(inputs, tmp_path, "--max_steps", "2", "--evaluation_splits", "validation", *sizes)
    assert log[-1]["validation/mean_iou"] >= 0
    assert AutoProcessor.from_pretrained(tmp_path / "last").image_processor.size == {"height": 48, "width": 64}


def test_a_checkpoint_keeps_its_image_processor(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "first", "--max_steps", "1")
    processor = AutoProcessor.from_pretrained(tmp_path / "first" / "last")
    processor.image_processor.image_mean, processor.image_processor.size = [0.5, 0.4, 0.3], {"height": 32, "width": 48}
    processor.save_pretrained(tmp_path / "first" / "last")
    words = ("--config_overrides", "image_size=64", "--prompt_templates", "a {}.")
    arguments = parse_arguments(
        (training_arguments.ModelArguments,), ["--model", str(tmp_path / "first" / "last"), *words]
    )[0]
    for size in (None, (64, 16)):
        model, kept = model_building.build_model_and_processor(arguments, size)
        assert list(kept.image_processor.image_mean) == [0.5, 0.4, 0.3] and kept.prompt_templates == ["a {}."]
        height, width = size or (32, 48)
        assert dict(kept.image_processor.size) == {"height": height, "width": width} and model.config.image_size == 64
    with pytest.raises(ValueError, match="leave it out"):
        check_start(training_arguments.ModelArguments(model="somewhere", tokenizer="elsewhere"))


def test_accumulation_may_change_on_resuming(inputs: Path, tmp_path: Path) -> None:
    first = ("--max_steps", "6", "--stop_at_step", "3", "--gradient_accumulation_steps", "2")
    run(inputs, tmp_path / "changed", *first)
    changed = run(inputs, tmp_path / "changed", "--max_steps", "6", "--gradient_accumulation_steps", "4", "--resume")
    whole = run(inputs, tmp_path / "whole", "--max_steps", "6", "--gradient_accumulation_steps", "2")
    segmentation = [[line["segmentation_loss"] for line in log if "loss" in line] for log in (changed, whole)]
    assert segmentation[0] == pytest.approx(segmentation[1], abs=2e-2)


def test_fine_tuning_goes_on_from_a_checkpoint(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "first", "--max_steps", "2")
    config = yaml.safe_load((inputs / "config.yaml").read_text())
    for name in ("model_config", "tokenizer"):
        del config[name]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ["--config", str(tmp_path / "config.yaml"), "--model", str(tmp_path / "first" / "last")]
    arguments += ["--output_dir", str(tmp_path / "second"), "--trainable_clip", "none", "--max_steps", "2"]
    train.main([*arguments, "--config_overrides", "alignment_loss_weight=0.5"])
    before, after = (load(tmp_path / name) for name in ("first", "second"))
    assert after.config.trainable_clip == "none"
    assert after.config.alignment_loss_weight == 0.5
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert not any(is_clip_parameter(name) for name in changed)


def test_training_goes_on_from_catseg(inputs: Path, tmp_path: Path) -> None:
    catseg = "p2tformer_num_layers=0,use_alignment_head=false,use_local_pseudo_masks=false,use_auxiliary_heads=false"
    run(inputs, tmp_path / "catseg", "--max_steps", "2", "--config_overrides", catseg)
    config = yaml.safe_load((inputs / "config.yaml").read_text())
    for name in ("model_config", "tokenizer"):
        del config[name]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ["--config", str(tmp_path / "config.yaml"), "--model", str(tmp_path / "catseg" / "last")]
    arguments += ["--output_dir", str(tmp_path / "second"), "--init", "from_catseg", "--max_steps", "3"]
    train.main([*arguments, "--config_overrides", "local_kernel_size=1"])
    before, after = load(tmp_path / "catseg"), load(tmp_path / "second")
    assert after.config.use_local_pseudo_masks and after.config.local_kernel_size == 1
    new = after.state_dict().keys() - before.state_dict().keys()
    assert {name.split(".")[1] for name in new if name.startswith("decoder.")} == {
        "auxiliary_heads",
        "fusions",
        "local_embedding",
        "local_upsampling",
    }
    # Three steps leave the neutral start, but not far.
    assert after.fgaseg.p2tformer.text_scale.abs().max() > 0
    assert after.decoder.fusions[0].linear.weight[:, : after.config.decoder_hidden_dim].diagonal().min() > 0.9


def test_the_published_mode_starts_from_clip_and_trains_query_and_value(inputs: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((inputs / "config.yaml").read_text())
    fields = config.pop("model_config")
    tiny = tiny_config()
    towers = {"text_config": tiny.text_config.to_dict(), "vision_config": tiny.vision_config.to_dict()}
    CLIPModel(CLIPConfig(**towers, projection_dim=tiny.projection_dim)).save_pretrained(tmp_path / "clip")
    kept = {name: value for name, value in fields.items() if name not in ("text_config", "vision_config")}
    config["model_config"] = {**kept, "trainable_clip": "query_value"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ["--config", str(tmp_path / "config.yaml"), "--clip", str(tmp_path / "clip"), "--max_steps", "2"]
    train.main([*arguments, "--output_dir", str(tmp_path / "run")])
    old = CLIPModel.from_pretrained(tmp_path / "clip").state_dict()
    new = {name.removeprefix("fgaseg."): value for name, value in load(tmp_path / "run").state_dict().items()}
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert any("text_model" in name for name in changed)
    assert any("vision_model" in name for name in changed)
    assert all("q_proj" in name or "v_proj" in name for name in changed)


def test_tensorboard_gets_the_same_numbers(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = ("--max_steps", "2", "--evaluation_splits", "validation", "--num_logged_pictures", "2")
    log = run(inputs, tmp_path, *arguments, "--report_to", "tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name in ("loss", "gradient_norm", "pictures_per_second", "peak_memory_gib", "learning_rate"):
        logged = [line[name] for line in log if name in line]
        assert [event.value for event in events.Scalars(name)] == pytest.approx(logged)
        assert len(logged) == 2
    assert all(line["peak_memory_gib"] > 0.05 for line in log if "loss" in line)
    scalar = events.Scalars("validation/mean_iou")[-1]
    assert (scalar.step, scalar.value) == (2, pytest.approx(log[-1]["validation/mean_iou"]))
    assert sorted(events.Tags()["images"]) == ["validation/prediction/0", "validation/prediction/1"]
    shown = events.Images("validation/prediction/1")[-1]
    assert shown.step == 2
    assert shown.width > 3 * 48  # picture, prediction and truth in a row


def test_the_model_is_asked_with_the_prompts_of_the_data_set(inputs: Path, tmp_path: Path) -> None:
    plain = losses(run(inputs, tmp_path / "plain", "--max_steps", "2"))
    (tmp_path / "same.txt").write_text("\n".join(NAMES))
    same = run(inputs, tmp_path / "same", "--max_steps", "2", "--prompts", str(tmp_path / "same.txt"))
    assert losses(same) == plain
    (tmp_path / "other.txt").write_text("\n".join(["sea", "car", "car", "tree"]))
    other = run(inputs, tmp_path / "other", "--max_steps", "2", "--prompts", str(tmp_path / "other.txt"))
    assert losses(other)[1] != plain[1]
    # synonyms are told apart in evaluation alone: training asks for the first
    (tmp_path / "names.txt").write_text("\n".join([NAMES[0], *(f"{name}, thing" for name in NAMES[1:3]), NAMES[3]]))
    synonyms = ("--class_names", str(tmp_path / "names.txt"), "--prompted_synonyms")
    for kind in ("first", "all"):
        assert losses(run(inputs, tmp_path / kind, "--max_steps", "2", *synonyms, kind)) == plain
    with pytest.raises(ValueError, match="rule to measure by"):
        (tmp_path / "many.txt").write_text("\n".join([*NAMES, "car"]))
        words = ("--prompts", str(tmp_path / "many.txt"), "--background_id", "3")
        run(inputs, tmp_path / "background", "--max_steps", "2", *words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "nowhere/at/all", "--class_names", "{inputs}/dataset/class_names.txt"], "no data set"),
        (["--class_names", "{inputs}/short.txt"], "holds the id 3, but there are 3 class names"),
        (["--num_sampled_classes", "5"], "between 1 and the 4"),
        (["--batch_size", "3", "--gradient_accumulation_steps", "2"], "multiple of"),
        (["--max_steps", "0"], "--max_steps"),
        (["--warmup_steps", "8"], "--warmup_steps"),
        (["--config_overrides", "fusion"], "field=value"),
        (["--model", "somewhere", "--clip", "elsewhere"], "only start from one"),
        (["--init", "from_catseg"], "--init from_catseg needs --model"),
        (["--evaluation_vocabulary", "some", "--evaluation_splits", "validation"], "picture+16"),
        (["--held_out_groups", "unseen"], "--num_sampled_classes"),
        (["--report_to", "diary"], "'diary'"),
        (["--crop_size", "32", "32", "32"], "--crop_size is [32, 32, 32]"),
        (["--picture_size", "0"], "--picture_size is [0]"),
        (["--rare_class_temperature", "0"], "--rare_class_temperature is 0.0"),
        (["--streaming", "--rare_class_temperature", "0.1"], "leave out --streaming"),
        (["--class_balancing", "2"], "--class_balancing is 2.0"),
        (["--streaming", "--class_balancing", "0.5"], "--class_balancing needs all label maps"),
        (["--streaming", "--evaluation_splits", "train"], "cannot be evaluated on"),
        (["--streaming", "--shuffle_buffer", "0"], "--shuffle_buffer is 0"),
    ],
)
def test_bad_arguments_get_one_sentence(inputs: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (inputs / "short.txt").write_text("\n".join(NAMES[:3]))
    with pytest.raises(ValueError) as error:
        run(inputs, tmp_path, *(argument.format(inputs=inputs) for argument in arguments))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch_size", "4", "--gradient_accumulation_steps", "3"], "must be a multiple of"),
        (["--class_groups", "nowhere.json"], "There is no file nowhere.json"),
        (["--evaluation_vocabulary", "some"], "picture+16"),
        (["--scale_range", "0"], "scale_range"),
        (["--num_workers", "-1"], "--num_workers is -1"),
        (["--streaming", "--class_balancing", "0.5"], "leave out --streaming"),
        (["--class_names", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_what_arguments_say_is_checked_before_anything_is_fetched_or_made(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    def too_late(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("something was fetched, loaded or made first")

    monkeypatch.setattr(training_run, "build_model_and_processor", too_late)
    monkeypatch.setattr(training_data, "load_segmentation_splits", too_late)
    monkeypatch.setattr(training_data, "find_hub_dataset", too_late)
    with pytest.raises(ValueError) as error:
        run(inputs, tmp_path / "run", *arguments)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED", "MEGATRON_LM"])
def test_a_model_that_is_shared_out_among_processes_is_refused(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    configured = SimpleNamespace(distributed_type=run_processes.DistributedType[kind])
    monkeypatch.setattr(run_processes, "Accelerator", lambda **settings: configured)
    with pytest.raises(ValueError, match=f"configured to {kind}, but every process trains a whole copy"):
        run(inputs, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_argument_in_a_config_file_is_refused(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("learning_rat: 1")
    with pytest.raises(ValueError, match="'learning_rat', which is not an argument"):
        train.main(["--config", str(tmp_path / "config.yaml")])


def test_the_schedule_is_a_cosine_to_zero_after_a_linear_warm_up() -> None:
    factors = [training_step.learning_rate_factor(step, 100) for step in range(101)]
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)
    warm = [training_step.learning_rate_factor(step, 100, 4) for step in range(6)]
    assert warm[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert warm[5] < 1.0


@pytest.mark.parametrize("path", sorted(training_arguments.CONFIG_FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_file_is_understood(path: Path, tmp_path: Path) -> None:
    words = ["--config", path.stem, "--output_dir", str(tmp_path)]
    model, data, _ = training_arguments.parse_training_arguments(words)
    if model.model_config:
        tiny_tokenizer().save_pretrained(tmp_path)
        fields = model_building.with_vocabulary_of(tiny_tokenizer(), training_arguments.read_model_config(model))
        config = FGASegConfig(**fields)
        for side in data.crop_size or [config.image_size]:
            assert side % config.vision_config.patch_size == 0
    elif path.stem.startswith("coco_stuff"):
        assert model.clip


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


ONE_MACHINE = ("--multi_gpu", "--num_machines", "1", "--mixed_precision", "no")


def launch(
    *arguments: str, num_processes: int, script: Path | None = None, how: Sequence[str] = ONE_MACHINE
) -> subprocess.Popen[str]:
    """Starts a run; `how`: what `accelerate launch` is told beside the number of processes."""
    command = [sys.executable]
    if num_processes > 1:
        command += ["-m", "accelerate.commands.launch", *how, "--num_processes", str(num_processes)]
        command += ["--dynamo_backend", "no"]
        command += [] if "--main_process_port" in how else ["--main_process_port", str(free_port())]
    return subprocess.Popen(
        [*command, *([str(script)] if script else ["-m", "fgaseg_hf.training.train"]), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "more"),
    [
        (ONE_MACHINE, ("--config_overrides", "ignored_pixels_as_negatives=false")),
        (("--config_file", str(ACCELERATE_CONFIGS / "cpu_2_processes.yaml")), ()),
        (("--config_file", str(ACCELERATE_CONFIGS / "ddp_8_gpus.yaml")), ("--class_balancing", "1")),
    ],
    ids=["command", "cpu_2_processes", "ddp_8_gpus"],
)
def test_two_processes_train_as_one(inputs: Path, tmp_path: Path, how: Sequence[str], more: tuple[str, ...]) -> None:
    arguments = ("--max_steps", "6", "--num_sampled_classes", "3", "--evaluation_splits", "validation", *more)
    arguments += ("--learning_rate", "2e-4")  # the published rate
    one = run(inputs, tmp_path / "one", *arguments)
    config = ("--config", str(inputs / "config.yaml"), "--output_dir", str(tmp_path / "two"))
    process = launch(*config, *arguments, num_processes=2, how=how)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    two = read_log(tmp_path / "two")
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert [line["gradient_norm"] for line in two if "loss" in line] == pytest.approx(
        [line["gradient_norm"] for line in one if "loss" in line], abs=1e-3
    )
    assert two[-1]["validation/mean_iou"] == pytest.approx(one[-1]["validation/mean_iou"], abs=0.02)


SLOW_MAIN_PROCESS = """
import time
from fgaseg_hf.evaluation.command_line_arguments import run_script
from fgaseg_hf.training import train, training_data
load = training_data.load_segmentation_splits
def slowly(*arguments, **keywords):
    import os
    if os.environ["RANK"] == "0":
        time.sleep(60)
    return load(*arguments, **keywords)
training_data.load_segmentation_splits = slowly
run_script(train.main)
"""


@pytest.mark.slow
def test_processes_wait_for_a_slow_main_process_longer_than_for_a_lost_one(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_MAIN_PROCESS)
    words = ["--config", str(inputs / "config.yaml"), "--output_dir", str(tmp_path / "run"), "--max_steps", "1"]
    # 20 seconds in a step, and the main process sleeps for 60
    process = launch(*words, "--timeout_minutes", str(20 / 60), num_processes=2, script=tmp_path / "slow.py")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert list(losses(read_log(tmp_path / "run"))) == [1]


@pytest.mark.slow
def test_a_terminated_run_says_where_it_stopped(inputs: Path, tmp_path: Path) -> None:
    words = ("--config", str(inputs / "config.yaml"), "--output_dir", str(tmp_path), "--max_steps", "200")
    process = launch(*words, num_processes=1)
    for _ in range(6000):
        if (tmp_path / training_log.LOG_FILE).exists() and read_log(tmp_path) or process.poll() is not None:
            break
        time.sleep(0.02)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    step = read_log(tmp_path)[-1]["step"]
    assert (process.returncode, output.splitlines()[-1]) == (143, f"stopped at step {step} of 200, go on with --resume")


@pytest.mark.slow
def test_two_machines_stream_a_share_each(inputs: Path, tmp_path: Path) -> None:
    """As `ddp_2x8_gpus.yaml` says, with a process on each: both are this one."""
    config = ("--config", str(inputs / "config.yaml"), "--output_dir", str(tmp_path))
    how = ("--config_file", str(ACCELERATE_CONFIGS / "ddp_2x8_gpus.yaml"), "--main_process_port", str(free_port()))
    machines = [
        launch(
            *(*config, "--streaming", "--evaluation_splits", "validation"),
            num_processes=2,
            how=(*how, "--machine_rank", str(number)),
        )
        for number in range(2)
    ]
    for machine in machines:
        output, _ = machine.communicate(timeout=600)
        assert machine.returncode == 0, output
    log = read_log(tmp_path)
    assert list(losses(log)) == list(range(1, 9)) and log[-1]["validation/mean_iou"] > 0


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_losses_that_it_would_have_had(inputs: Path, tmp_path: Path) -> None:
    arguments = ("--max_steps", "30", "--checkpoint_steps", "4")
    config = ("--config", str(inputs / "config.yaml"), "--output_dir", str(tmp_path / "killed"))
    process = launch(*config, *arguments, num_processes=1)
    for _ in range(3000):
        if len(run_folder.checkpoints_in(tmp_path / "killed")) >= 2 or process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, output
    # started alike: the launcher sets the number of threads, on which the last digits depend
    found = {}
    for name, more in (("whole", ()), ("killed", ("--resume",))):
        config = ("--config", str(inputs / "config.yaml"), "--output_dir", str(tmp_path / name))
        process = launch(*config, *arguments, *more, num_processes=1)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
        found[name] = losses(read_log(tmp_path / name))
    assert len(found["whole"]) == 30
    assert found["killed"] == pytest.approx(found["whole"], abs=1e-6)
