# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`Trainer` on a tiny model: the same curve as the Accelerate loop, exact metrics, resuming, LoRA, pushing."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import finetune_with_trainer
import numpy as np
import pytest
import torch
from hub_server import local_hub
from PIL import Image
from tiny_models import tiny_model, tiny_processor
from transformers import AutoModelForSemanticSegmentation, AutoProcessor, Trainer, TrainingArguments

from fgaseg_hf.data.data_collator import FGASegDataCollator
from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix
from fgaseg_hf.training import train
from fgaseg_hf.training.segmentation_trainer import FGASegTrainer, FGASegTrainingArguments, SegmentationMetrics
from fgaseg_hf.training.training_log import LOG_FILE

NAMES = ["sky", "red car", "blue car", "tree"]
COLOURS = np.array([[90, 160, 230], [220, 30, 30], [30, 30, 200], [20, 140, 40]])
RECIPE = {"learning_rate": "1e-3", "clip_learning_rate_multiplier": "1.0", "max_grad_norm": "1.0", "seed": "3"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures as a folder of pictures and masks and in the Hub's layout, and a model to start from."""
    folder = tmp_path_factory.mktemp("trainer")
    generator = np.random.default_rng(0)
    for split, number in (("train", 6), ("validation", 3)):
        for kind in ("images", "masks"):
            (folder / "pictures" / split / kind).mkdir(parents=True)
        for index in range(number):
            labels = np.zeros((40 + 3 * index, 48 - index), dtype=np.uint8)
            labels[generator.integers(10, 30) :] = generator.integers(1, 4)
            labels[:4, :4] = 255
            noise = generator.integers(-10, 10, (*labels.shape, 3))
            picture = Image.fromarray((COLOURS[labels % 4] + noise).clip(0, 255).astype(np.uint8))
            picture.save(folder / "pictures" / split / "images" / f"{index}.png")
            Image.fromarray(labels).save(folder / "pictures" / split / "masks" / f"{index}.png")
        (folder / "hub" / "data").mkdir(parents=True, exist_ok=True)
        rows = finetune_with_trainer.load_folder(folder / "pictures" / split)
        rows.to_parquet(folder / "hub" / "data" / f"{split}-00000-of-00001.parquet")
    for place in ("pictures", "hub"):
        (folder / place / "class_names.txt").write_text("\n".join(NAMES))
    tiny_model(trainable_clip="all", num_aggregation_layers=1).save_pretrained(folder / "model")
    tiny_processor().save_pretrained(folder / "model")
    return folder


def run_example(inputs: Path, output: Path, *arguments: str) -> FGASegTrainer:
    recipe = [word for name, value in RECIPE.items() for word in (f"--{name}", value)]
    places = ["--model", str(inputs / "model"), "--folder", str(inputs / "pictures"), "--output_dir", str(output)]
    settings = ["--logging_steps", "1", "--use_cpu", "--report_to", "none", "--disable_tqdm", "true"]
    settings += ["--trainable_clip", "all"]
    return finetune_with_trainer.main([*places, *recipe, *settings, "--save_strategy", "no", *arguments])


def losses_of(trainer: Trainer) -> list[float]:
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


@pytest.mark.parametrize("parts", [1, 2])
def test_trainer_and_the_accelerate_loop_have_the_same_losses(inputs: Path, tmp_path: Path, parts: int) -> None:
    recipe = [word for name, value in RECIPE.items() for word in (f"--{name}", value)]
    train.main(
        [
            *(
                "--model",
                str(inputs / "model"),
                "--dataset",
                str(inputs / "hub"),
                "--output_dir",
                str(tmp_path / "loop"),
            ),
            *("--max_steps", "20", "--batch_size", "2", "--gradient_accumulation_steps", str(parts)),
            *("--scale_range", "1.0", "1.5", "--logging_steps", "1", *recipe),
        ]
    )
    lines = (tmp_path / "loop" / LOG_FILE).read_text().splitlines()
    expected = [json.loads(line)["loss"] for line in lines]
    trainer = run_example(
        inputs,
        tmp_path / "trainer",
        *("--max_steps", "20", "--per_device_train_batch_size", str(2 // parts)),
        *("--gradient_accumulation_steps", str(parts)),
    )
    assert len(expected) == 20
    assert losses_of(trainer) == pytest.approx(expected, abs=1e-3)
    assert expected[-1] < expected[0]

    # the weights too, not only what is logged of them
    first, second = (
        AutoModelForSemanticSegmentation.from_pretrained(folder)
        for folder in (tmp_path / "loop" / "last", tmp_path / "trainer")
    )
    start = AutoModelForSemanticSegmentation.from_pretrained(inputs / "model")
    before, one, other = (
        torch.cat([weight.detach().flatten() for weight in model.parameters()]) for model in (start, first, second)
    )
    # All together: a weight whose gradient is next to nothing goes by Adam's full step wherever rounding takes it.
    assert (one - other).norm() < 0.1 * (one - before).norm()
    if parts == 1:
        check_evaluation(trainer, inputs)


def check_evaluation(trainer: FGASegTrainer, inputs: Path) -> None:
    """Compares the numbers with those of pictures of different sizes that are taken one by one."""
    rows = finetune_with_trainer.load_folder(inputs / "pictures" / "validation")
    metric = SegmentationConfusionMatrix(NAMES)
    model, processor = trainer.model.eval(), trainer.processing_class
    for row in rows:
        with torch.no_grad():
            outputs = model(**processor(images=row["image"], text=NAMES, return_tensors="pt"))
        size = row["image"].size[::-1]
        metric.update(processor.post_process_semantic_segmentation(outputs, [size])[0], np.array(row["annotation"]))
    result = metric.compute()
    numbers = trainer.evaluate()
    for name, value in result.summary().items():
        # a batch rounds otherwise than its pictures one by one, which may turn a pixel over
        assert numbers[f"eval_{name}"] == pytest.approx(value, abs=2e-3), name
    assert trainer.compute_metrics.result.num_pixels == result.num_pixels
    assert trainer.compute_metrics.result.num_pictures == 3
    predicted = trainer.predict(rows)
    assert predicted.metrics["test_mean_iou"] == pytest.approx(numbers["eval_mean_iou"])
    assert predicted.predictions.shape == (3, 3, len(NAMES))


def test_a_resumed_run_goes_on_and_the_best_model_is_kept(inputs: Path, tmp_path: Path) -> None:
    arguments = [
        *("--max_steps", "6", "--per_device_train_batch_size", "2", "--eval_strategy", "steps", "--eval_steps", "2"),
        *("--save_strategy", "steps", "--save_steps", "2", "--load_best_model_at_end"),
        *("--metric_for_best_model", "eval_mean_iou"),
    ]
    whole = run_example(inputs, tmp_path / "whole", *arguments)
    checkpoint = tmp_path / "whole" / "checkpoint-4"
    assert (checkpoint / "processor_config.json").is_file()
    resumed = run_example(inputs, tmp_path / "resumed", *arguments, "--resume_from_checkpoint", str(checkpoint))
    assert losses_of(resumed) == pytest.approx(losses_of(whole), abs=1e-5)
    trained = [name for name, parameter in whole.model.named_parameters() if parameter.requires_grad]
    assert trained == resumed.model.trainable_parameter_names()

    scores = {line["step"]: line["eval_mean_iou"] for line in whole.state.log_history if "eval_mean_iou" in line}
    assert set(scores) == {2, 4, 6}
    assert whole.state.best_metric == max(scores.values())
    assert whole.evaluate()["eval_mean_iou"] == pytest.approx(max(scores.values()))


def test_parameter_groups_and_schedule(inputs: Path, tmp_path: Path) -> None:
    trainer = run_example(
        inputs, tmp_path, "--max_steps", "2", "--learning_rate", "1e-4", "--clip_learning_rate_multiplier", "0.5"
    )
    groups = {group["name"]: group for group in trainer.optimizer.param_groups}
    assert list(groups) == ["head", "head_norms", "clip", "clip_norms"]
    assert groups["clip"]["initial_lr"] == pytest.approx(0.5e-4)
    assert groups["head_norms"]["weight_decay"] == 0
    rates = [line["learning_rate"] for line in trainer.state.log_history if "learning_rate" in line]
    assert rates == pytest.approx([1e-4, 0.5e-4])
    assert FGASegTrainingArguments(output_dir=str(tmp_path)).clip_learning_rate_multiplier == 0.01
    trainer.optimizer, trainer.args.optim = None, "adafactor"
    assert len(trainer.create_optimizer().param_groups) == 4


def test_lora_trains_small_matrices_and_merges(inputs: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    trainer = run_example(
        inputs, tmp_path, "--max_steps", "2", "--per_device_train_batch_size", "2", "--lora_rank", "2"
    )
    trained = [name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad]
    lora = [name for name in trained if "lora_" in name]
    towers = [2 * layers for layers in (2, 3)]
    assert len(lora) == 2 * sum(towers)
    assert all(".q_proj." in name or ".v_proj." in name for name in lora)
    assert all("modules_to_save" in name for name in set(trained) - set(lora))
    groups = {group["name"]: set(group["param_names"]) for group in trainer.optimizer.param_groups}
    assert groups["clip"] == set(lora)

    base = AutoModelForSemanticSegmentation.from_pretrained(inputs / "model")
    adapted = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    batch = trainer.processing_class(images=Image.new("RGB", (40, 40), (9, 9, 200)), text=NAMES, return_tensors="pt")
    with torch.no_grad():
        expected = trainer.model.eval()(**batch).logits
        torch.testing.assert_close(adapted(**batch).logits, expected)
        torch.testing.assert_close(adapted.merge_and_unload()(**batch).logits, expected, atol=1e-4, rtol=1e-4)


def test_a_trained_model_is_pushed_and_loaded_again(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_hub() as hub:
        point_to(hub.url, monkeypatch)
        trainer = run_example(
            inputs,
            tmp_path,
            *("--max_steps", "1", "--push_to_hub", "--hub_model_id", "someone/mine", "--hub_token", "hf_stand_in"),
        )
        files = hub.repositories["someone/mine"].files
        assert {"model.safetensors", "config.json", "processor_config.json", "README.md"} <= set(files)
        for name, content in files.items():
            (tmp_path / "pulled" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "pulled" / name).write_bytes(content)
    model = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "pulled")
    processor = AutoProcessor.from_pretrained(tmp_path / "pulled")
    batch = processor(images=Image.new("RGB", (40, 40)), text=NAMES, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, trainer.model.eval()(**batch).logits)


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends what goes to the Hub to another address."""
    from huggingface_hub import HfApi, constants
    from transformers import trainer

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(trainer, "hf_api", lambda: HfApi(endpoint=url))


def small_trainer(tmp_path: Path, kind: Callable[..., Trainer] = FGASegTrainer, **keywords: Any) -> Trainer:
    rows = [
        {"image": Image.new("RGB", (32, 32), tuple(COLOURS[n].tolist())), "annotation": np.full((32, 32), n)}
        for n in range(4)
    ]
    arguments = FGASegTrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, per_device_eval_batch_size=3
    )
    return kind(
        model=tiny_model(),
        args=arguments,
        eval_dataset=rows,
        **{"data_collator": FGASegDataCollator(tiny_processor(), NAMES), **keywords},
    )


def test_plain_trainer_counts_the_same(tmp_path: Path) -> None:
    groups = {"seen": NAMES[:2], "unseen": NAMES[2:]}
    ours = small_trainer(tmp_path, class_groups=groups).evaluate()
    metrics = SegmentationMetrics(NAMES, groups)
    plain = small_trainer(
        tmp_path, Trainer, compute_metrics=metrics, preprocess_logits_for_metrics=metrics.count_logits
    ).evaluate()
    names = [name for name in ours if "iou" in name or "accuracy" in name or name == "eval_loss"]
    assert "eval_mean_iou/unseen" in names
    assert {name: plain[name] for name in names} == pytest.approx({name: ours[name] for name in names})


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path)
    assert not trainer.model_accepts_loss_kwargs
    sample = {
        "pixel_values": torch.zeros(3, 32, 32),
        "labels": torch.zeros(32, 32, dtype=torch.long),
        "class_indices": torch.tensor([1, 2]),
    }
    with pytest.raises(ValueError, match="same classes for every picture"):
        trainer.evaluate([sample, sample])
    trainer.args._n_gpu = 2
    with pytest.raises(ValueError, match="One process sees 2 GPUs"):
        FGASegTrainer(model=tiny_model(), args=trainer.args, data_collator=trainer.data_collator)
    with pytest.raises(ValueError, match="in pairs"):
        finetune_with_trainer.load_folder(tmp_path)
    with pytest.raises(ValueError, match="--max_steps"):
        finetune_with_trainer.main(["--model", "x", "--folder", "y", "--output_dir", str(tmp_path), "--use_cpu"])


def test_predictions_need_no_masks_and_smoothing_is_refused(inputs: Path, tmp_path: Path) -> None:
    processor = AutoProcessor.from_pretrained(inputs / "model")
    model = AutoModelForSemanticSegmentation.from_pretrained(inputs / "model")
    arguments = {"output_dir": str(tmp_path), "use_cpu": True, "report_to": "none", "disable_tqdm": True}
    collator = FGASegDataCollator(processor, NAMES)
    trainer = FGASegTrainer(model=model, args=FGASegTrainingArguments(**arguments), data_collator=collator)
    rows = finetune_with_trainer.load_folder(inputs / "pictures" / "validation").remove_columns("annotation")
    prediction = trainer.predict(rows)
    assert prediction.predictions.shape[:2] == (3, len(NAMES))
    assert prediction.label_ids is None
    with pytest.raises(ValueError, match="`label_smoothing_factor`"):
        FGASegTrainer(model=model, args=FGASegTrainingArguments(**arguments, label_smoothing_factor=0.1))


def test_plain_trainer_leaves_label_smoothing_out_and_says_so(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    model = AutoModelForSemanticSegmentation.from_pretrained(
        tmp_path / "model", id2label=dict(enumerate(NAMES)), label2id={name: index for index, name in enumerate(NAMES)}
    )
    sample = {"pixel_values": torch.zeros(3, 32, 32), "labels": torch.zeros(32, 32, dtype=torch.long)}
    losses = []
    for factor in (0.0, 0.1):
        arguments = TrainingArguments(
            str(tmp_path), label_smoothing_factor=factor, use_cpu=True, report_to="none", disable_tqdm=True
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer = Trainer(model, arguments, eval_dataset=[sample, sample])
        assert any("Label smoothing is not compatible" in str(warning.message) for warning in caught) == bool(factor)
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == losses[1]
