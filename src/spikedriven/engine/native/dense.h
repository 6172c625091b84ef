// The dense accumulators: every product. For spikes that are frequent, in integers; for real inputs, in float32.
#pragma once

#include <algorithm>

#include "epilogue.h"

namespace sd::SD_ISA {

constexpr int TILE = 6;   // rows of the patch matrix that share a load of weights: as many as registers hold sums of

/// The inputs of one output position and time step in a row, zero outside the map.
template <class A> SD_INLINE void gather_patch(const Window& w, const typename A::In* in, int position,
                                               typename A::Patch* patch) {
    const int y0 = position / w.out_width * w.step - w.pad, x0 = position % w.out_width * w.step - w.pad;
    const int row = w.kernel_w * w.stride_in;
    const int left = x0 < 0 ? -x0 : 0;
    const int right = x0 + w.kernel_w > w.width ? w.width - x0 : w.kernel_w;
    for (int ky = 0; ky < w.kernel_h; ++ky, patch += row) {
        const int y = y0 + ky;
        if (y < 0 || y >= w.height || right <= left) {
            std::memset(patch, 0, sizeof(typename A::Patch) * row);
            continue;
        }
        const auto* from = in + (ptrdiff_t(y) * w.width + x0) * w.stride_in;
        const int begin = left * w.stride_in, end = right * w.stride_in;
        std::fill(patch, patch + begin, typename A::Patch(0));
        A::copy(from + begin, end - begin, patch + begin);
        std::fill(patch + end, patch + row, typename A::Patch(0));
    }
}

/// Spikes and 16-bit weights, two rows of weights at a time.
struct Integers {
    using In = uint8_t;
    using Patch = int16_t;
    using Weight = int16_t;
    using Sum = int32_t;
    using Vector = i32x16;
    static int length(const Window& w) { return (w.rows() + 1) / 2 * 2; }
    static constexpr int STEP = 2;

    SD_INLINE void copy(const In* from, int count, Patch* to) {   // a multiple of 32, as of all spikes
        for (int i = 0; i < count; i += 32) store(to + i, convert<i16x32>(load<u8x32>(from + i)));
    }
    SD_INLINE Vector spread(const Patch* p) {
        int32_t pair;
        std::memcpy(&pair, p, sizeof pair);
        return Vector{} + pair;
    }
    SD_INLINE Vector add(const Vector& sum, const Vector& x, const Vector& w) { return pair_dot(sum, x, w); }
};

/// Spikes and `halves` of wide weights: a patch holds each count as HALF times itself, for the high half, and itself.
struct WideIntegers {
    using In = uint8_t;
    using Patch = int32_t;
    using Weight = int32_t;
    using Sum = int32_t;
    using Vector = i32x16;
    static int length(const Window& w) { return w.rows(); }
    static constexpr int STEP = 1;

    SD_INLINE void copy(const In* from, int count, Patch* to) {
        for (int i = 0; i < count; i += 16) {
            const i32x16 x = convert<i32x16>(load<u8x16>(from + i));
            store(to + i, x * HALF << 16 | x);
        }
    }
    SD_INLINE Vector spread(const Patch* p) { return splat(*p); }
    SD_INLINE Vector add(const Vector& sum, const Vector& x, const Vector& w) { return pair_dot(sum, x, w); }
};

/// Real inputs: a product and a sum, each rounded.
struct Reals {
    using In = float;
    using Patch = float;
    using Weight = float;
    using Sum = float;
    using Vector = f32x16;
    static int length(const Window& w) { return w.rows(); }
    static constexpr int STEP = 1;

    SD_INLINE void copy(const In* from, int count, Patch* to) { std::memcpy(to, from, sizeof(In) * count); }
    SD_INLINE Vector spread(const Patch* p) { return splat(*p); }
    SD_INLINE Vector add(const Vector& sum, const Vector& x, const Vector& w) { return sum + x * w; }
};

/// Sums of 16 * J columns for N rows of the patch matrix.
template <class A, int J, int N>
static void multiply(const typename A::Patch* patches, int length, const typename A::Weight* weights, typename A::Sum* acc) {
    using Vector = typename A::Vector;
    Vector sum[N][J] = {};
    for (int k = 0; k < length; k += A::STEP, weights += A::STEP * BLOCK) {
        Vector w[J];
        for (int j = 0; j < J; ++j) w[j] = load<Vector>(weights + 16 * A::STEP * j);
        for (int r = 0; r < N; ++r) {
            const Vector x = A::spread(patches + size_t(r) * length + k);
            for (int j = 0; j < J; ++j) sum[r][j] = A::add(sum[r][j], x, w[j]);
        }
    }
    for (int r = 0; r < N; ++r)
        for (int j = 0; j < J; ++j) store(acc + r * BLOCK + 16 * j, sum[r][j]);
}

/// The same for any number of rows.
template <class A, int J, int N = TILE>
SD_INLINE void multiply_rows(const typename A::Patch* patches, int length, const typename A::Weight* weights, int rows,
                             typename A::Sum* acc) {
    int r = 0;
    for (; r + N <= rows; r += N) multiply<A, J, N>(patches + size_t(r) * length, length, weights, acc + size_t(r) * BLOCK);
    if constexpr (N > 1)
        multiply_rows<A, J, N / 2>(patches + size_t(r) * length, length, weights, rows - r, acc + size_t(r) * BLOCK);
}

template <class A>
static void dense(const Window& w, const typename A::In* in, const typename A::Weight* weights, int blocks,
                  const Epilogue& e, int first, int last, void* scratch) {
    using Sum = typename A::Sum;
    const int length = A::length(w), rows = (last - first) * w.steps;
    Sum* acc = static_cast<Sum*>(scratch);
    auto* patches = reinterpret_cast<typename A::Patch*>(acc + size_t(rows) * BLOCK);
    for (int r = 0; r < rows; ++r) {
        auto* patch = patches + size_t(r) * length;
        if (length > w.rows()) patch[w.rows()] = 0;
        gather_patch<A>(w, in + (r % w.steps) * w.map(), first + r / w.steps, patch);
    }
    for (int b = 0; b < blocks; ++b) {
        const auto* block = weights + size_t(b) * length * BLOCK;
        if (e.stride - b * BLOCK <= 32) multiply_rows<A, 2>(patches, length, block, rows, acc);
        else multiply_rows<A, 4>(patches, length, block, rows, acc);
        for (int p = first; p < last; ++p) finish_block(e, p, b, acc + size_t(p - first) * w.steps * BLOCK, BLOCK);
    }
}

}  // namespace sd::SD_ISA
