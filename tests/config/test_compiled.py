"""The modules that pyproject.toml names to be compiled, and what they may contain."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_HATCH = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
COMPILED = _HATCH["build"]["targets"]["wheel"]["hooks"]["mypyc"]["include"]


@pytest.mark.parametrize("name", COMPILED)
def test_no_class_of_a_compiled_module_has_options(name: str) -> None:
    tree = ast.parse((ROOT / name.lstrip("/")).read_text(encoding="utf-8"))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes if node.keywords] == []
