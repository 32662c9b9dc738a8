"""The networks of DomainBed against Flax's and XLA's own layers, and pretrained weights read from a file."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mlrisk.errors import BadInput, DataUnavailable
from mlrisk.models.mnist_cnn import group_norm, mnist_cnn
from mlrisk.models.resnet import STAGES, resnet
from mlrisk.objectives.featurised import uniform_fan_in

KEY = jax.random.key(0)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm_is_that_of_flax(groups):
    values = 3 + 2 * jax.random.normal(KEY, (3, 5, 4, 8))
    scale, shift = jnp.arange(1.0, 9.0), jnp.arange(8.0)
    layer = nn.GroupNorm(groups, epsilon=1e-5)
    with jax.numpy_rank_promotion("allow"):
        expected = layer.apply({"params": {"scale": scale, "bias": shift}}, values)
    np.testing.assert_allclose(group_norm(values, scale, shift, groups), expected, rtol=1e-4, atol=1e-4)


def convolve(values, kernel, stride, pad):
    return lax.conv_general_dilated(
        values, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def layers_in_order(params, values):
    for number, stride in enumerate((1, 2, 1, 1)):
        layer = params["features"][f"conv{number}"]
        values = jax.nn.relu(convolve(values, layer["kernel"], stride, 1) + layer["bias"].reshape(1, 1, 1, -1))
        values = group_norm(values, layer["scale"], layer["shift"], 4)
    return values.mean((1, 2)), values.shape[1]


@pytest.mark.parametrize("side", [8, 7])
def test_the_small_cnn_is_its_layers_in_order(side):
    network = mnist_cnn(2, 3, (4, 8, 8, 8), groups=4)
    params = jax.jit(network.init)(KEY)
    pictures = jax.random.uniform(jax.random.key(1), (2, side, side, 2))
    expected, left = jax.jit(layers_in_order)(params, pictures)
    assert left == (side + 1) // 2
    features, logits = jax.jit(lambda p, x: (network.features(p, x), network.apply(p, x)))(params, pictures)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        logits, features @ params["head"]["kernel"] + params["head"]["bias"][None], rtol=1e-4, atol=1e-5
    )


def test_weights_start_within_the_bound_of_their_fan_in():
    drawn = uniform_fan_in(KEY, (50, 40), 25)
    assert 0.19 < float(jnp.abs(drawn).max()) <= 0.2
    np.testing.assert_allclose(drawn.std(), 0.2 / np.sqrt(3), rtol=0.05)
    first = jax.jit(mnist_cnn(1, 2, (8, 8, 8, 8)).init)(KEY)["features"]["conv0"]
    assert float(jnp.abs(first["kernel"]).max()) <= 1 / 3


def torch_weights(depth, width, counts):
    """Random arrays with the names and layouts of torchvision, from its published architecture."""
    rng, found = np.random.default_rng(0), {}

    def add(conv, norm, outputs, inputs, size):
        found[f"{conv}.weight"] = rng.normal(0, (inputs * size**2) ** -0.5, (outputs, inputs, size, size))
        for name, (low, high) in {"weight": (0.5, 1.5), "bias": (-1, 1), "running_mean": (-1, 1),
                                  "running_var": (0.5, 2)}.items():  # fmt: skip
            found[f"{norm}.{name}"] = rng.uniform(low, high, outputs)

    add("conv1", "bn1", width, 3, 7)
    before = width
    for stage, count in enumerate(counts):
        inner = width * 2**stage
        for number in range(count):
            name = f"layer{stage + 1}.{number}"
            sizes = [(inner, before, 3), (inner, inner, 3)]
            if depth == 50:
                sizes = [(inner, before, 1), (inner, inner, 3), (4 * inner, inner, 1)]
            for i, size in enumerate(sizes, 1):
                add(f"{name}.conv{i}", f"{name}.bn{i}", *size)
            after = sizes[-1][0]
            if number == 0 and (stage or before != after):
                add(f"{name}.downsample.0", f"{name}.downsample.1", after, before, 1)
            before = after
    return {name: array.astype(np.float32) for name, array in found.items()}


def by_hand(arrays, pictures, depth):
    """The forward pass straight from torchvision's names."""

    def layer(values, conv, norm, stride, pad):
        values = convolve(values, arrays[f"{conv}.weight"].transpose(2, 3, 1, 0), stride, pad)
        factor = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + 1e-5)
        shift = arrays[f"{norm}.bias"] - arrays[f"{norm}.running_mean"] * factor
        return values * factor.reshape(1, 1, 1, -1) + shift.reshape(1, 1, 1, -1)

    values = jax.nn.relu(layer(pictures, "conv1", "bn1", 2, 3))
    padded = jnp.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))
    values = nn.max_pool(padded, (3, 3), (2, 2))
    for name in dict.fromkeys(key.rsplit(".", 2)[0] for key in arrays if ".conv" in key):
        stride = 2 if name.endswith(".0") and not name.startswith("layer1") else 1
        strides = (stride, 1) if depth == 18 else (1, stride, 1)
        pads = (1, 1) if depth == 18 else (0, 1, 0)
        inner = values
        for i, (step, pad) in enumerate(zip(strides, pads, strict=True), 1):
            inner = layer(inner if i == 1 else jax.nn.relu(inner), f"{name}.conv{i}", f"{name}.bn{i}", step, pad)
        if f"{name}.downsample.0.weight" in arrays:
            values = layer(values, f"{name}.downsample.0", f"{name}.downsample.1", stride, 0)
        values = jax.nn.relu(inner + values)
    return values.mean((1, 2))


