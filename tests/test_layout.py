"""The house rules that can be measured: the import arrow, the skeleton, sizes, names, docstrings, light imports."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "mlrisk").rglob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))
# A module may import from its own layer and from every layer to the right of it.
LAYERS = [
    {"cli", "commands", "run", "experiment", "__main__"},
    {"report"},
    {"harness"},
    {"objectives", "posteriors", "measures", "models", "bijectors", "data", "theory"},
    {"types", "prng", "errors", "files", "config", "__init__"},
]
SKELETON = [
    "Config",
    "make_data",
    "make_model",
    "make_objective",
    "run",
    "analyse",
    "figures",
    "CLAIMS",
    "EXPERIMENT",
]


def name(path):
    return str(path.relative_to(ROOT))


def part(path):
    """The first-level part of the package that a file belongs to."""
    inside = path.relative_to(ROOT / "mlrisk")
    return inside.parts[0].removesuffix(".py")


def imported_parts(path):
    """The first-level parts of mlrisk that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "mlrisk":
            yield from (alias.name for alias in node.names if not alias.name.startswith("__"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlrisk."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("mlrisk."))


def layer(part):
    return next(number for number, names in enumerate(LAYERS) if part in names)


def functions(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def length(node):
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_imports_point_one_way(path):
    own = layer(part(path))
    wrong = {other for other in imported_parts(path) if layer(other) < own}
    assert not wrong, f"{name(path)} imports {wrong} from above it"
    assert "import experiments" not in path.read_text()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_experiments_have_the_skeleton_in_its_order(path):
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
    assert [part for part in found if part in SKELETON] == SKELETON


@pytest.mark.parametrize("path", LIBRARY + EXPERIMENTS, ids=name)
def test_files_are_short_and_functions_shorter(path):
    assert len(path.read_text().splitlines()) <= 300
    # a public function may be long for its docstring
    long = [node.name for node in functions(path) if length(node) > 60 and body_length(node) > 50]
    assert not long


def test_the_median_function_is_under_ten_lines():
    lengths = sorted(body_length(node) for path in LIBRARY for node in functions(path))
    assert lengths[len(lengths) // 2] < 10


def body_length(node):
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return length(node) - (length(first) if documented else 0)


@pytest.mark.parametrize("path", LIBRARY + EXPERIMENTS, ids=name)
def test_forbidden_words(path):
    text = path.read_text()
    for pattern in (
        r"PRNGKey\(",
        r"\b(TODO|FIXME|XXX)\b",
        "NotImplementedError",
        "from __future__ import annotations",
    ):
        assert not re.search(pattern, text), pattern
    assert path.name != "utils.py"


@pytest.mark.parametrize("path", LIBRARY + EXPERIMENTS, ids=name)
def test_public_functions_are_documented_and_annotated(path):
    tree = ast.parse(path.read_text())
    bodies = [tree.body] + [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    public = [n for body in bodies for n in body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    for node in public:
        assert ast.get_docstring(node), f"{node.name} has no docstring"
        assert node.returns is not None, f"{node.name} has no return annotation"
        named = [a for a in node.args.args + node.args.kwonlyargs if a.arg not in ("self", "cls")]
        assert all(a.annotation for a in named), f"{node.name} has arguments without annotation"


@pytest.mark.parametrize("package", ["objectives", "measures", "models", "bijectors", "prng", "types"])
def test_library_imports_are_light(package):
    """Whoever imports a measure pays for no data, plotting or command-line library."""
    heavy = (
        "tensorflow_datasets",
        "matplotlib",
        "draccus",
        "argparse_none",
        "jinja2",
        "orbax",
        "pyarrow",
        "tqdm",
    )
    code = f"import sys, mlrisk.{package}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    loaded = [word for word in ast.literal_eval(done.stdout) if package != "models" or word not in ("orbax", "tqdm")]
    assert loaded == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
