# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Published results of models that this package reads, to stand beside what is measured here."""

# The six benchmarks that papers on open vocabularies report, in their order; names as in `benchmarks.BENCHMARKS`.
PUBLISHED_BENCHMARKS = ("a-847", "pc-459", "a-150", "pc-59", "pas-20", "pas-20b")

# mIoU in per cent by model and benchmark: CAT-Seg (Cho et al., arXiv 2303.11797), of its public checkpoints.
PUBLISHED_MEAN_IOU: dict[str, dict[str, float]] = {
    "catseg-base": dict(zip(PUBLISHED_BENCHMARKS, (12.0, 19.0, 31.8, 57.5, 94.6, 77.3), strict=True)),
    "catseg-large": dict(zip(PUBLISHED_BENCHMARKS, (16.0, 23.8, 37.9, 63.3, 97.0, 82.5), strict=True)),
}
