"""The spike MAE: what is hidden, what the loss sees, the order of tokens, sizes, and the way to
a classifier.
"""

import json

import pytest
import torch

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.layers import on_map
from spikedriven.models import official_state_dict
from spikedriven.models.spike_mae import sincos_table
from tests.golden import rule
from tests.networks import enliven

SMALL = {
    "img_size": 32,
    "embed_dims": (8, 16, 32),
    "depths": (1, 1, 2, 2),
    "strides": (2, 2, 2, 1),
    "decoder_dim": 16,
    "decoder_depth": 1,
}


def network(name="spike_mae_12_512", **keywords):
    return enliven(sd.create_model(name, **{**SMALL, **keywords}).double().eval())


def batch(seed=0):
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, 32, 32, generator=rng, dtype=torch.float64)
    return images, torch.rand(2, 16, generator=rng, dtype=torch.float64)


def hide(images, mask, value):
    """Overwrite the hidden patches, 8 pixels wide."""
    cells = mask.view(2, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return torch.where(cells, value, images)


def test_names_and_parameters():
    assert sd.list_models("spike_mae*") == ["spike_mae_12_512", "spike_mae_12_768"]
    with torch.device("meta"):
        model = sd.create_model("spike_mae_12_768")
        assert sum(p.numel() for p in model.parameters()) == 173_776_608
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 173_575_904
        frozen = {key for key, p in model.named_parameters() if not p.requires_grad}
        assert frozen == {"decoder.pos_embed", "unused.pos_embed"}
        slim = sd.create_model("spike_mae_12_768", released_params=False)
        assert sum(p.numel() for p in slim.parameters()) == 173_776_608 - 768 * 196


def test_the_patches_with_the_smallest_noise_are_visible():
    images, noise = batch()
    for ratio, hidden in ((0.5, 8), (0.75, 12), (0.1, 2)):
        mask = network(mask_ratio=ratio)(images, noise).mask
        assert mask.sum(1).tolist() == [hidden, hidden]
        assert noise[mask].min() > 0
        for row in range(2):
            assert noise[row][mask[row]].min() > noise[row][~mask[row]].max()


def test_without_noise_the_mask_is_drawn_anew_from_torchs_generator():
    model, (images, _) = network(), batch()
    torch.manual_seed(1)
    first, second = model(images), model(images)
    torch.manual_seed(1)
    assert not torch.equal(first.mask, second.mask)
    assert torch.equal(model(images).loss, first.loss)


def test_the_encoder_never_sees_hidden_pixels_and_the_loss_sees_no_others():
    model, (images, noise) = network(), batch()
    result = model.train()(images, noise)
    latent = model.encode(images, ~result.mask)
    torch.testing.assert_close(
        model.encode(hide(images, result.mask, 7.0), ~result.mask), latent, rtol=0, atol=0
    )
    error = (result.prediction - model.target(images)).square().mean(-1)
    torch.testing.assert_close(result.loss, error[result.mask].mean(), rtol=1e-12, atol=0)
    changed = hide(images, ~result.mask, 7.0)
    torch.testing.assert_close(
        model.target(changed)[result.mask], model.target(images)[result.mask]
    )


def test_hidden_places_stay_dark_until_the_blocks_of_attention():
    model, (images, noise) = network(), batch()
    maps = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _m, _i, out: maps.append(out[0].abs().amax(1)))
        stage.down.register_forward_hook(lambda _m, _i, out: maps.append(out[0].abs().amax(1)))
    mask = model(images, noise).mask.view(2, 4, 4)
    *conv_maps, last = maps  # of each stage: down-sampling, then the whole stage
    for feature_map in conv_maps:
        hidden = on_map(mask, feature_map.shape[-2:])
        assert feature_map[hidden].max() == 0
        assert feature_map[~hidden].min() > 0
    assert last[mask].min() > 0


def test_targets_are_normalised_patches_in_row_column_channel_order():
    model, (images, _) = network(), batch()
    target = model.target(images)
    assert target.shape == (2, 16, 8 * 8 * 3)
    patch = images[1, :, 8:16, 16:24].permute(1, 2, 0).flatten()  # row 1, column 2: patch 6
    expected = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
    torch.testing.assert_close(target[1, 6], expected, rtol=1e-12, atol=1e-12)


