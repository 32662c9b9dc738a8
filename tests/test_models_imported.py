"""A user's own model by name: every way to hand it over, and a line for every way to get it wrong."""

import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.models.imported import imported_model
from mlrisk.types import Model

CODE = textwrap.dedent("""
    import types
    import flax.linen as nn
    import jax, jax.numpy as jnp
    from mlrisk.types import Model

    def init(shape, classes):
        return lambda key: {"w": 0.1 * jax.random.normal(key, (shape[0], classes))}

    def apply(params, x):
        return x @ params["w"]

    def pair(shape, classes):
        return init(shape, classes), apply

    def model(shape, classes):
        return Model(init(shape, classes), apply)

    def thing(shape, classes):
        return types.SimpleNamespace(init=init(shape, classes), apply=apply)

    def linen(shape, classes):
        net = nn.Dense(classes)
        return lambda key: net.init(key, jnp.zeros((1, *shape))), net.apply

    def fails(shape, classes):
        raise RuntimeError("no such luck\\nand more")

    def one(shape, classes):
        return apply

    def fewer(shape, classes):
        return init(shape, classes - 1), apply

    def integers(shape, classes):
        return init(shape, classes), lambda p, x: apply(p, x).argsort()

    def crooked(shape, classes):
        return init((7,), classes), apply

    def several(shape, classes):
        return init(shape, classes), lambda p, x: (apply(p, x), 0)

    number = 3
""")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit('bye')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["pair", "model", "thing", "linen"])
def test_every_kind_of_model_predicts(name, folder):
    for place in ("own_models", "own_models.py", str(folder / "own_models.py")):
        model = imported_model(f"{place}:{name}", (4,), 3)
        assert isinstance(model, Model)
        params = model.init(jax.random.key(0))
        assert model.apply(params, jnp.ones((5, 4))).shape == (5, 3)
        assert not np.allclose(model.apply(params, jnp.ones((1, 4))), model.apply(params, 2 * jnp.ones((1, 4))))


BAD = {
    "own_models": "model: 'own_models' is not module:callable",
    "own_models:": "model: 'own_models:' is not module:callable",
    ":pair": "model: ':pair' is not module:callable",
    "own_models:pear": "model: own_models has no callable 'pear'",
    "own_models:number": "model: own_models has no callable 'number'",
    "no_such_module:f": "model: 'no_such_module:f' cannot be imported (ModuleNotFoundError: No module named 'no_such_module')",
    "absent.py:f": "model: 'absent.py:f' cannot be imported (FileNotFoundError: there is no file absent.py)",
    "broken.py:f": "model: 'broken.py:f' cannot be imported (ModuleNotFoundError: No module named 'nowhere_to_be_found')",
    "syntax.py:f": "model: 'syntax.py:f' cannot be imported (SyntaxError",
    "leaves.py:f": "model: 'leaves.py:f' cannot be imported (SystemExit: bye)",
    "own_models.py:fails": "model: 'own_models.py:fails' fails for inputs of shape (4,) and 3 classes (RuntimeError: no such luck)",
    "own_models.py:one": "model: 'own_models.py:one' returns a function, not a pair of functions (init, apply)",
    "own_models.py:fewer": "model: 'own_models.py:fewer' gives",
    "own_models.py:integers": "model: 'own_models.py:integers' gives",
    "own_models.py:several": "model: 'own_models.py:several' gives",
    "own_models.py:crooked": "model: 'own_models.py:crooked' fails on inputs of shape (4,) (TypeError",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_models_get_their_line(name, folder):
    with pytest.raises(BadInput) as caught:
        imported_model(name, (4,), 3)
    assert str(caught.value).startswith(BAD[name])
    assert "\n" not in str(caught.value)


def test_a_file_is_read_anew_each_time(folder):
    """A model that was mended between two calls of one process is the mended one."""
    with pytest.raises(BadInput):
        imported_model("own_models.py:fewer", (4,), 3)
    (folder / "own_models.py").write_text(CODE.replace("classes - 1", "classes"))
    assert isinstance(imported_model("own_models.py:fewer", (4,), 3), Model)
