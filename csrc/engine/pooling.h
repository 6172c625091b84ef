// Pools of the engine: the largest value of each window, or its mean.
#pragma once

#include "vectors.h"

namespace sd::SD_ISA {

/// Of counts.
template <class V> SD_INLINE V larger(const V& a, const V& b) {
    if constexpr (IS_HALVES<V>) return {larger(a.low, b.low), larger(a.high, b.high)};
    else return a > b ? a : b;
}
/// NaN wins, and stays.
SD_INLINE f32x16 larger(const f32x16& a, const f32x16& b) {
    return choose(at_least(a, b) | ~at_least(a, a), a, b);
}

/// Windows of output rows first..last-1, counted over all time steps: fill(first channel, output, window) of each, where
/// window(f) calls f with each place.
template <class In, class Out, class Fill>
SD_INLINE void each_window(const Pooling& p, const In* in, Out* out, int first, int last, Fill fill) {
    for (int row = first; row < last; ++row) {
        const Bounds& down = p.rows[row % p.out_height];
        const In* map = in + size_t(row / p.out_height) * p.height * p.width * p.stride;
        for (int ox = 0; ox < p.out_width; ++ox) {
            const Bounds& across = p.columns[ox];
            Out* to = out + (size_t(row) * p.out_width + ox) * p.stride;
            fill(to, down.divisor * across.divisor, [&](int channel, auto&& place) SD_INLINED {
                for (int y = down.first; y < down.last; ++y)
                    for (int x = across.first; x < across.last; ++x)
                        place(map + (size_t(y) * p.width + x) * p.stride + channel);
            });
        }
    }
}

template <class V, class T>
SD_INLINE void largest(const Pooling& p, const T* in, T* out, T lowest, int first, int last) {
    each_window(p, in, out, first, last, [&](T* to, int, auto&& window) SD_INLINED {
        for (int c = 0; c < p.stride; c += LENGTH<V>) {
            V best = V{} + lowest;
            window(c, [&](const T* place) SD_INLINED { best = larger(best, load<V>(place)); });
            store(to + c, best);
        }
    });
}

static void max_u8(const Pooling& p, const uint8_t* in, uint8_t* out, int first, int last) {
    largest<u8x32, uint8_t>(p, in, out, 0, first, last);
}

static void max_f32(const Pooling& p, const float* in, float* out, int first, int last) {
    largest<f32x16, float>(p, in, out, -__builtin_huge_valf(), first, last);
}

static void mean_u8(const Pooling& p, const uint8_t* in, float* out, int first, int last) {
    each_window(p, in, out, first, last, [&](float* to, int divisor, auto&& window) SD_INLINED {
        for (int c = 0; c < p.stride; c += 32) {
            i32x16 low = {}, high = {};
            window(c, [&](const uint8_t* place) SD_INLINED { add_halves(widen(place), low, high); });
            store(to + c, convert<f32x16>(low) * p.unit / float(divisor));
            store(to + c + 16, convert<f32x16>(high) * p.unit / float(divisor));
        }
    });
}

static void mean_f32(const Pooling& p, const float* in, float* out, int first, int last) {
    each_window(p, in, out, first, last, [&](float* to, int divisor, auto&& window) SD_INLINED {
        for (int c = 0; c < p.stride; c += 16) {
            f32x16 sum = {};
            window(c, [&](const float* place) SD_INLINED { sum = sum + load<f32x16>(place); });
            store(to + c, sum / float(divisor));
        }
    });
}

}  // namespace sd::SD_ISA
