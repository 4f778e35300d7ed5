# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The command `fgaseg`: a file a group of commands."""
