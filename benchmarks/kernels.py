# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Counts the kernels that an accelerator is asked for: `python benchmarks/kernels.py`, see [`kernel_counts`].

Transformers imports whatever is called `kernels`, from every script of this folder: so nothing is done here then.
"""

if __name__ == "__main__":
    from kernel_counts import main

    main()
