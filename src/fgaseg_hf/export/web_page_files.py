# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files of the page without a server, as they lie in the package."""

from importlib import resources
from pathlib import Path

# What a browser reads; the rest of the folder is for the export alone.
BROWSER_SUFFIXES = (".css", ".html", ".js")


def web_page_file(name: str) -> Path:
    """The path of one of the page's files."""
    return Path(str(resources.files("fgaseg_hf.export") / "web_page" / name))


def browser_files() -> list[Path]:
    """Those that an exported page is made of."""
    return sorted(path for path in web_page_file("").iterdir() if path.suffix in BROWSER_SUFFIXES)


__all__ = ["browser_files", "web_page_file"]
