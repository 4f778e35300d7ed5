# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Hook of MkDocs: the site has the repository's own layout, the files that its pages link to, and a page a room."""

import re
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parent.parent.parent
PACKAGE = REPOSITORY / "src" / "fgaseg_hf"
# What links lead to is found from here.
FIRST_PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md"]
API = "docs/api"
# Of a room itself only what it is; its modules follow.
ROOM_OPTIONS = "    options: {show_root_heading: false, members: false}"
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the rooms' pages into the table of contents, and those of `docs` that it does not name."""
    named = str(config.nav)
    others = [f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md")) if path.name not in named]
    pages = [f"{API}/{name}.md" for name in ("index", *(room.name for room in find_rooms()))]
    config.nav = [*(config.nav or []), *([{"More": others}] if others else []), {"API": pages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Takes the repository's pages in the place of the folder `docs` alone."""
    # What the theme and other plugins brought stays.
    brought = [file for file in files if Path(file.abs_src_path or "").parent.parent != REPOSITORY]
    linked = find_linked_files()
    pages = [File.generated(config, name, abs_src_path=str(REPOSITORY / name)) for name in linked]
    return Files([*brought, *pages, *api_pages(config)])


def find_linked_files() -> list[str]:
    """Follows links from page to page; names are paths in the repository."""
    found: dict[str, None] = {}
    waiting = [path for pattern in FIRST_PAGES for path in sorted(REPOSITORY.glob(pattern))]
    while waiting:
        path = waiting.pop(0).resolve()
        name = path.relative_to(REPOSITORY).as_posix()
        if name in found or not path.is_file():
            continue
        found[name] = None
        if path.suffix == ".md":
            targets = LINK.findall(path.read_text(encoding="utf-8"))
            waiting += [path.parent / unquote(target) for target in targets if "://" not in target]
    return list(found)


def find_rooms() -> list[Path]:
    """The folders of the package's rooms."""
    return sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


def api_pages(config: MkDocsConfig) -> list[File]:
    """A page for each room, with all its modules, and one that lists the rooms."""
    rows, pages = [], []
    for room in find_rooms():
        modules = [path for path in sorted(room.glob("**/*.py")) if path.name != "__init__.py"]
        names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in modules]
        content = [f"# {room.name}\n", f"::: fgaseg_hf.{room.name}\n{ROOM_OPTIONS}\n"]
        content += [f"::: {name}\n" for name in names]
        pages.append(File.generated(config, f"{API}/{room.name}.md", content="\n".join(content)))
        rows.append(f"- [{room.name}]({room.name}.md)")
    first = "\n".join(
        ["# API", "", "One page a room; [the architecture](../architecture.md) says what each is for.", "", *rows, ""]
    )
    return [File.generated(config, f"{API}/index.md", content=first), *pages]
