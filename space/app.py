# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The page as a Space of the Hugging Face Hub, which starts this file and opens what listens on its port."""

import os

from fgaseg_hf import Segmenter
from fgaseg_hf.apps.model_shelf import ModelShelf
from fgaseg_hf.apps.page import create_page

page = create_page(ModelShelf([os.environ.get("FGASEG_MODEL", "scenes")], Segmenter))

if __name__ == "__main__":
    page.launch(max_file_size="50mb")
