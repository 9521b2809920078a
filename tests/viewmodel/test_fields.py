"""The definitions of all figures, which exist once in words and are the same everywhere."""

import ast
import inspect
from dataclasses import fields
from functools import cache
from itertools import pairwise

import pytest

from vmtop.derive import metrics
from vmtop.derive.metrics import HostMetrics, VmMetrics
from vmtop.viewmodel.fields import HOST_FIELDS, VM_FIELDS, Field

TABLES: tuple[tuple[type, dict[str, Field]], ...] = ((VmMetrics, VM_FIELDS), (HostMetrics, HOST_FIELDS))
UNITS = {"_bytes_per_s": "B/s", "_per_s": "1/s", "_bytes": "B", "_ratio": "ratio", "_s": "s"}


@cache
def docstrings(owner: type) -> dict[str, str]:
    """Field -> the string below it in the source, on one line."""
    tree = ast.parse(inspect.getsource(metrics))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner.__name__)
    found = {}
    for one, following in pairwise(body):
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            found[one.target.id] = " ".join(str(following.value.value).split())
    return found


@pytest.mark.parametrize(("owner", "table"), TABLES)
def test_every_figure_is_defined_and_nothing_else(owner: type, table: dict[str, Field]) -> None:
    names = {each.name for each in fields(owner)} - {"unknown", "pressure", "vms_running", "vms_total"}
    assert set(table) == names


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, table in TABLES for name in table if name in docstrings(owner)]
)
def test_the_definition_has_the_words_of_the_docstring(owner: type, name: str) -> None:
    field = dict(TABLES)[owner][name]
    words, _, _when_it_is_missing = docstrings(owner)[name].partition(" None ")
    with_source = f"{field.meaning.removesuffix('.')} ({field.source})."
    assert words in {field.meaning, with_source}


@pytest.mark.parametrize(("owner", "table"), TABLES)
def test_the_unit_is_that_of_the_name(owner: type, table: dict[str, Field]) -> None:
    for name, field in table.items():
        expected = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
        assert field.unit == expected, name
        assert field.source, name
        assert field.meaning.endswith("."), name