@pytest.mark.parametrize("depth", [18, 50])
def test_pretrained_weights_give_the_features_of_their_file(depth, tmp_path, monkeypatch):
    monkeypatch.setitem(STAGES, depth, (1, 2))  # two stages have every kind of block, and compile quickly
    arrays = torch_weights(depth, 2, (1, 2))
    np.savez(tmp_path / "weights.npz", **arrays, **{"fc.weight": np.zeros((5, 5))})
    network = resnet(depth, 3, tmp_path / "weights.npz", width=2)
    params = network.init(KEY)
    pictures = jax.random.normal(jax.random.key(1), (2, 33, 33, 3))

    def squares(params):
        features = network.features(params, pictures)
        return jnp.sum(features**2), features

    (_, found), gradients = jax.jit(jax.value_and_grad(squares, has_aux=True))(params)
    expected = jax.jit(lambda x: by_hand(arrays, x, depth))(pictures)
    assert found.shape == (2, network.num_features)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(gradients["batch_stats"]))
    assert float(jnp.abs(gradients["features"]["bn1"]["bias"]).max()) > 0


@pytest.mark.parametrize(("depth", "count", "features"), [(18, 11_176_512, 512), (50, 23_508_032, 2048)])
def test_whole_networks_have_the_published_size(depth, count, features):
    network = resnet(depth, 7)
    params = jax.eval_shape(network.init, KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(params["features"])) == count
    shape = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    assert jax.eval_shape(network.features, params, shape).shape == (2, features)
    whole = torch_weights(depth, 64, {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]) if depth == 18 else {}
    assert set(params["features"]) >= {name.rsplit(".", 1)[0] for name in whole}


def test_bad_networks_get_one_line(tmp_path):
    with pytest.raises(BadInput, match=r"channels: .* are not 4 numbers that are divisible by 8 groups"):
        mnist_cnn(1, 2, (8, 8, 8, 12))
    with pytest.raises(BadInput, match="groups: 3 does not divide 8 channels"):
        group_norm(jnp.ones((1, 2, 2, 8)), jnp.ones(8), jnp.ones(8), 3)
    with pytest.raises(BadInput, match="depth: '34' is not one of 18, 50"):
        resnet(34, 2)
    with pytest.raises(DataUnavailable, match=r"weights: .*none\.npz is missing"):
        resnet(18, 2, tmp_path / "none.npz")
    arrays = torch_weights(18, 2, (2, 2, 2, 2))
    np.savez(tmp_path / "lacking.npz", **{n: a for n, a in arrays.items() if n != "layer2.0.bn1.bias"})
    with pytest.raises(BadInput, match=r"weights: layer2.0.bn1.bias of .* is missing, not of shape \(4,\)"):
        resnet(18, 2, tmp_path / "lacking.npz", width=2)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(BadInput, match=r"weights: conv1.weight of .* is shape \(2, 3, 7, 7\), not of shape \(64, 3"):
        resnet(18, 2, tmp_path / "other.npz")
