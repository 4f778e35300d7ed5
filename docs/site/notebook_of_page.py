# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Makes a notebook of a page: `python docs/site/notebook_of_page.py docs/finetuning.md` writes the file beside it."""

import json
import re
import sys
from pathlib import Path


def notebook_of(page: str) -> str:
    """A notebook whose code cells are the page's Python blocks, and whose text is all that stands between them."""
    cells = []
    for number, part in enumerate(re.split(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)):
        is_code = number % 2 == 1
        lines = part.strip().splitlines(keepends=True)
        if is_code:
            code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": lines}
            cells.append(code)
        elif lines:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": lines})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).with_suffix(".ipynb").write_text(notebook_of(Path(name).read_text(encoding="utf-8")), "utf-8")
