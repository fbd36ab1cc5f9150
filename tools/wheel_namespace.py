"""Hatchling build hook: in the wheel, the server's packages live under `tidelog`.

In the tree they stand at the root (`from logstore.journal import Journal`), where every tool finds
them. A top-level `api` or `cluster` in someone's site-packages would fight with their own, so the
wheel nests them and rewrites the imports that name them (`from tidelog.logstore.journal import`).
Editable installs point at the tree as it is. Only `from` imports are rewritten, at any depth; a
plain `import model.ids` would bind another name, so the build refuses it.
"""

import ast
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PUBLIC: Final = "tidelog"
SERVER: Final = ("model", "logstore", "cluster", "consumer_groups", "api")


class WheelNamespace(BuildHookInterface[Any]):
    """Stages a rewritten copy of every package and adds it to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds a wheel."""
        if version == "editable":
            return
        self._staging = tempfile.TemporaryDirectory()
        for package in (PUBLIC, *SERVER):
            for source in sorted(Path(self.root, package).rglob("*")):
                if source.is_dir() or "__pycache__" in source.parts:
                    continue
                place = source.relative_to(self.root)
                target = place if package == PUBLIC else PUBLIC / place
                staged = Path(self._staging.name, target)
                staged.parent.mkdir(parents=True, exist_ok=True)
                staged.write_bytes(
                    nested(source) if source.suffix == ".py" else source.read_bytes()
                )
                build_data["force_include"][str(staged)] = str(target)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatchling when the wheel is written."""
        if version != "editable":
            self._staging.cleanup()


def nested(source: Path) -> bytes:
    """Return a module's text with its imports of server packages moved under `tidelog`."""
    text = source.read_bytes()
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import) and any(is_server(name.name) for name in node.names):
            raise SyntaxError(
                f"{source}:{node.lineno}: write `from ... import`, see tools/wheel_namespace.py"
            )
        if isinstance(node, ast.ImportFrom) and not node.level and is_server(node.module or ""):
            at = node.col_offset + len("from ")
            line = lines[node.lineno - 1]
            lines[node.lineno - 1] = line[:at] + f"{PUBLIC}.".encode() + line[at:]
    return b"".join(lines)


def is_server(module: str) -> bool:
    """Tell whether a dotted name begins with one of the server's packages."""
    return module.partition(".")[0] in SERVER
