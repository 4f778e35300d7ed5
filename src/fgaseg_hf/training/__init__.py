# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training: the loop, the Trainer, and what they optimise."""
