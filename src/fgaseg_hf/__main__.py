"""`python -m fgaseg_hf` is the `fgaseg` command."""

from .command_line import main

if __name__ == "__main__":
    main()