def test_the_released_decoder_permutes_its_tokens():
    example = rule.load("sdtv3_units.json")["mae_gather_example"]
    tokens = torch.tensor(example["tokens"]).view(1, 3, 1).float()
    restore = torch.tensor(example["ids_restore"]).view(1, 3)
    seen = []
    model = network().float()
    decoder = model.decoder
    decoder.embed = torch.nn.Identity()
    decoder.blocks.register_forward_pre_hook(lambda _m, arguments: seen.append(arguments[0]))
    decoder.pos_embed = torch.nn.Parameter(torch.zeros(1, 3, 16))
    decoder(tokens.expand(1, 3, 16), torch.ones(1, 3, dtype=torch.bool), restore)
    assert seen[0][0, :, 0].tolist() == example["decoder_sees"]


def test_in_the_corrected_form_each_prediction_follows_its_patch():
    """With no position table and no permutation, exchanging two visible patches' tokens
    exchanges predictions.
    """
    images, noise = batch()
    straight, released = network(permute_tokens=False), network()
    active = ~straight(images, noise).mask
    tokens, rank = straight.encode(images, active), noise.argsort(1).argsort(1)
    torch.testing.assert_close(
        straight.decoder(tokens, active, rank), straight(images, noise).prediction
    )
    gathered = tokens.gather(1, rank[..., None].expand_as(tokens))
    torch.testing.assert_close(
        straight.decoder(gathered, active, rank), released(images, noise).prediction
    )
    assert not torch.allclose(
        straight(images, noise).prediction, released(images, noise).prediction
    )


def test_the_mask_token_is_idle_unless_asked_for():
    images, noise = batch()
    for mask_tokens in (False, True):
        model = network(mask_tokens=mask_tokens).train()
        model(images, noise).loss.backward()
        gradient = model.decoder.mask_token.grad.abs().sum()
        assert (gradient > 0) == mask_tokens
    model = network(mask_tokens=True, permute_tokens=False).eval()
    active = ~model(images, noise).mask
    tokens, rank = model.encode(images, active), noise.argsort(1).argsort(1)
    noisy = torch.where(
        active[..., None], tokens, 5.0
    )  # the decoder must not read what stands in hidden places
    assert torch.equal(model.decoder(noisy, active, rank), model.decoder(tokens, active, rank))


def test_position_tables_are_the_releases():
    units = rule.load("sdtv3_units.json")
    small = torch.tensor(units["sincos_16_3"])
    torch.testing.assert_close(
        sincos_table((3, 3), 16)[0].double(), small.double(), rtol=0, atol=1e-7
    )
    recorded = json.loads((rule.FOLDER / "sdtv3_spikmae_12_512.json").read_text())[
        "constructor_buffers"
    ]
    for key, table in {
        "pos_embed": sincos_table((14, 14), 512).transpose(1, 2),
        "decoder_pos_embed": sincos_table((14, 14), 256),
    }.items():
        table = table.double()
        assert list(table.shape) == recorded[key]["shape"]
        assert table.sum().item() == pytest.approx(recorded[key]["sum"], rel=1e-9)
        assert table.norm().item() == pytest.approx(recorded[key]["l2"], rel=1e-9)
        assert table.flatten()[:16].tolist() == pytest.approx(recorded[key]["first16"], abs=1e-7)
    with pytest.raises(InputError, match="multiple of 4"):
        sincos_table((2, 2), 6)


def test_any_size_and_stride_trains():
    model = sd.create_model(
        "spike_mae_12_768",
        in_chans=1,
        img_size=28,
        embed_dims=(8, 16, 32),
        depths=(1, 1, 0, 1),
        strides=(1, 2, 2, 1),
        decoder_dim=16,
        decoder_depth=1,
        permute_tokens=False,
        mask_tokens=True,
    )
    assert (model.patch_size, model.grid) == (4, (7, 7))
    result = model(torch.randn(3, 1, 28, 28))
    assert result.prediction.shape == (3, 49, 16)
    result.loss.backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_same_image_other_neighbours_same_prediction():
    model, (images, noise) = network(), batch()
    alone, together = model(images[:1], noise[:1]), model(images, noise)
    torch.testing.assert_close(alone.prediction[0], together.prediction[0], rtol=1e-9, atol=1e-9)


