# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Measuring: counts, protocols, and the evaluation that counts each picture once."""
