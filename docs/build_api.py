# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Writes the API reference, docs/api.md, from the docstrings of the package.

    python docs/build_api.py            writes docs/api.md
    python docs/build_api.py --check    writes nothing; ends with exit code 1 if docs/api.md is not up to date

The modules are read, not imported: signatures stand as they are in the source, whatever Python reads them.
"""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "src" / "fgaseg_hf"
TARGET = REPOSITORY / "docs" / "api.md"
# The command line documents itself by `--help`.
LEFT_OUT = {"__init__", "__main__", "command_line"}
# Modules of subcommands alone.
LEFT_OUT_ENDING = "_commands"
# Methods with two underscores that people call.
CALLED = {"__call__"}
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Examples")

INTRODUCTION = """# API reference

Made from the docstrings by `make docs`: change those, not this file. The overview is in [fgaseg.md](fgaseg.md).
"""


@dataclass
class Name:
    """A public class, function or method."""

    name: str
    module: str
    signature: str
    docstring: str
    members: list["Name"] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """What links to it lead to."""
        return f"{self.module}.{self.name}".lower()


def read_module(path: Path) -> tuple[str, list[Name]]:
    """Reads a module's docstring and public names, in the order of the source."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    listed = _listed_names(tree)
    names = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        if node.name in listed if listed is not None else not node.name.startswith("_"):
            names.append(_read(node, path.stem))
    return inspect.cleandoc(ast.get_docstring(tree) or ""), names


def read_package() -> dict[str, tuple[str, list[Name]]]:
    """Reads all modules; those whose names the package itself exports come first."""
    exported = _exported_names()
    modules = {
        path.stem: read_module(path)
        for path in sorted(SOURCE.glob("*.py"))
        if path.stem not in LEFT_OUT and not path.stem.endswith(LEFT_OUT_ENDING)
    }
    own = read_module(SOURCE / "__init__.py")[1]
    main = [name for _, names in modules.values() for name in names if name.name in exported]
    package = {"fgaseg_hf": ("The names that `import fgaseg_hf` gives.", [*main, *own])}
    for module, (docstring, names) in modules.items():
        rest = [name for name in names if name.name not in exported]
        if rest:
            package[f"fgaseg_hf.{module}"] = (docstring, rest)
    return package


def undocumented(package: dict[str, tuple[str, list[Name]]]) -> Iterator[str]:
    """Lists the public names and methods without a docstring, but for `forward` whose class has one."""
    for _, names in package.values():
        for name in names:
            for member in (name, *name.members):
                if not member.docstring:
                    yield f"{member.module}.{member.name}"


def build() -> str:
    """Returns the text of docs/api.md."""
    package = read_package()
    anchors = {name.name: name.anchor for _, names in package.values() for name in names}
    lines = [INTRODUCTION]
    for module, (_, names) in package.items():
        shown = ", ".join(f"[`{name.name}`](#{name.anchor})" for name in names)
        lines.append(f"- [`{module}`](#{module}): {shown}")
    lines.append("")
    for module, (docstring, names) in package.items():
        lines += [f'<a id="{module}"></a>', "", f"## {module}", "", _link(docstring, anchors), ""]
        for name in names:
            lines += [f'<a id="{name.anchor}"></a>', "", f"### {name.name}", "", *_render(name, anchors)]
            for member in name.members:
                lines += [f"#### {name.name}.{member.name}", "", *_render(member, anchors)]
    return "\n".join(lines).rstrip() + "\n"


def _listed_names(tree: ast.Module) -> set[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return None


def _exported_names() -> set[str]:
    return _listed_names(ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))) or set()


def _read(node: ast.ClassDef | ast.FunctionDef, module: str) -> Name:
    docstring = ast.get_docstring(node) or ""
    if isinstance(node, ast.FunctionDef):
        return Name(node.name, module, _signature(node.name, node.args, node.returns), docstring)
    init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    if init is not None:
        signature = _signature(node.name, init.args, None)
    else:
        fields = [
            ast.unparse(item)
            for item in node.body
            if isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and not item.target.id.startswith("_")
            and "ClassVar" not in ast.unparse(item.annotation)
        ]
        is_data = any("dataclass" in ast.unparse(item) or "strict" in ast.unparse(item) for item in node.decorator_list)
        signature = _in_lines(f"{node.name}(", fields if is_data else [], ")") if is_data else node.name
    members = [
        _read_member(item, node.name, module)
        for item in node.body
        if isinstance(item, ast.FunctionDef)
        and (not item.name.startswith("_") or item.name in CALLED)
        # A property's setter has no docstring of its own.
        and not any("setter" in ast.unparse(decorator) for decorator in item.decorator_list)
    ]
    return Name(node.name, module, signature, docstring, members)