def test_wrong_values_are_refused():
    for keywords, message in (
        ({"img_size": 36}, "multiple of the patch size 8"),
        ({"mask_ratio": 0.0}, "shows 16 of 16"),
        ({"mask_ratio": 0.99}, "shows 0 of 16"),
        ({"decoder_num_heads": 3}, "num_heads 3 must divide"),
    ):
        with pytest.raises(InputError, match=message):
            network(**keywords)
    with pytest.raises(InputError, match=r"takes images \[B, 3, 32, 32\]"):
        network()(torch.zeros(1, 3, 40, 40, dtype=torch.float64))
    with pytest.raises(InputError, match="no keyword 'num_classes'"):
        sd.create_model("spike_mae_12_512", num_classes=10)


def test_its_weights_start_a_classifier_in_both_spellings():
    encoder = {key: SMALL[key] for key in ("img_size", "embed_dims", "depths", "strides")}
    mae, x = network(permute_tokens=False), batch()[0]
    for weights in (mae.state_dict(), official_state_dict(mae)):
        model = (
            sd.create_model("e_spikeformer_83m", **encoder, layer_scale=0, num_classes=5)
            .double()
            .eval()
        )
        report = sd.load_official(model, weights, strict=False)
        assert report.missing == ["head.bias", "head.weight"]
        assert report.misshapen == []
        assert all(
            "decoder" in key or "norm" in key or "pos" in key or "mask" in key
            for key in report.unexpected
        )
        torch.testing.assert_close(
            model.forward_features(x), mae.forward_features(x), rtol=1e-12, atol=1e-12
        )


def test_how_much_of_the_full_models_fits():
    """Counts of the reference: 1212 of 1240 tensors for 512; 37 of other shape for 768."""
    for size, keywords, fitting, misshapen in (("12_512", {}, 1212, 0), ("12_768", {}, None, 37)):
        with torch.device("meta"):
            name = "e_spikeformer_83m" if size == "12_512" else "e_spikeformer_171m"
            target = official_state_dict(sd.create_model(name, distilled=True, **keywords))
            source = official_state_dict(sd.create_model(f"spike_mae_{size}"))
        shared = target.keys() & source.keys()
        other = [key for key in shared if target[key].shape != source[key].shape]
        assert len(other) == misshapen
        if fitting:
            assert (len(shared), len(target)) == (fitting, 1240)


def test_the_encoder_is_a_backbone():
    model, x = network(), batch()[0]
    maps = model.forward_intermediates(x)[1]
    assert [tuple(m.shape[1:]) for m in maps] == [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 4, 4)]
    assert model.forward_head(model.forward_features(x)).shape == (2, 32)


def test_pixels_undo_the_normalisation_and_patches_come_back():
    model, (images, noise) = network(), batch()
    patches = model.patches(images)
    assert torch.equal(model.unpatched(patches), images)
    row, column, channel = 3, 5, 2  # of patch 6, which is row 1, column 2 of four
    assert torch.equal(
        patches[:, 6].unflatten(1, (8, 8, 3))[:, row, column, channel], images[:, channel, 11, 21]
    )
    torch.testing.assert_close(
        model.pixels(model.target(images), images), images, rtol=1e-9, atol=1e-9
    )
    guess = model.pixels(torch.zeros_like(patches), images)
    torch.testing.assert_close(guess[0, :, :8, :8], images[0, :, :8, :8].mean().expand(3, 8, 8))
    mask = model(images, noise).mask
    assert torch.equal(torch.where(model.hidden_pixels(mask), 7.0, images), hide(images, mask, 7.0))


@pytest.mark.parametrize("change", [sd.fuse, sd.expand])
def test_the_encoder_folds_and_expands(change):
    model, (images, _) = network(), batch()
    changed = change(model, images)  # checked there to compute the same
    assert changed.encode_image(images).shape == (2, 32, 4, 4)
