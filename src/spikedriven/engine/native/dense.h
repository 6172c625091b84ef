// The dense accumulator: every product, two rows of weights at a time. For inputs that fire often, and for real inputs.
#pragma once

#include "epilogue.h"

namespace sd::SD_ISA {

constexpr int TILE = 4;   // rows of the patch matrix that share a load of weights

inline int padded_pairs(const Window& w) { return (w.rows() + 1) / 2; }

/// The inputs of one output position and time step as a row of 16-bit numbers, zero outside the map.
template <class T> SD_INLINE void gather_patch(const Window& w, const T* in, int position, int16_t* patch) {
    const int y0 = position / w.out_width * w.step - w.pad, x0 = position % w.out_width * w.step - w.pad;
    const int row = w.kernel_w * w.stride_in;
    const int left = x0 < 0 ? -x0 : 0;
    const int right = x0 + w.kernel_w > w.width ? w.width - x0 : w.kernel_w;
    for (int ky = 0; ky < w.kernel_h; ++ky, patch += row) {
        const int y = y0 + ky;
        if (y < 0 || y >= w.height || right <= left) {
            std::memset(patch, 0, sizeof(int16_t) * row);
            continue;
        }
        const T* from = in + (ptrdiff_t(y) * w.width + x0) * w.stride_in;
        int i = 0;
        for (; i < left * w.stride_in; ++i) patch[i] = 0;
        for (; i < right * w.stride_in; ++i) patch[i] = from[i];
        for (; i < row; ++i) patch[i] = 0;
    }
    if (w.rows() & 1) *patch = 0;
}

/// Sums of BLOCK columns for `N` rows of the patch matrix.
template <int N> SD_INLINE void multiply(const int16_t* patches, int pairs, const int16_t* weights, int32_t* acc) {
    i32x16 sum[N][4] = {};
    for (int k = 0; k < pairs; ++k, weights += 2 * BLOCK) {
        i32x16 w[4];
        for (int j = 0; j < 4; ++j) w[j] = load<i32x16>(weights + 32 * j);
        for (int r = 0; r < N; ++r) {
            int32_t pair;
            std::memcpy(&pair, patches + (size_t(r) * pairs + k) * 2, sizeof pair);
            const i32x16 both = i32x16{} + pair;
            for (int j = 0; j < 4; ++j) sum[r][j] = pair_dot(sum[r][j], both, w[j]);
        }
    }
    for (int r = 0; r < N; ++r)
        for (int j = 0; j < 4; ++j) store(acc + r * BLOCK + 16 * j, sum[r][j]);
}

template <class T>
static void dense(const Window& w, const T* in, const int16_t* weights, int blocks, const Epilogue& e, int first,
                  int last, void* scratch) {
    const int pairs = padded_pairs(w), rows = (last - first) * w.steps;
    int32_t* acc = static_cast<int32_t*>(scratch);
    int16_t* patches = reinterpret_cast<int16_t*>(acc + size_t(rows) * BLOCK);
    const size_t step = w.map();
    for (int r = 0; r < rows; ++r)
        gather_patch(w, in + (r % w.steps) * step, first + r / w.steps, patches + size_t(r) * pairs * 2);
    for (int b = 0; b < blocks; ++b) {
        const int16_t* block = weights + size_t(b) * pairs * 2 * BLOCK;
        int r = 0;
        for (; r + TILE <= rows; r += TILE)
            multiply<TILE>(patches + size_t(r) * pairs * 2, pairs, block, acc + size_t(r) * BLOCK);
        for (; r < rows; ++r) multiply<1>(patches + size_t(r) * pairs * 2, pairs, block, acc + size_t(r) * BLOCK);
        for (int p = first; p < last; ++p) finish_block(e, p, b, acc + size_t(p - first) * w.steps * BLOCK, BLOCK);
    }
}

}  // namespace sd::SD_ISA
