"""The modules that pyproject.toml names to be compiled, and what they may contain."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_HATCH = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
COMPILED = _HATCH["build"]["targets"]["wheel"]["hooks"]["mypyc"]["include"]


def _parsed(name: str) -> ast.Module:
    return ast.parse((ROOT / name.lstrip("/")).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", COMPILED)
def test_no_class_of_a_compiled_module_has_options(name: str) -> None:
    tree = _parsed(name)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes if node.keywords] == []


@pytest.mark.parametrize("name", COMPILED)
def test_every_constant_of_a_compiled_module_is_final(name: str) -> None:
    plain = [node for node in _parsed(name).body if isinstance(node, ast.Assign)]
    names = {ast.unparse(target) for node in plain for target in node.targets}
    assert names <= {"T", "log"}  # a type variable, and what is seldom needed
