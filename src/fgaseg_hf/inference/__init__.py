# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""From a picture and words to a segmentation, and how it is drawn."""
