# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The four ways in which people fine-tune a segmentation model with Transformers, on a folder of drawn scenes.

No line but the import of the package knows that the model is asked by words. The command, also of `accelerate launch`,
is `well_known_ways.py WAY FOLDER OUTPUT STEPS`; OUTPUT/result.json then has the mean IoU on held-out pictures, before
and after.
"""

import json
import sys
from pathlib import Path
from typing import Any

import datasets
import evaluate
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    Trainer,
    TrainingArguments,
    default_data_collator,
    get_scheduler,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

import fgaseg_hf

METRIC = str(Path(fgaseg_hf.__file__).parent / "evaluation" / "segmentation_iou.py")
ID2LABEL = dict(
    enumerate("Himmel Wiese Schnee Acker Pflaster Meer Weiher Fluss Gebirge Anhöhe Wald Strand".split())  # noqa: SIM905
)
# Low-rank matrices, which begin at zero, are given several times the rate of whole weights.
LEARNING_RATE, LORA_LEARNING_RATE = 5e-4, 4e-3


def load(folder: Path) -> tuple[Any, Any]:
    return tuple(datasets.load_from_disk(str(folder / split)) for split in ("train", "validation"))


def transforms_of(image_processor: Any) -> Any:
    def prepare(rows: dict[str, Any]) -> dict[str, Any]:
        return image_processor([image.convert("RGB") for image in rows["image"]], rows["label"])

    return prepare


def compute_metrics(prediction: Any) -> dict[str, float]:
    logits, labels = prediction
    logits = torch.nn.functional.interpolate(
        torch.from_numpy(logits), size=labels.shape[-2:], mode="bilinear", align_corners=False
    )
    metric = evaluate.load(METRIC, class_names=list(ID2LABEL.values()))
    numbers = metric.compute(predictions=list(logits.argmax(dim=1).numpy()), references=list(labels))
    return {"mean_iou": numbers["mean_iou"]}


def settings(output: Path, steps: int, learning_rate: float = LEARNING_RATE, **others: Any) -> TrainingArguments:
    return TrainingArguments(
        str(output),
        max_steps=steps,
        learning_rate=learning_rate,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        save_steps=max(1, steps // 2),
        logging_steps=1,
        remove_unused_columns=False,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        seed=1,
        **others,
    )


def losses_of(trainer: Trainer) -> list[float]:
    return [float(line["loss"]) for line in trainer.state.log_history if "loss" in line]


def script_with_trainer(folder: Path, output: Path, steps: int) -> dict[str, Any]:
    """The configuration first, the model from it, the image processor alone for Trainer; goes on where it stopped."""
    label2id = {name: str(index) for index, name in ID2LABEL.items()}
    config = AutoConfig.from_pretrained(
        folder / "model", label2id=label2id, id2label={str(index): name for index, name in ID2LABEL.items()}
    )
    model = AutoModelForSemanticSegmentation.from_pretrained(folder / "model", config=config)
    image_processor = AutoImageProcessor.from_pretrained(folder / "model", do_reduce_labels=True)
    train, validation = load(folder)
    for split in (train, validation):
        split.set_transform(transforms_of(image_processor))
    trainer = Trainer(
        model=model,
        args=settings(output, steps),
        train_dataset=train,
        eval_dataset=validation,
        compute_metrics=compute_metrics,
        processing_class=image_processor,
        data_collator=default_data_collator,
    )
    before = trainer.evaluate()["eval_mean_iou"]
    checkpoint = get_last_checkpoint(str(output)) if output.exists() else None
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    return {"before": before, "after": trainer.evaluate()["eval_mean_iou"], "losses": losses_of(trainer)}


def script_with_accelerate(folder: Path, output: Path, steps: int) -> dict[str, Any]:
    """A loop of one's own."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    set_seed(1)
    label2id = {name: index for index, name in ID2LABEL.items()}
    model = AutoModelForSemanticSegmentation.from_pretrained(folder / "model", id2label=ID2LABEL, label2id=label2id)
    image_processor = AutoImageProcessor.from_pretrained(folder / "model", do_reduce_labels=True)
    train, validation = (split.with_transform(transforms_of(image_processor)) for split in load(folder))
    train_loader = DataLoader(train, shuffle=True, collate_fn=default_data_collator, batch_size=4)
    validation_loader = DataLoader(validation, collate_fn=default_data_collator, batch_size=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    scheduler = get_scheduler("polynomial", optimizer, num_warmup_steps=0, num_training_steps=steps)
    model, optimizer, train_loader, validation_loader, scheduler = accelerator.prepare(
        model, optimizer, train_loader, validation_loader, scheduler
    )

    def measure() -> float:
        metric = evaluate.load(METRIC, class_names=list(ID2LABEL.values()))
        model.eval()
        for batch in validation_loader:
            with torch.no_grad():
                outputs = model(**batch)
            upsampled = torch.nn.functional.interpolate(
                outputs.logits, size=batch["labels"].shape[-2:], mode="bilinear", align_corners=False
            )
            predictions, references = accelerator.gather_for_metrics((upsampled.argmax(dim=1), batch["labels"]))
            metric.add_batch(predictions=list(predictions.numpy()), references=list(references.numpy()))
        return metric.compute()["mean_iou"]

    before, done, losses = measure(), 0, []
    while done < steps:
        model.train()
        for batch in train_loader:
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                losses.append(loss.item())
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            done += int(accelerator.sync_gradients)
            if done >= steps:
                break
    after = measure()
    accelerator.wait_for_everyone()
    accelerator.unwrap_model(model).save_pretrained(
        output, is_main_process=accelerator.is_main_process, save_function=accelerator.save
    )
    if accelerator.is_main_process:
        image_processor.save_pretrained(output)
    accelerator.wait_for_everyone()
    return {"before": before, "after": after, "losses": losses}


def task_guide(folder: Path, output: Path, steps: int) -> dict[str, Any]:
    """Evaluated while it trains, the best checkpoint kept."""
    image_processor = AutoImageProcessor.from_pretrained(folder / "model", do_reduce_labels=True)
    train, validation = load(folder)
    train.set_transform(transforms_of(image_processor))
    validation.set_transform(transforms_of(image_processor))
    model = AutoModelForSemanticSegmentation.from_pretrained(
        folder / "model", id2label=ID2LABEL, label2id={name: index for index, name in ID2LABEL.items()}
    )
    arguments = settings(
        output,
        steps,
        eval_strategy="steps",
        eval_steps=max(1, steps // 2),
        load_best_model_at_end=True,
        metric_for_best_model="mean_iou",
    )
    trainer = Trainer(
        model=model, args=arguments, train_dataset=train, eval_dataset=validation, compute_metrics=compute_metrics
    )
    before = trainer.evaluate()["eval_mean_iou"]
    trainer.train()
    trainer.save_model()
    image_processor.save_pretrained(output)
    return {"before": before, "after": trainer.evaluate()["eval_mean_iou"], "losses": losses_of(trainer)}


def lora_guide(folder: Path, output: Path, steps: int) -> dict[str, Any]:
    """Low-rank matrices in the towers, the rest trained whole; the adapter is saved, loaded anew, and merged."""
    from peft import LoraConfig, PeftModel, get_peft_model

    label2id = {name: index for index, name in ID2LABEL.items()}

    def fresh() -> Any:
        return AutoModelForSemanticSegmentation.from_pretrained(folder / "model", id2label=ID2LABEL, label2id=label2id)

    image_processor = AutoImageProcessor.from_pretrained(folder / "model", do_reduce_labels=True)
    train, validation = load(folder)
    for split in (train, validation):
        split.set_transform(transforms_of(image_processor))
    config = LoraConfig(
        r=32,
        lora_alpha=32,
        target_modules=r".*(text|vision)_model\..*\.(q|v)_proj",
        lora_dropout=0.1,
        bias="lora_only",
        modules_to_save=["decoder", "p2tformer", "local_pseudo_masks", "upsampling_guidance", "alignment_head"],
    )
    trainer = Trainer(
        model=get_peft_model(fresh(), config),
        args=settings(output / "trainer", steps, learning_rate=LORA_LEARNING_RATE, label_names=["labels"]),
        train_dataset=train,
        eval_dataset=validation,
        compute_metrics=compute_metrics,
        data_collator=default_data_collator,
    )
    before = trainer.evaluate()["eval_mean_iou"]
    trainer.train()
    after = trainer.evaluate()["eval_mean_iou"]
    if trainer.is_world_process_zero():
        trainer.model.save_pretrained(output / "adapter")
        pixel_values = default_data_collator([validation[0], validation[1]])["pixel_values"]
        trained = trainer.model.eval()
        loaded = PeftModel.from_pretrained(fresh(), output / "adapter").eval()
        with torch.no_grad():
            expected = trained(pixel_values=pixel_values).logits
            assert torch.equal(loaded(pixel_values=pixel_values).logits, expected)
            merged = loaded.merge_and_unload()
            torch.testing.assert_close(merged(pixel_values=pixel_values).logits, expected, atol=1e-4, rtol=1e-4)
        merged.save_pretrained(output)
        image_processor.save_pretrained(output)
    return {"before": before, "after": after, "losses": losses_of(trainer)}


WAYS = {
    function.__name__: function for function in (script_with_trainer, script_with_accelerate, task_guide, lora_guide)
}

if __name__ == "__main__":
    way, places, steps = sys.argv[1], [Path(place) for place in sys.argv[2:4]], int(sys.argv[4])
    torch.set_num_threads(1)
    result = WAYS[way](*places, steps)
    if Accelerator(cpu=True).is_main_process:
        places[1].mkdir(parents=True, exist_ok=True)
        (places[1] / "result.json").write_text(json.dumps(result))
