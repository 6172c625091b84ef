// Integer sums -> scale and bias -> residual -> neuron, for one position and 64 columns, all time steps in registers.
#pragma once

#include "kernels.h"
#include "neuron_step.h"

namespace sd::SD_ISA {

SD_INLINE void store_spikes(const Epilogue& e, int t, size_t place, const u8x16& spikes) {
    store(e.spikes + size_t(t) * e.positions * e.stride + place, spikes);
}

/// Real values of 16 columns, given by `value(t)` for t < steps, through residual and neuron. place: position, column.
template <class Value> SD_INLINE void finish_columns(const Epilogue& e, size_t place, int steps, Value value) {
    const size_t step = size_t(e.positions) * e.stride;
    const bool counting = e.neuron.kind != NeuronKind::Lif;
    const int loop = e.spikes && !counting ? e.spike_steps : e.real_steps;
    const Dynamics neurons(e.neuron);
    f32x16 v = e.before ? load<f32x16>(e.before + place) : splat(e.neuron.rest), y = {};
    for (int t = 0; t < loop; ++t) {
        if (t < e.real_steps) {
            y = value(t < steps ? t : steps - 1);
            if (e.residual) y = y + load<f32x16>(e.residual + (t < e.residual_steps ? t : 0) * step + place);
            if (e.real) store(e.real + t * step + place, y);
        }
        if (!e.spikes) continue;
        if (counting) {
            store_spikes(e, t, place, bytes_of(convert<i32x16>(counts<false>(e.neuron, y))));
            continue;
        }
        const f32x16 h = neurons.charge(v, y);
        store_spikes(e, t, place, ones(neurons.fires(h)));
        v = neurons.reset(h);
    }
    if (e.after) store(e.after + place, v);
}

SD_INLINE f32x16 as_float(const int32_t* sums) { return convert<f32x16>(load<i32x16>(sums)); }
SD_INLINE f32x16 as_float(const int16_t* sums) { return convert<f32x16>(convert<i32x16>(load<i16x16>(sums))); }
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
