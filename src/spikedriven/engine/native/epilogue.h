// Integer sums -> scale and bias -> residual -> neuron, for one position and 64 columns, all time steps in registers.
#pragma once

#include "kernels.h"
#include "vectors.h"

namespace sd::SD_ISA {

/// One time step of a LIF neuron: v is updated, the return value is 1 where it fired.
SD_INLINE u8x16 lif_step(const Neuron& n, const f32x16& x, f32x16& v) {
    const f32x16 above = v - n.rest;
    const f32x16 driven = n.decay_input ? x - above : above;
    const f32x16 leaked = n.multiply ? driven * n.leak : driven / n.leak;
    const f32x16 h = n.decay_input ? v + leaked : (v - leaked) + x;
    const Mask fired = at_least(h, splat(n.threshold));
    v = choose(fired, n.hard_reset ? splat(n.rest) : h - n.threshold, h);
    return ones(fired);
}

/// Counts 0..levels. Adding and subtracting 2^23 rounds to the nearest whole number, ties to the even one.
SD_INLINE u8x16 count_step(const Neuron& n, const f32x16& x) {
    const f32x16 low = choose(at_least(x, splat(0.0f)), x, splat(0.0f));
    const f32x16 clamped = choose(at_least(low, splat(n.levels)), splat(n.levels), low);
    const f32x16 rounded = n.half_up ? clamped + 0.5f : (clamped + 8388608.0f) - 8388608.0f;   // the former is cut off
    return bytes_of(convert<i32x16>(rounded));
}

SD_INLINE void store_spikes(const Epilogue& e, int t, size_t place, const u8x16& spikes) {
    store(e.spikes + size_t(t) * e.positions * e.stride + place, spikes);
}

/// Real values of 16 columns, given by `value(t)` for t < steps, through residual and neuron. place: position, column.
template <class Value> SD_INLINE void finish_columns(const Epilogue& e, size_t place, int steps, Value value) {
    const size_t step = size_t(e.positions) * e.stride;
    const int loop = e.spikes && e.neuron.kind == NeuronKind::Lif ? e.spike_steps : e.real_steps;
    f32x16 v = splat(e.neuron.rest), y = {};
    for (int t = 0; t < loop; ++t) {
        if (t < e.real_steps) {
            y = value(t < steps ? t : steps - 1);
            if (e.residual) y = y + load<f32x16>(e.residual + (t < e.residual_steps ? t : 0) * step + place);
            if (e.real) store(e.real + t * step + place, y);
        }
        if (!e.spikes) continue;
        store_spikes(e, t, place, e.neuron.kind == NeuronKind::Lif ? lif_step(e.neuron, y, v) : count_step(e.neuron, y));
    }
}

SD_INLINE f32x16 as_float(const int32_t* sums) { return convert<f32x16>(load<i32x16>(sums)); }
SD_INLINE f32x16 as_float(const float* sums) { return load<f32x16>(sums); }

/// acc: [sum_steps][acc_stride] sums of BLOCK columns from `block` on.
template <class Sum> SD_INLINE void finish_block(const Epilogue& e, int position, int block, const Sum* acc, int acc_stride) {
    for (int c = 0; c < BLOCK && block * BLOCK + c < e.stride; c += 16) {
        const int column = block * BLOCK + c;
        const size_t place = size_t(position) * e.stride + column;
        const f32x16 scale = load<f32x16>(e.scale + column), bias = load<f32x16>(e.bias + column);
        finish_columns(e, place, e.sum_steps, [&](int t) {
            return as_float(acc + t * acc_stride + c) * scale + bias;
        });
    }
}

}  // namespace sd::SD_ISA
