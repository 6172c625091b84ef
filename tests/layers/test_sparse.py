"""Conv layers for masked pre-training: the release's figures, and that hidden places neither
matter nor light up.
"""

import numpy as np
import torch

from spikedriven.layers import ConvBN, SparseConvBN, SparseMLP, SparseResidual, SpikeMLP, on_map
from spikedriven.neurons import LIF
from tests.golden import rule

UNIT = rule.load("sdtv3_units.json")["sparse_conv_bn"]
ACTIVE = torch.tensor(UNIT["mask"])[:, 0].bool()


def rule_weights():
    shapes = {"0.weight": (5, 3, 3, 3), "1.num_batches_tracked": ()}
    weights = rule.weights({"state_dict": [[key, shapes.get(key, (5,))] for key in UNIT["keys"]]})
    return {
        key.replace("0.", "conv.", 1).replace("1.", "bn.", 1): value
        for key, value in weights.items()
    }


def test_sparse_conv_and_norm_compute_what_the_release_computes():
    layer = SparseConvBN(3, 5, 3, 2, bias=True).double().train()
    layer.load_state_dict(rule_weights())
    x = torch.as_tensor(np.random.Generator(np.random.PCG64(6)).standard_normal((2, 3, 8, 8)))
    out = layer(x.unsqueeze(0), ACTIVE)[0]
    expected = torch.tensor(UNIT["out"]["first"], dtype=torch.float64).view(UNIT["out"]["shape"])
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    for name in ("running_mean", "running_var"):
        expected = torch.tensor(UNIT[name], dtype=torch.float64)
        torch.testing.assert_close(getattr(layer.bn, name), expected, rtol=1e-12, atol=0)


def test_patches_spread_over_the_positions_of_a_map():
    assert on_map(ACTIVE, (4, 2)).int().tolist() == [
        [[1, 0], [1, 0], [0, 1], [0, 1]],
        [[0, 1], [0, 1], [1, 1], [1, 1]],
    ]


def test_with_every_patch_visible_it_is_the_ordinary_layer():
    sparse, dense = SparseConvBN(3, 5, 3, bias=True).double(), ConvBN(3, 5, 3, bias=True).double()
    dense.load_state_dict(sparse.state_dict())
    x = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    everything = torch.ones(2, 2, 2, dtype=torch.bool)
    for training in (True, False):
        dense.train(training)
        torch.testing.assert_close(
            sparse.train(training)(x, everything), dense(x), rtol=1e-12, atol=1e-12
        )
        torch.testing.assert_close(dense.bn.running_var, sparse.bn.running_var, rtol=1e-12, atol=0)
    dense.load_state_dict(sparse.state_dict())
    assert torch.equal(sparse(x), dense(x))  # and without a mask


def test_hidden_places_stay_zero_in_a_residual_of_two_layers():
    layer = SparseResidual(SparseMLP(4, 8, LIF), 4).double().train()
    x = torch.randn(2, 2, 4, 8, 8, dtype=torch.float64) * 4
    hidden = ~on_map(ACTIVE, (8, 8)).unsqueeze(1).expand(2, 4, 8, 8)
    x[:, hidden] = 0.0
    out = layer(x, ACTIVE)
    assert out[:, hidden].abs().max() == 0
    assert out[:, ~hidden].abs().min() > 0
    dense = SpikeMLP(4, 8, LIF, kernel=3).double()
    dense.load_state_dict(layer.branch.state_dict())  # the same names and shapes
