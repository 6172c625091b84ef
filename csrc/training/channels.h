// Loops over tensors whose channels have numbers of their own, sixteen elements at a time.
#pragma once

#include <algorithm>

#include "neuron_step.h"
#include "training.h"

namespace sd::SD_ISA {

constexpr int LANES = 16;

/// A range of elements in steps of sixteen. `each` is called as f(element, count, column), with `column` the place in
/// arrays that repeat the channels so that sixteen may be read from any of them. `f` should be inlined by force: it is
/// faster where count is known to be sixteen.
template <class F> SD_INLINE void each(const Norm& norm, size_t first, size_t last, F&& f) {
    const bool planes = norm.channels && norm.plane > 1, columns = norm.channels && !planes;
    for (size_t e = first; e < last;) {
        const size_t plane = planes ? e / norm.plane : 0, end = planes ? std::min(last, (plane + 1) * norm.plane) : last;
        size_t column = planes ? plane % norm.channels * LANES : columns ? e % norm.channels : 0;
        for (; e + LANES <= end; e += LANES) {
            f(e, LANES, column);
            if (columns)
                for (column += LANES; column >= size_t(norm.channels);) column -= norm.channels;
        }
        if (e < end) f(e, int(end - e), column);
        e = end;
    }
}

SD_INLINE f32x16 normed(const Norm& norm, const f32x16& x, size_t column) {
    if (!norm.channels) return x;
    return x * load<f32x16>(norm.scale + column) + load<f32x16>(norm.shift + column);
}

SD_INLINE f32x16 off_mean(const Norm& norm, const f32x16& x, size_t column) { return x - load<f32x16>(norm.mean + column); }

SD_INLINE void add_to(float* sums, const f32x16& x, int count) {
    narrow(sums, widen(sums) + (count == LANES ? x : widen((const float*)&x, count)));
}

/// The two sums that a norm's statistics and gradients need.
SD_INLINE void add_both(const Norm& norm, float* sums, const f32x16& x, const f32x16& times_off, size_t column, int count) {
    add_to(sums + column, x, count);
    add_to(sums + norm.width() + column, times_off, count);
}

}  // namespace sd::SD_ISA
