// The dense accumulators: every product. For spikes that are frequent, in integers; for real inputs, in float32.
#pragma once

#include "epilogue.h"

namespace sd::SD_ISA {

constexpr int TILE = 4;   // rows of the patch matrix that share a load of weights

/// The inputs of one output position and time step in a row, zero outside the map.
template <class In, class Out> SD_INLINE void gather_patch(const Window& w, const In* in, int position, Out* patch) {
    const int y0 = position / w.out_width * w.step - w.pad, x0 = position % w.out_width * w.step - w.pad;
    const int row = w.kernel_w * w.stride_in;
    const int left = x0 < 0 ? -x0 : 0;
    const int right = x0 + w.kernel_w > w.width ? w.width - x0 : w.kernel_w;
    for (int ky = 0; ky < w.kernel_h; ++ky, patch += row) {
        const int y = y0 + ky;
        if (y < 0 || y >= w.height || right <= left) {
            std::memset(patch, 0, sizeof(Out) * row);
            continue;
        }
        const In* from = in + (ptrdiff_t(y) * w.width + x0) * w.stride_in;
        int i = 0;
        for (; i < left * w.stride_in; ++i) patch[i] = 0;
        for (; i < right * w.stride_in; ++i) patch[i] = from[i];
        for (; i < row; ++i) patch[i] = 0;
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

    SD_INLINE Vector spread(const Patch* p) {
        int32_t pair;
        std::memcpy(&pair, p, sizeof pair);
        return Vector{} + pair;
    }
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

    SD_INLINE Vector spread(const Patch* p) { return splat(*p); }
    SD_INLINE Vector add(const Vector& sum, const Vector& x, const Vector& w) { return sum + x * w; }
};

/// Sums of BLOCK columns for `N` rows of the patch matrix.
template <class A, int N>
SD_INLINE void multiply(const typename A::Patch* patches, int length, const typename A::Weight* weights, typename A::Sum* acc) {
    using Vector = typename A::Vector;
    Vector sum[N][4] = {};
    for (int k = 0; k < length; k += A::STEP, weights += A::STEP * BLOCK) {
        Vector w[4];
        for (int j = 0; j < 4; ++j) w[j] = load<Vector>(weights + 16 * A::STEP * j);
        for (int r = 0; r < N; ++r) {
            const Vector x = A::spread(patches + size_t(r) * length + k);
            for (int j = 0; j < 4; ++j) sum[r][j] = A::add(sum[r][j], x, w[j]);
        }
    }
    for (int r = 0; r < N; ++r)
        for (int j = 0; j < 4; ++j) store(acc + r * BLOCK + 16 * j, sum[r][j]);
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
        gather_patch(w, in + (r % w.steps) * w.map(), first + r / w.steps, patch);
    }
    for (int b = 0; b < blocks; ++b) {
        const auto* block = weights + size_t(b) * length * BLOCK;
        int r = 0;
        for (; r + TILE <= rows; r += TILE)
            multiply<A, TILE>(patches + size_t(r) * length, length, block, acc + size_t(r) * BLOCK);
        for (; r < rows; ++r) multiply<A, 1>(patches + size_t(r) * length, length, block, acc + size_t(r) * BLOCK);
        for (int p = first; p < last; ++p) finish_block(e, p, b, acc + size_t(p - first) * w.steps * BLOCK, BLOCK);
    }
}

}  // namespace sd::SD_ISA
