# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What was measured beside what was published, benchmark by benchmark."""

from collections.abc import Mapping
from typing import Any

from ..data.benchmarks import BENCHMARKS
from ..data.published_results import PUBLISHED_MEAN_IOU


def compare_with_published(model: str, reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sets mean IoUs beside the published ones.

    Args:
        model: name of the model; a published one is compared with itself, any other with all.
        reports: what was measured, by benchmark.

    Returns:
        For JSON: `model`, and under `benchmarks` by name `num_pictures`, `num_published_pictures`, `mean_iou` and
        `mean_iou_present` (in per cent), and by published model its mean IoU and what each of ours has more.
    """
    rows = {model: PUBLISHED_MEAN_IOU[model]} if model in PUBLISHED_MEAN_IOU else PUBLISHED_MEAN_IOU
    benchmarks = {}
    for name, report in reports.items():
        result = report["result"]
        ours = {kind: _per_cent(result[kind]) for kind in ("mean_iou", "mean_iou_present")}
        benchmark = BENCHMARKS.get(name)
        benchmarks[name] = {
            "num_pictures": result["num_pictures"],
            "num_published_pictures": benchmark.num_pictures.get("validation") if benchmark else None,
            **ours,
            "published": {row: _difference(ours, values[name]) for row, values in rows.items() if name in values},
        }
    return {"model": model, "benchmarks": benchmarks}


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """Formats a comparison as lines of text, one a benchmark, in per cent."""
    names = list(dict.fromkeys(row for entry in comparison["benchmarks"].values() for row in entry["published"]))
    head = f"{'benchmark':<10}  {'pictures':>14}  {'mIoU':>6}  {'mIoU*':>6}"
    lines = [head + "".join(f"  {name:>14}  {'diff.':>6}  {'diff.*':>6}" for name in names)]
    for name, entry in comparison["benchmarks"].items():
        number, whole = entry["num_pictures"], entry["num_published_pictures"]
        pictures = f"{number:,}" if whole in (None, number) else f"{number:,} of {whole:,}"
        line = f"{name:<10}  {pictures:>14}  {_column(entry['mean_iou'])}  {_column(entry['mean_iou_present'])}"
        for row in names:
            published = entry["published"].get(row, {})
            line += f"  {_column(published.get('mean_iou'), width=14, digits=1)}"
            for kind in ("mean_iou", "mean_iou_present"):
                line += f"  {_column(published.get(f'{kind}_difference'), sign='+')}"
        lines.append(line)
    lines.append(
        "mIoU averages over the classes that the label maps hold, mIoU* over those that label maps or predictions hold "
        "(as detectron2 v0.6 does)."
    )
    return "\n".join(lines)


def _difference(ours: Mapping[str, float | None], published: float) -> dict[str, float | None]:
    """Returns a published mean IoU, and what each of ours has more."""
    more = {
        f"{kind}_difference": None if value is None else round(value - published, 2) for kind, value in ours.items()
    }
    return {"mean_iou": published, **more}


def _per_cent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)


def _column(value: float | None, width: int = 6, digits: int = 2, sign: str = "") -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{sign}{width}.{digits}f}"
