# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The model and all that travels with a checkpoint: flat, and it imports torch, transformers and itself alone."""
