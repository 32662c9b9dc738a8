"""Attacks and the critical sample ratio: closed forms, laws, an oracle, and how searches end."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.measures import critical_sample_ratio, fgsm, lass, lass_search, pgd

KEY = jax.random.key(0)
N, D, K = 60, 6, 4
X = jax.random.uniform(jax.random.key(1), (N, D))


def weights(key):
    first, second = jax.random.split(key)
    return 2 * jax.random.normal(first, (D, 16)), jax.random.normal(second, (16, K))


def net(params, x):
    return jnp.tanh((x - 0.5) @ params[0]) @ params[1]


PARAMS = weights(jax.random.key(2))
STACKED = jax.vmap(weights)(jax.random.split(jax.random.key(3), 3))


@partial(jax.jit, static_argnames="batch_size")
def ratio(params, x, key, radius, batch_size=None):
    return critical_sample_ratio(partial(net, params), x, key, radius=radius, num_steps=20, batch_size=batch_size)


@jax.jit
def search(params, x, key, radius, num_steps=20, box=(-jnp.inf, jnp.inf), **options):
    return lass_search(partial(net, params), x, key, radius=radius, num_steps=num_steps, box=box, **options)


@jax.jit
def by_pgd(params, x, key, radius, box):
    return pgd(partial(net, params), x, key, radius=radius, box=box)


@jax.jit
def one_step(params, x, key, radius, box=(-jnp.inf, jnp.inf)):
    return fgsm(partial(net, params), x, radius=radius, box=box)


def classes(x, params=PARAMS):
    return np.asarray(net(params, x)).argmax(-1)


def linear(x):
    """Two classes, with z_1 - z_0 = 2 w.x + b."""
    margin = x @ W + B
    return jnp.stack([-margin, margin], axis=-1)


by_fgsm = jax.jit(lambda radius: fgsm(linear, X, radius=radius))
by_lass = jax.jit(lambda radius: lass(linear, X, KEY, radius=radius).found)
W, B = jax.random.normal(jax.random.key(4), (D,)), 0.1
DISTANCE = np.abs(np.asarray(X @ W) + B) / np.abs(np.asarray(W)).sum()


@given(radius=st.floats(0.01, 0.5))
def test_fgsm_decides_a_linear_model_exactly(radius):
    found, adversary = by_fgsm(radius)
    sure = np.abs(DISTANCE - radius) > 1e-5
    np.testing.assert_array_equal(np.asarray(found)[sure], (radius > DISTANCE)[sure])
    np.testing.assert_allclose(np.abs(adversary - X)[found], radius, rtol=1e-4)


@given(radius=st.floats(0.01, 0.5))
def test_lass_finds_the_critical_samples_of_a_linear_model_and_no_others(radius):
    found = np.asarray(by_lass(radius))
    assert not found[radius < DISTANCE - 1e-6].any()
    assert found[0.95 * radius > DISTANCE].all()


@pytest.mark.parametrize("attack", [one_step, by_pgd, search])
@pytest.mark.parametrize("box", [(-9.0, 9.0), (0.0, 1.0)], ids=["free", "boxed"])
def test_adversaries_are_near_in_the_box_and_of_another_class(attack, box):
    found, adversary, *_ = attack(PARAMS, X, KEY, 0.1, box=box)
    assert 0 < found.sum() < N
    np.testing.assert_array_equal(classes(adversary) != classes(X), found)
    np.testing.assert_array_equal(adversary[~found], X[~found])
    assert jnp.abs(adversary - X).max() <= 0.1 + 1e-6
    outside = (adversary < 0) | (adversary > 1)
    assert outside.any() == (box[0] < 0)


def test_the_first_adversary_is_returned():
    """Stopping right after an example was found gives the same point; stopping just before, none."""
    long = search(PARAMS, X, KEY, 0.2)
    for steps in (1, 2, 5):
        short = search(PARAMS, X, KEY, 0.2, num_steps=steps)
        early = np.asarray((long.found_at > 0) & (long.found_at <= steps))
        assert early.any()
        np.testing.assert_array_equal(short.found, early)
        np.testing.assert_array_equal(short.adversary[early], long.adversary[early])
        np.testing.assert_array_equal(short.found_at[early], long.found_at[early])


def test_the_ratio_is_the_share_found_whatever_the_batches():
    whole = float(ratio(PARAMS, X, KEY, 0.1))
    np.testing.assert_allclose(whole, search(PARAMS, X, KEY, 0.1).found.mean(dtype=jnp.float32), rtol=1e-6)
    np.testing.assert_allclose(ratio(PARAMS, X, KEY, 0.1, batch_size=7), whole, rtol=1e-6)


def test_the_ratio_grows_with_the_radius_and_is_not_below_that_of_one_step():
    radii = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5]
    found = np.asarray([ratio(PARAMS, X, KEY, r) for r in radii])
    single = np.asarray([one_step(PARAMS, X, KEY, r).found.mean(dtype=jnp.float32) for r in radii])
    assert (np.diff(found) >= -1 / N - 1e-6).all()
    assert found[0] < 0.2
    assert found[-1] > 0.9
    assert (found >= single - 2 / N).all()


def test_jit_equals_eager():
    found = critical_sample_ratio(partial(net, PARAMS), X, KEY, radius=0.1, num_steps=20)
    np.testing.assert_allclose(found, ratio(PARAMS, X, KEY, 0.1), rtol=1e-6)
    np.testing.assert_allclose(lass(partial(net, PARAMS), np.asarray(X), KEY, radius=0.1, num_steps=20).adversary,
                               search(PARAMS, X, KEY, 0.1).adversary, rtol=1e-5)  # fmt: skip


def test_vmap_over_models_keys_and_radii_equals_loops():
    keys = jax.random.split(jax.random.key(7), 3)
    radii = jnp.asarray([0.02, 0.1, 0.4])
    whole = jax.vmap(lambda p, k, r: search(p, X, k, r))(STACKED, keys, radii)
    assert len(set(np.asarray(whole.iterations).tolist())) > 1
    for lane in range(3):
        one = search(jax.tree.map(lambda leaf: leaf[lane], STACKED), X, keys[lane], radii[lane])  # noqa: B023
        np.testing.assert_array_equal(whole.found_at[lane], one.found_at)
        np.testing.assert_allclose(whole.adversary[lane], one.adversary, rtol=1e-5)
        assert whole.iterations[lane] == one.iterations


def test_searches_end_when_all_are_found_or_too_few_are_new():
    everything = search(PARAMS, X, KEY, 2.0, num_steps=50)
    assert everything.found.all()
    assert everything.iterations == everything.found_at.max() < 50
    assert search(PARAMS, X, KEY, 0.02, num_steps=50).iterations == 50
    impatient = search(PARAMS, X, KEY, 0.2, min_new_share=0.1)
    new = np.bincount(np.asarray(impatient.found_at), minlength=int(impatient.iterations) + 1)[1:]
    assert (new[:-1] >= 0.1 * N).all()
    assert new[-1] < 0.1 * N


def test_a_very_sure_model_is_searched_all_the_same():
    """The gradient of its cross-entropy is zero in float32; the direction is not."""
    sure = jax.jit(lambda x: fgsm(lambda x: 1e4 * linear(x), x, radius=0.3))(X)
    np.testing.assert_array_equal(sure.found, DISTANCE < 0.3)
    assert 0 < sure.found.sum() < N


def test_steps_scale_with_the_units():
    """Inputs in other units with the radius along: the same points; an absolute scale says the same."""
    pixels = search(PARAMS, X, KEY, 0.1)
    other = lass_search(lambda x: net(PARAMS, x / 255), 255 * X, KEY, radius=25.5, num_steps=20)
    np.testing.assert_allclose(other.adversary / 255, pixels.adversary, rtol=1e-4, atol=1e-5)
    absolute = lass_search(
        partial(net, PARAMS), X, KEY, radius=0.1, alpha=0.25 / 3, beta=0.2 / 3, scale=1.0, num_steps=20
    )
    np.testing.assert_allclose(absolute.adversary, pixels.adversary, rtol=1e-4, atol=1e-5)


def test_no_gradient_passes_through_a_search():
    def loss(params):
        return jnp.sum(net(params, lass(partial(net, params), X, KEY, radius=0.1, num_steps=3).adversary))

    fixed = lass(partial(net, PARAMS), X, KEY, radius=0.1, num_steps=3).adversary
    expected = jax.grad(lambda params: jnp.sum(net(params, fixed)))(PARAMS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), jax.jit(jax.grad(loss))(PARAMS), expected
    )


def broken(x):
    """Logits that are NaN for inputs whose first entry is large."""
    return jnp.where(x[:, :1] > 0.7, jnp.nan, net(PARAMS, x))


def test_examples_without_numbers_do_not_count_silently():
    bad = np.asarray(X[:, 0] > 0.7)
    found = jax.jit(lambda x: lass_search(broken, x, KEY, radius=0.2, num_steps=10))(X)
    np.testing.assert_array_equal(found.defined, ~bad)
    assert not found.found[bad].any()
    np.testing.assert_array_equal(jnp.isnan(found.adversary).any(-1), bad)
    assert jnp.isnan(
        jax.jit(lambda x: critical_sample_ratio(broken, x, KEY, radius=0.2, num_steps=2, batch_size=25))(X)
    )
    assert not jnp.isnan(net(PARAMS, found.adversary[~bad])).any()


WRONG = {
    "radius": ({"radius": 0.0}, "radius: 0.0 is not a positive number"),
    "nan radius": ({"radius": float("nan")}, "radius: nan is not"),
    "alpha": ({"alpha": -0.25}, "alpha: -0.25 is not a positive number"),
    "tiny alpha": ({"alpha": 0.25 / 255}, "scale=1.0 is needed"),
    "beta": ({"beta": -1.0}, "beta: -1.0 is not a number from 0 up"),
    "scale": ({"scale": 0.0}, "scale: 0.0 is not"),
    "steps": ({"num_steps": 0}, "num_steps: 0 is not a positive number of iterations"),
    "box": ({"box": (0.0, 0.5)}, r"x: values from .* are not inside the box \[0.0, 0.5\]"),
    "box order": ({"box": (1.0, 0.0)}, "box: .* is not .* low < high"),
    "empty": ({"x": X[:0]}, r"x: shape \(0, 6\) is not a batch"),
    "no batch": ({"x": X[0]}, r"x: shape \(6,\) is not a batch"),
    "integers": ({"x": jnp.ones((3, 6), jnp.uint8)}, "x: dtype uint8 is not floating"),
    "nan": ({"x": X.at[2, 1].set(jnp.nan)}, "x: 1 of 60 examples have NaN"),
    "rank": ({"predict": lambda x: x[:, 0]}, r"predict: gives \(60,\) for 60 examples"),
    "one class": ({"predict": lambda x: x[:, :1]}, r"predict: gives \(60, 1\) for 60 examples, not \(60, 2 or more"),
    "rows": ({"predict": lambda x: x[:5]}, r"predict: gives \(5, 6\) for 60"),
    "nan logits": ({"predict": broken}, "predict: gives NaN for .* of 60 examples"),
}


@pytest.mark.parametrize(("change", "line"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_line(as_a_user, change, line):
    arguments = {"predict": partial(net, PARAMS), "x": X, "key": KEY, "radius": 0.1} | change
    calls = [critical_sample_ratio, lass]
    calls += [] if change.keys() & {"alpha", "beta", "scale"} else [pgd]
    for call in calls:
        with pytest.raises(ValueError, match=line) as caught:
            call(**arguments)
        assert "\n" not in str(caught.value)


def test_bad_batches_and_steps_of_pgd_are_refused():
    with pytest.raises(ValueError, match="batch_size: 0 is not"):
        critical_sample_ratio(partial(net, PARAMS), X, KEY, radius=0.1, batch_size=0)
    with pytest.raises(ValueError, match=r"step: -1\.0 is not"):
        pgd(partial(net, PARAMS), X, KEY, radius=0.1, step=-1.0)


@pytest.fixture(scope="module")
def foolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("foolbox")


def theirs(foolbox, steps):
    attack = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=steps, random_start=False)
    if steps == 1:
        attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        model = foolbox.JAXModel(partial(net, PARAMS), bounds=(0.0, 1.0))
        labels = jnp.argmax(net(PARAMS, X), axis=-1)
        points, _, success = attack(model, X, labels, epsilons=0.1)
    return np.asarray(points), np.asarray(success)


@pytest.mark.filterwarnings("ignore")
def test_fgsm_and_pgd_equal_foolbox(foolbox):
    points, success = theirs(foolbox, 1)
    found, adversary = fgsm(partial(net, PARAMS), X, radius=0.1, box=(0.0, 1.0))
    np.testing.assert_array_equal(found, success)
    np.testing.assert_allclose(np.asarray(adversary)[success], points[success], atol=1e-6)
    ours = pgd(partial(net, PARAMS), X, KEY, radius=0.1, step=0.025, num_steps=5, random_start=False, box=(0.0, 1.0))
    last, finally_found = theirs(foolbox, 5)
    assert finally_found[~np.asarray(found)].any()
    assert not (finally_found & ~np.asarray(ours.found)).any()
    paths = np.stack([theirs(foolbox, steps)[0] for steps in (2, 3, 4)] + [last])
    gap = np.abs(paths - np.asarray(ours.adversary)[None]).max(-1).min(0)
    late = np.asarray(ours.found) & (np.abs(ours.adversary - X).max(-1) > 0.026)
    assert late.any()
    assert gap[late].max() < 1e-6
