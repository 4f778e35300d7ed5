# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`python -m fgaseg_hf` is the `fgaseg` command."""

from .cli.main import main

if __name__ == "__main__":
    main()