def _read_member(node: ast.FunctionDef, owner: str, module: str) -> Name:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    docstring = ast.get_docstring(node) or ""
    if decorators & {"property", "cached_property"}:
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return Name(node.name, module, f"{node.name}{returns}", docstring)
    arguments = node.args
    if "staticmethod" not in decorators:
        arguments.args = arguments.args[1:]
    name = f"{owner}.{node.name}" if decorators & {"classmethod", "staticmethod"} else node.name
    return Name(node.name, module, _signature(name, arguments, node.returns), docstring)


def _signature(name: str, arguments: ast.arguments, returns: ast.expr | None) -> str:
    if name[:1].isupper() and "." not in name and arguments.args and arguments.args[0].arg == "self":
        arguments.args = arguments.args[1:]
    parts = []
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    for place, (argument, default) in enumerate(zip(positional, defaults, strict=True), start=1):
        parts.append(_argument(argument, default))
        if arguments.posonlyargs and place == len(arguments.posonlyargs):
            parts.append("/")
    if arguments.vararg:
        parts.append(f"*{_argument(arguments.vararg, None)}")
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [
        _argument(argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        parts.append(f"**{_argument(arguments.kwarg, None)}")
    return _in_lines(f"{name}(", parts, ")" + (f" -> {ast.unparse(returns)}" if returns else ""))


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg if argument.annotation is None else f"{argument.arg}: {ast.unparse(argument.annotation)}"
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if argument.annotation else f"{text}={ast.unparse(default)}"


def _in_lines(start: str, parts: list[str], end: str) -> str:
    line = f"{start}{', '.join(parts)}{end}"
    if len(line) <= 100:
        return line
    return "\n".join([start, *(f"    {part}," for part in parts), end])


def _render(name: Name, anchors: dict[str, str]) -> list[str]:
    lines = ["```python", name.signature, "```", ""]
    section = ""
    body: list[str] = []
    for line in [*name.docstring.splitlines(), None]:
        heading = None if line is None else re.fullmatch(rf"({'|'.join(SECTIONS)}):", line)
        if line is not None and heading is None:
            body.append(line)
            continue
        lines += _render_section(section, body, anchors)
        section, body = (heading[1] if heading else ""), []
    return lines


def _render_section(section: str, body: list[str], anchors: dict[str, str]) -> list[str]:
    text = inspect.cleandoc("\n".join(body)) if section else "\n".join(body).strip()
    if not text:
        return []
    if not section:
        return [_link(text, anchors), ""]
    if section.startswith("Example"):
        code = text.strip()
        return ["**Example**", "", code if code.startswith("```") else f"```python\n{code}\n```", ""]
    if section in ("Returns", "Yields"):
        return [f"**{section}:** {_link(' '.join(text.split()), anchors)}", ""]
    items: list[str] = []
    for line in text.splitlines():
        if not line.startswith(" ") and re.match(r"[\w*`., ]+( \(.*\)[^:]*)?:", line):
            subject, _, words = line.partition(": ") if ": " in line else (line.rstrip(":"), "", "")
            names, kind = (subject.split(" (", 1) + [""])[:2] if " (" in subject else (subject, "")
            shown = ", ".join(f"`{part.strip()}`" for part in names.split(","))
            items.append(f"- {shown}{f' ({kind}' if kind else ''}: {words.strip()}")
        elif items:
            items[-1] += f" {line.strip()}"
        else:
            items.append(line.strip())
    return [f"**{section}**", "", *(_link(" ".join(item.split()), anchors) for item in items), ""]


def _link(text: str, anchors: dict[str, str]) -> str:
    """Turns [`Name`] into a link where the name is in the reference, and into code where it is not."""

    def replace(found: re.Match[str]) -> str:
        name = found[1].split(".")[-1] if found[1].startswith("fgaseg_hf.") else found[1].split(".")[0]
        return f"[`{found[1]}`](#{anchors[name]})" if name in anchors else f"`{found[1]}`"

    return re.sub(r"\[`([\w.]+)`\](?!\()", replace, text)


def main() -> int:
    """Writes docs/api.md, or compares it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    text = build()
    if parser.parse_args().check:
        return int(TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
