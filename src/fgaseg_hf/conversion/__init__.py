# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints of others to ours and back, and what a checkpoint holds."""
