# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Doors for people who write no Python: each stands on `Segmenter`, is thin, and is an extra."""
