# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What the steps of `rehearse.py` say of the published run: which batch fits, and how long it takes."""

from typing import Any

# Pictures of the published run: 80,000 steps of 4.
PUBLISHED_PICTURES = 320_000
# What a step may fill of a GPU; the rest is for other shapes of text and for fragments.
USABLE_SHARE = 0.9


def plan_run(report: dict[str, Any]) -> dict[str, Any]:
    """Returns which batch fits, and how long the published run takes on each number of processes."""
    rows = [row for row in report["steps"] if "error" not in row]
    plan: dict[str, Any] = {}
    alone = sorted((row["pictures_per_process"], row["peak_gib"]) for row in rows if row["num_processes"] == 1)
    if len(alone) > 1 and report["gpus"]:
        (few, little), (many, much) = alone[0], alone[-1]
        a_picture = max((much - little) / (many - few), 1e-3)
        usable = USABLE_SHARE * min(gpu["gib"] for gpu in report["gpus"])
        plan["pictures_that_fit_in_a_GPU"] = max(int(few + (usable - little) / a_picture), 0)
        plan["GiB_of_a_picture"] = round(a_picture, 2)
    for num_processes in sorted({row["num_processes"] for row in rows}):
        best = max(row["pictures_per_second"] for row in rows if row["num_processes"] == num_processes)
        hours = PUBLISHED_PICTURES / best / 3600
        plan[f"hours_of_{PUBLISHED_PICTURES}_pictures_on_{num_processes}"] = round(hours, 1)
    judged = [row["ok"] for row in report["parity"] if row["ok"] is not None]
    plan["all_precisions_ok"] = all(judged)
    plan["precisions_not_judged"] = len(report["parity"]) - len(judged)
    return plan
