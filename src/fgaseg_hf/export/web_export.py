# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A model as a page without a server: a static folder that segments in the browser."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..inference.visualization import class_palette
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from .onnx_export import export_picture_and_words
from .web_page_files import browser_files
from .web_runtime import pinned_runtime, write_runtime

MAX_WORDS = 200
# Answers to larger pictures are drawn smaller.
MAX_PIXELS = 2**21
RESAMPLING = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}
# How CLIP's tokenizers part a text; the page's tokenizer knows no other way.
PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# Smaller tensors are not worth a node that widens them.
SMALLEST_HALVED = 1024


def export_web_page(
    model: FGASegForSemanticSegmentation,
    processor: FGASegProcessor,
    folder: str | os.PathLike[str],
    *,
    name: str,
    license: str | None = None,
    example: tuple[Path, list[str]] | None = None,
    runtime: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Writes a page that runs a model in the browser, with all that it needs: any static host can serve it.

    Args:
        model: The model, in single precision.
        processor: Its processor.
        folder: Where to write; made if it is missing. Files of the page's names are replaced.
        name: What the page calls the model.
        license: The model's licence, for the page's last line.
        example: A picture and words to offer.
        runtime: See [`fgaseg_hf.export.web_runtime.write_runtime`].

    Returns:
        The files written.

    Raises:
        ValueError: The extra `onnx` is not installed, the page cannot run such a model, the runtime cannot be had, or
            the folder cannot be written to.
    """
    about = describe_model(model, processor) | {"model": name, "license": license, "example": None}
    folder, tokenizer = Path(folder), _tokenizer_file(processor)
    # Before the programs, which take a minute.
    written = write_runtime(folder / "runtime", runtime)
    fixed = about["picture"]["size"] == [model.config.image_size] * 2
    programs = export_picture_and_words(model, folder, dynamic_image_size=not fixed)
    for program in programs:
        halve_exact_weights(program)
    written += [*programs, *(Path(shutil.copyfile(path, folder / path.name)) for path in browser_files())]
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    if example is not None:
        with Image.open(example[0]) as picture:
            picture.convert("RGB").save(folder / "example.png")
        about["example"] = {"words": example[1]}
        written.append(folder / "example.png")
    (folder / "page.json").write_text(json.dumps(about, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*written, folder / "tokenizer.json", folder / "page.json"]


def describe_model(model: FGASegForSemanticSegmentation, processor: FGASegProcessor) -> dict[str, Any]:
    """What the page must know of a model to prepare pictures and words as the processor does.

    Raises:
        ValueError: The page cannot do what this model needs.
    """
    images, tokenizer = processor.image_processor, processor.tokenizer
    config: Any = model.config
    if config.decoder_type != "category":
        raise ValueError(
            "The page runs trained models; this one has no decoder of its own: train it, or use fgaseg page."
        )
    size, resample = dict(images.size), Image.Resampling(images.resample)
    if set(size) != {"height", "width"} or resample not in RESAMPLING:
        raise ValueError(
            f"The page resizes to a fixed height and width, bilinearly or bicubically, not to {size} by "
            f"{resample.name.lower()}: change the processor's `size` and `resample`."
        )
    palette = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in class_palette(MAX_WORDS + 1).tolist()]
    return {
        "runtime": pinned_runtime()["version"],
        "threshold": config.default_threshold or 0,
        "picture": {
            "size": [size["height"], size["width"]],
            "resample": RESAMPLING[resample],
            "rescale": images.rescale_factor if images.do_rescale else 1,
            "mean": list(images.image_mean) if images.do_normalize else [0, 0, 0],
            "std": list(images.image_std) if images.do_normalize else [1, 1, 1],
        },
        "templates": processor.prompt_templates,
        "dim": config.projection_dim,
        "tokens": {
            "bos": tokenizer.bos_token_id,
            "eos": tokenizer.eos_token_id,
            "pad": tokenizer.pad_token_id,
            "maxLength": min(tokenizer.model_max_length, config.text_config.max_position_embeddings),
        },
        "max_words": MAX_WORDS,
        "max_pixels": MAX_PIXELS,
        "palette": palette,
    }


def _tokenizer_file(processor: FGASegProcessor) -> str:
    """The tokenizer's vocabulary and merges, as `tokenizer.json` has them.

    Raises:
        ValueError: It is not one of CLIP's kind.
    """
    with tempfile.TemporaryDirectory() as folder:
        processor.tokenizer.save_pretrained(folder)
        path = Path(folder) / "tokenizer.json"
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"model": {}}
    model = content["model"]
    patterns = json.dumps(content.get("pre_tokenizer"))
    is_known = json.dumps(PIECES) in patterns and model.get("end_of_word_suffix") == "</w>"
    if model.get("type") != "BPE" or not is_known:
        raise ValueError("The page tokenizes as CLIP does, and this model's tokenizer is another: use fgaseg page.")
    return json.dumps({"model": {"vocab": model["vocab"], "merges": model["merges"]}}, ensure_ascii=False)


def halve_exact_weights(path: Path) -> None:
    """Stores the weights of an ONNX file in half precision where that loses nothing, widened again when it is loaded.

    Weights that were saved in half precision take half of the file; all others stay as they are.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    program = onnx.load(path)
    casts = []
    for tensor in program.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if values.size < SMALLEST_HALVED or not np.array_equal(halves.astype(np.float32), values):
            continue
        name, stored = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(numpy_helper.from_array(halves, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    if casts:
        nodes = [*casts, *program.graph.node]
        del program.graph.node[:]
        program.graph.node.extend(nodes)
        onnx.save(program, path)


__all__ = ["describe_model", "export_web_page", "halve_exact_weights"]
