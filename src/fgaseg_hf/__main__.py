"""`python -m fgaseg_hf` is the `fgaseg` command."""

from .cli.main import main

if __name__ == "__main__":
    main()
