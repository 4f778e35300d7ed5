# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Fine-tunes FGASeg with `transformers.Trainer` on a folder of pictures and masks of one's own.

The folder holds
    FOLDER/class_names.txt                  one class name a line; line 1 is the id 0
    FOLDER/train/images/a.jpg               pictures of any size
    FOLDER/train/masks/a.png                their masks: one channel, 8 or 16 bits; 255 where nothing is annotated
    FOLDER/validation/images, .../masks     the same, to measure on
and the command is
    python training/finetune_with_trainer.py --model MODEL --folder FOLDER --output_dir runs/mine \
        --max_steps 1000 --per_device_train_batch_size 4 --eval_strategy steps --eval_steps 100 --save_steps 100 \
        --load_best_model_at_end --metric_for_best_model eval_mean_iou
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.utils.data import Subset
from transformers import AutoProcessor, HfArgumentParser

from fgaseg_hf import FGASegForSemanticSegmentation
from fgaseg_hf.data.augmentation import AugmentationConfig
from fgaseg_hf.data.class_list_files import load_class_names
from fgaseg_hf.data.data_collator import FGASegDataCollator
from fgaseg_hf.data.segmentation_split import SegmentationSplit
from fgaseg_hf.data.training_samples import TrainingSamples
from fgaseg_hf.training.segmentation_trainer import FGASegTrainer, FGASegTrainingArguments

# Low-rank matrices beside the query and value projections of CLIP learn; all that is not CLIP is trained as a whole.
LORA: dict[str, Any] = {
    "target_modules": r"fgaseg\.(text|vision)_model\..*\.(q|v)_proj",
    "modules_to_save": ["p2tformer", "local_pseudo_masks", "upsampling_guidance", "decoder", "alignment_head"],
}


@dataclass
class ExampleArguments:
    """What `TrainingArguments` does not have."""

    model: str = field(metadata={"help": "FGASeg checkpoint to start from: folder or Hub id"})
    folder: str = field(metadata={"help": "pictures, masks and class names, as above"})
    scale_range: list[float] = field(
        default_factory=lambda: [1.0, 1.5], metadata={"help": "random scale of a picture before it is cropped"}
    )
    flip_probability: float = field(default=0.5, metadata={"help": "share of mirrored pictures"})
    colour_jitter_probability: float = field(default=0.5, metadata={"help": "chance of each of SSD's colour changes"})
    do_reduce_labels: bool = field(
        default=False, metadata={"help": "masks count the classes from 1, and 0 is not annotated"}
    )
    trainable_clip: str = field(
        default="query_value",
        metadata={"help": "what trains of CLIP", "choices": ["query_value", "all", "none"]},
    )
    lora_rank: int = field(default=0, metadata={"help": "train LoRA matrices of this rank in CLIP instead"})


def load_folder(folder: Path) -> datasets.Dataset:
    """Pairs the pictures of a folder with the masks of the same name."""
    images, masks = (
        {path.stem: str(path) for path in sorted((folder / kind).glob("*"))} for kind in ("images", "masks")
    )
    if not images or images.keys() != masks.keys():
        unpaired = sorted(images.keys() ^ masks.keys())
        raise ValueError(f"{folder} must hold images/NAME.* and masks/NAME.* in pairs; unpaired: {unpaired[:5]}.")
    rows = datasets.Dataset.from_dict({"image": list(images.values()), "annotation": list(masks.values())})
    return rows.cast_column("image", datasets.Image()).cast_column("annotation", datasets.Image())


def main(arguments: Sequence[str] | None = None) -> FGASegTrainer:
    """Trains, saves the model with its processor, and returns the trainer."""
    kinds: list[Any] = [ExampleArguments, FGASegTrainingArguments]
    example, training = HfArgumentParser(kinds).parse_args_into_dataclasses(arguments)
    if training.max_steps < 1:
        raise ValueError("--max_steps is missing: the number of optimiser steps.")

    # 1. The model, and the processor that belongs to it.
    model = FGASegForSemanticSegmentation.from_pretrained(example.model, dtype=torch.float32)
    model.set_trainable_clip(example.trainable_clip)
    processor = AutoProcessor.from_pretrained(example.model)
    processor.image_processor.do_reduce_labels = example.do_reduce_labels
    ignore_index = model.config.semantic_loss_ignore_index
    if example.lora_rank:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=example.lora_rank, **LORA))

    # 2. The data. Training samples are augmented tensors in an endless shuffled order, so Trainer takes them in turn;
    #    validation rows are taken as they are, since predictions are measured at each picture's own size.
    class_names = load_class_names(example.folder)
    rows = {split: load_folder(Path(example.folder) / split) for split in ("train", "validation")}
    image_size = processor.image_processor.size
    samples = TrainingSamples(
        SegmentationSplit(
            rows=rows["train"],
            class_names=class_names,
            id_map={id + 1: id for id in range(len(class_names))} if example.do_reduce_labels else None,
        ),
        AugmentationConfig(
            crop_size=(image_size["height"], image_size["width"]),
            scale_range=(example.scale_range[0], example.scale_range[-1]),
            flip_probability=example.flip_probability,
            colour_jitter_probability=example.colour_jitter_probability,
        ),
        seed=training.seed,
        image_mean=processor.image_processor.image_mean,
        image_std=processor.image_processor.image_std,
        ignore_index=ignore_index,
    )
    training.train_sampling_strategy = "sequential"
    pictures_a_step = training.train_batch_size * training.gradient_accumulation_steps * training.world_size

    # 3. Trainer: the collator adds the prompts of the class names; parameter groups and mean IoU follow from it.
    trainer = FGASegTrainer(
        model=model,
        args=training,
        train_dataset=Subset(samples, range(training.max_steps * pictures_a_step)),
        eval_dataset=rows["validation"],
        data_collator=FGASegDataCollator(processor, class_names, ignore_index=ignore_index),
    )
    trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    trainer.save_model()
    trainer.log_metrics("validation", trainer.evaluate())
    if training.push_to_hub:
        trainer.push_to_hub()
    return trainer


if __name__ == "__main__":
    main()
