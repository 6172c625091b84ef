"""Spike-driven self-attention, one function per published form. No softmax anywhere.

q, k, v: [T, B, C, H, W], spikes or counts. Channels are split into heads as channel = head * d + j;
tokens are the positions in raster order.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.errors import InputError


def check_divides(heads: int, width: int) -> None:
    """Attention splits ``width`` channels into ``heads`` equal parts."""
    if heads < 1 or width % heads:
        raise InputError(f"num_heads {heads} must divide the width {width}")


def mask_and_add_attention(q: Tensor, k: Tensor, v: Tensor, neuron: nn.Module) -> Tensor:
    """SDSA-1 (Spike-driven Transformer, section 3.2): ``q * fire(sum over tokens of k * v)``.

    Masks and additions only; per channel, so heads make no difference. Returns spikes [T, B, C, H,
    W].
    """
    return q * neuron((k * v).sum(dim=(-2, -1), keepdim=True))


def pooled_mask_and_add_attention(
    q: Tensor, k: Tensor, v: Tensor, neuron: nn.Module, num_heads: int
) -> Tensor:
    """What the SDT release computes for CIFAR10-DVS: mask-and-add with four 3x3 max pools around
    it.

    Two pools run over space on k and v; two run, before the sum and after the mask, over the plane
    (token, channel in head), so that they mix raster neighbours and neighbouring channels of one
    head.
    """
    size = q.shape[-2:]
    k, v = _pool3x3(k), _pool3x3(v)
    q, k, v = (split_heads(x, num_heads).transpose(-1, -2) for x in (q, k, v))
    attended = neuron(_pool3x3(k * v).sum(dim=-2, keepdim=True))
    return merge_heads(_pool3x3(q * attended).transpose(-1, -2), size)


def token_attention(q: Tensor, k: Tensor, neuron: nn.Module, num_heads: int) -> Tensor:
    """Q-K token attention (QKFormer): ``fire(sum of q over a head's channels) * k``, per token.

    Additions and masks only: the neuron keeps or clears a token's k. Returns spikes.
    """
    q, k = (x.unflatten(2, (num_heads, -1)) for x in (q, k))
    return (neuron(q.sum(dim=3, keepdim=True)) * k).flatten(2, 3)


def linear_attention(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """``q (k^T v)`` per head, which five of the families share (SSA, SDSA-3).

    v may have more channels than q and k. Without a softmax the product is associative and, on
    spikes and counts, exact in either order; the cheaper one is taken. Returns real values [T, B,
    C_v, H, W].
    """
    if q.stride(2) == 1:
        return _linear_attention_channels_last(q, k, v, num_heads)
    size = q.shape[-2:]
    q, k, v = (split_heads(x, num_heads) for x in (q, k, v))
    if tokens_first(tokens=q.shape[-1], d=q.shape[-2], d_v=v.shape[-2]):
        return merge_heads(v @ (k.transpose(-1, -2) @ q), size)
    return merge_heads((v @ k.transpose(-1, -2)) @ q, size)


def _linear_attention_channels_last(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """The same, token by token as such tensors lie in memory: half the time, because nothing is
    transposed.
    """
    size = q.shape[-2:]
    q, k, v = (split_heads(x, num_heads).transpose(-1, -2).contiguous() for x in (q, k, v))
    if tokens_first(tokens=q.shape[-2], d=q.shape[-1], d_v=v.shape[-1]):
        attended = (q @ k.transpose(-1, -2)) @ v
    else:
        attended = q @ (k.transpose(-1, -2) @ v)
    return attended.transpose(2, 3).flatten(3).unflatten(2, size).permute(0, 1, 4, 2, 3)


def tokens_first(tokens: int, d: int, d_v: int) -> bool:
    """Whether the product of tokens with tokens costs less than that of channels with channels."""
    return tokens * (d + d_v) < 2 * d * d_v


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[T, B, C, H, W] -> [T, B, heads, d, N]."""
    return x.flatten(3).unflatten(2, (num_heads, -1))


def merge_heads(x: Tensor, size: Sequence[int]) -> Tensor:
    """[T, B, heads, d, N] -> [T, B, C, H, W]."""
    return x.flatten(2, 3).unflatten(3, size)


def _pool3x3(x: Tensor) -> Tensor:
    """3x3 max pool, stride 1, over the last two axes of [T, B, C, ...]."""
    return F.max_pool2d(x.flatten(0, 1), 3, stride=1, padding=1).unflatten(0, x.shape[:2])
