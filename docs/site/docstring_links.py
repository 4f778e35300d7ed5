# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Extension of Griffe, which reads docstrings for the site: what stands as [`name`] in them becomes a link."""

import re
from typing import Any

import griffe

MARKED = re.compile(r"\[`([\w.]+)`\](?!\[)")


class DocstringLinks(griffe.Extension):
    """Links the names that are public objects of the package; others become plain code."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **options: Any) -> None:
        """Goes through all docstrings, once everything is read and names can be looked up."""
        self._walk(pkg)

    def _walk(self, node: griffe.Object) -> None:
        if node.docstring is not None:
            node.docstring.value = MARKED.sub(lambda match: _link(node, match[1]), node.docstring.value)
        for member in node.members.values():
            if not member.is_alias:
                self._walk(member)


def _link(node: griffe.Object, name: str) -> str:
    place = _look_up(node, name)
    return f"`{name}`" if place is None else f"[`{name.split('.')[-1]}`][{place}]"


def _look_up(node: griffe.Object, name: str) -> str | None:
    """The full path of a public object that a docstring names: from its own scope, or from the package on."""
    try:
        path = name if name.startswith("fgaseg_hf.") else node.resolve(name)
        found = node.package.parent or node.modules_collection
        target = found[path]
        target = target.final_target if target.is_alias else target
    except (griffe.GriffeError, KeyError, AttributeError):
        return None
    is_shown = target.is_public and target.has_docstring and target.path.startswith("fgaseg_hf.")
    return target.path if is_shown else None
