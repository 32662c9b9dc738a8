"""Toy energies, toy densities and the sine posterior against closed forms and quadrature."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data import ENERGIES, TOYS, find_energy, find_toy, log_normaliser, sine
from mlrisk.data.energies import U4_LOG_NORMALISER, U4_MODES, U4_WEIGHTS, Energy, grid, mode_masses, outside_modes
from mlrisk.data.toys import gaussian_grid, swiss_roll
from mlrisk.errors import BadInput

FAR = jnp.asarray([[0.0, 0.0], [1e4, -1e4], [-1e4, 1e4], [0.0, 1e4], [1e-30, 0.0], [2.0, 2.0]])


@pytest.fixture(params=ENERGIES)
def energy(request) -> Energy:
    return ENERGIES[request.param]


def test_energies_and_their_gradients_are_finite_everywhere(energy):
    points = jnp.concatenate([FAR, 5 * jax.random.normal(jax.random.key(0), (500, 2))])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(energy)))(points)
    assert jnp.isfinite(values).all()
    assert jnp.isfinite(slopes).all()


def test_energies_take_any_leading_shape_and_agree_with_one_point_at_a_time(energy):
    points = jax.random.normal(jax.random.key(1), (3, 4, 2))
    assert energy(points).shape == (3, 4)
    np.testing.assert_allclose(energy(points)[1, 2], energy(points[1, 2]), rtol=1e-5)


def test_boxes_hold_the_mass_and_the_grid_is_fine_enough(energy):
    wider = Energy(energy.function, tuple((low - 4, high + 4) for low, high in energy.box))  # type: ignore
    # the kink of U3 at the origin makes the rule algebraic there
    assert abs(log_normaliser(energy) - log_normaliser(wider, 0.07)) < 3e-7


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        # each cut along z2 of the snake is a Gaussian of standard deviation 0.4, and along z1 one of variance 5
        ("U5", math.log(0.4 * math.sqrt(2 * math.pi)) + 0.5 * math.log(2 * math.pi * 5)),
        # each cut of the split ones is two Gaussians
        ("U6", math.log(2 * 0.35 * math.sqrt(2 * math.pi)) + 0.5 * math.log(2 * math.pi * 10)),
        ("U7", math.log(2 * 0.35 * math.sqrt(2 * math.pi)) + 0.5 * math.log(2 * math.pi * 5)),
        ("U4", U4_LOG_NORMALISER),
        # polar coordinates with z2 scaled by sqrt(2): 2 pi sqrt(2) int r exp(-(r - 2)^2) dr
        ("U3", math.log(2 * math.pi * math.sqrt(2) * (math.exp(-4) / 2 + math.sqrt(math.pi) * (1 + math.erf(2))))),
    ],
)
def test_normalisers_in_closed_form(name, exact):
    assert log_normaliser(ENERGIES[name]) == pytest.approx(exact, abs=1e-7 if name == "U3" else 1e-10)


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("U1", [2.0, 0.0], math.log(1 + math.exp(-0.5 * (4 / 0.6) ** 2))),
        ("U2", [0.0, 2 * math.sqrt(2)],
         math.log(math.exp(-0.5 * (2 / 0.6) ** 2) + 1 + math.exp(-0.5 * ((2 * math.sqrt(2) + 2.5) / 0.6) ** 2))),
        ("U3", [0.0, 2.0], -((2 - math.sqrt(2)) ** 2)),
        ("U4", [0.0, 2.5], math.log(0.4 / (2 * math.pi * 1.5)) + 2.5),
        ("U5", [1.0, 0.6], -0.6),
        ("U6", [2.0, 0.0], math.log(1 + math.exp(-0.5 * (3 / 0.35) ** 2)) - 0.2),
        ("U7", [2.0, math.cos(0.7 * math.pi)], math.log(1 + math.exp(-0.5 * (2 / 0.35) ** 2))),
        ("U8", [2.0, 2.0], math.log(1 + math.exp(-0.5 * 25 - 1.25) + math.exp(-0.5 * (3.25 / 0.35) ** 2 - 1.25))),
        ("U9", [0.0, 0.0], math.log(
            1 + math.exp(-0.5 * (2.5 / (1 + math.exp(2 / 0.3)) / 0.35) ** 2)
            + math.exp(-2 * (2 - math.sqrt(6)) ** 2)) - 1),
    ],
)  # fmt: skip
def test_values_worked_by_hand(name, point, value):
    assert float(ENERGIES[name](jnp.asarray(point))) == pytest.approx(value, abs=2e-5)


def test_mode_masses_of_the_four_modes():
    points, _ = grid(ENERGIES["U4"].box, 0.05)
    flat = jnp.asarray(points.reshape(-1, 2), jnp.float32)
    masses = mode_masses(flat, jnp.exp(ENERGIES["U4"](flat)))
    np.testing.assert_allclose(masses, U4_WEIGHTS, atol=2e-3)
    np.testing.assert_allclose(mode_masses(jnp.asarray(U4_MODES, jnp.float32)), 0.25)
    assert float(masses.sum()) == pytest.approx(1, abs=1e-5)


def test_points_outside_all_modes():
    which, noise = jax.random.split(jax.random.key(8))
    modes = jnp.asarray(U4_MODES, jnp.float32)[jax.random.randint(which, (40_000,), 0, 4)]
    drawn = modes + math.sqrt(1.5) / 2 * jax.random.normal(noise, (40_000, 2))
    # discs of neighbouring modes overlap, so a little less than exp(-4.5): by sums over a grid about one mode
    x, y = np.meshgrid(*[np.linspace(-4, 4, 801)] * 2)
    distances = [(x + U4_MODES[0][0] - a) ** 2 + (y + U4_MODES[0][1] - b) ** 2 for a, b in np.asarray(U4_MODES)]
    density = np.exp(-(x**2 + y**2) / (2 * 1.5 / 4))
    outside = density[np.min(distances, axis=0) > 9 * 1.5 / 4].sum() / density.sum()
    assert 0.007 < outside < math.exp(-4.5)
    assert float(outside_modes(drawn)) == pytest.approx(outside, abs=4 * math.sqrt(outside / 40_000))
    assert float(outside_modes(jnp.zeros((3, 2)))) == 1


@pytest.mark.parametrize("name", TOYS)
def test_toy_densities_integrate_to_one(name):
    points, area = grid(TOYS[name].box, 0.05)
    values = np.asarray(jax.jit(jax.vmap(TOYS[name].log_prob))(jnp.asarray(points, jnp.float32)), np.float64)
    assert np.exp(values).sum() * area == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize("name", TOYS)
def test_toy_samples_have_the_moments_of_the_density(name):
    toy, count = TOYS[name], 40_000
    points = np.asarray(toy.sample(jax.random.key(3), count), np.float64)
    mean = toy.weights @ toy.means
    apart = toy.means - mean
    cov = np.einsum("k,ki,kj->ij", toy.weights, apart, apart) + toy.scale**2 * np.eye(2)
    error = np.sqrt(np.diag(cov) / count)
    np.testing.assert_array_less(abs(points.mean(0) - mean), 4.5 * error)
    np.testing.assert_allclose(np.cov(points.T), cov, atol=0.04 * cov.max())


@pytest.mark.parametrize("name", TOYS)
def test_toy_samples_fall_where_the_density_is(name):
    # the share of samples above a log-density must be the density's own mass there
    toy = TOYS[name]
    log_prob = jax.jit(toy.log_prob)
    drawn = np.asarray(log_prob(toy.sample(jax.random.key(4), 40_000)))
    points, area = grid(toy.box, 0.06)
    on_grid = np.asarray(log_prob(jnp.asarray(points.reshape(-1, 2), jnp.float32)), np.float64)
    for level in np.quantile(drawn, [0.2, 0.5, 0.8]):
        mass = np.exp(on_grid[on_grid > level]).sum() * area
        assert np.mean(drawn > level) == pytest.approx(mass, abs=0.015)


def test_the_four_gaussians_hold_their_masses():
    points = TOYS["grid_2x2"].sample(jax.random.key(5), 40_000)
    np.testing.assert_allclose(mode_masses(points / 2), U4_WEIGHTS, atol=0.01)


def test_grids_have_the_published_means_and_covariance():
    toy = TOYS["grid_10x10"]
    assert toy.means.shape == (100, 2)
    assert toy.scale**2 == pytest.approx(1 / (10 * math.log(10)))
    assert gaussian_grid(5).means.min() == -5
    with pytest.raises(BadInput, match="side: 1"):
        gaussian_grid(1)


def test_the_swiss_roll_does_not_depend_on_the_number_of_nodes(monkeypatch):
    points = TOYS["swiss_roll"].sample(jax.random.key(6), 500)
    monkeypatch.setattr("mlrisk.data.toys._NODES", 900)
    np.testing.assert_allclose(TOYS["swiss_roll"].log_prob(points), swiss_roll().log_prob(points), atol=1e-4)
    with pytest.raises(BadInput, match="noise: 0"):
        swiss_roll(0.0)


def test_unknown_names_get_one_line():
    with pytest.raises(BadInput, match="energy: 'U0' is not one of"):
        find_energy("U0")
    with pytest.raises(BadInput, match="did you mean 'swiss_roll'"):
        find_toy("swiss_rol")


def test_the_sine_oracle_has_the_numbers_of_the_specification():
    oracle = sine.posterior_oracle()
    np.testing.assert_allclose(oracle.masses, [0.143, 0.287, 0.287, 0.283], atol=5e-4)
    assert oracle.log_integral == pytest.approx(-1.25205, abs=1e-5)
    assert oracle.log_integral - math.log(2) == pytest.approx(-1.94519, abs=2e-5)
    assert oracle.entropy == pytest.approx(-0.5936, abs=1e-4)


def test_the_sine_likelihood_peaks_at_its_modes():
    modes = jnp.asarray(sine.MODES, jnp.float32)
    np.testing.assert_allclose(sine.log_likelihood(modes), 0, atol=1e-9)
    slopes = jax.vmap(jax.grad(sine.log_likelihood))(modes)
    np.testing.assert_allclose(slopes, 0, atol=1e-3)
    assert float(sine.log_likelihood(jnp.float32(0.3))) == pytest.approx(-4.0, abs=1e-4)
    np.testing.assert_array_equal(np.isfinite(sine.log_prior(jnp.asarray([-0.1, 1.0, 2.1]))), [False, True, False])


def test_sine_masses_count_between_the_edges():
    found = sine.mode_masses(jnp.asarray([0.1, 0.2, 0.6, 1.2, 1.8]))
    np.testing.assert_allclose(found, [0.4, 0.2, 0.2, 0.2], atol=1e-6)
