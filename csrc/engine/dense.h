// The dense accumulators: every product. For spikes that are frequent, in integers; for real inputs, in float32.
#pragma once

#include <algorithm>

#include "epilogue.h"

namespace sd::SD_ISA {

// Rows of the patch matrix that share a load of weights, and vectors of sixteen columns that share a load of inputs: as
// many as registers hold sums of.
#if defined(__AVX512F__)
constexpr int TILE = 6, ACROSS = 4;
#elif defined(__AVX2__)
constexpr int TILE = 6, ACROSS = 1;
#else
constexpr int TILE = 2, ACROSS = 1;
#endif

/// As `gather_patch`, for windows whose taps do not lie side by side. May write into the patch behind it.
template <class A> SD_INLINE void gather_apart(const Window& w, const typename A::In* in, int position,
                                               typename A::Patch* patch) {
    const int y0 = w.start_y(position), x0 = w.start_x(position);
    for (int ky = 0; ky < w.y.kernel; ++ky)
        for (int kx = 0; kx < w.x.kernel; ++kx, patch += w.taken) {
            const int y = w.y.place(y0, ky), x = w.x.place(x0, kx);
            if (y < 0 || x < 0) std::fill(patch, patch + w.taken, typename A::Patch(0));
            else A::copy(in + (size_t(y) * w.x.size + x) * w.stride_in, A::whole(w.taken), patch);
        }
}

/// The inputs of one output position and time step in a row, zero outside the map.
template <class A> SD_INLINE void gather_patch(const Window& w, const typename A::In* in, int position,
                                               typename A::Patch* patch) {
    if (!w.y.plain() || !w.x.plain() || w.taken != w.stride_in) return gather_apart<A>(w, in, position, patch);
    const int y0 = w.start_y(position), x0 = w.start_x(position), width = w.x.size;
    const int row = w.x.kernel * w.stride_in;
    const int left = x0 < 0 ? -x0 : 0;
    const int right = x0 + w.x.kernel > width ? width - x0 : w.x.kernel;
    for (int ky = 0; ky < w.y.kernel; ++ky, patch += row) {
        const int y = y0 + ky;
        if (y < 0 || y >= w.y.size || right <= left) {
            std::memset(patch, 0, sizeof(typename A::Patch) * row);
            continue;
        }
        const auto* from = in + (ptrdiff_t(y) * width + x0) * w.stride_in;
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
    static constexpr int STEP = 2;
    static int whole(int count) { return (count + 31) / 32 * 32; }   // a place has as many

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

/// Spikes and weights of bytes, four rows at a time.
struct ByteIntegers {
    using In = uint8_t;
    using Patch = uint8_t;
    using Weight = int8_t;
    using Sum = int32_t;
    using Vector = i32x16;
    static constexpr int STEP = 4;
    static int whole(int count) { return (count + 31) / 32 * 32; }

    SD_INLINE void copy(const In* from, int count, Patch* to) { std::memcpy(to, from, size_t(count)); }
    SD_INLINE Vector spread(const Patch* p) {
        int32_t four;
        std::memcpy(&four, p, sizeof four);
        return Vector{} + four;
    }
    SD_INLINE Vector add(const Vector& sum, const Vector& x, const Vector& w) { return quad_dot(sum, x, w); }
};

/// Real inputs: a product and a sum, each rounded.
struct Reals {
    using In = float;
    using Patch = float;
    using Weight = float;
    using Sum = float;
    using Vector = f32x16;
    static constexpr int STEP = 1;
    static int whole(int count) { return count; }

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

/// The same for any number of rows, and 32 or 64 columns.
template <class A, int J, int N = TILE>
SD_INLINE void multiply_rows(const typename A::Patch* patches, int length, const typename A::Weight* weights, int rows,
                             typename A::Sum* acc, int columns) {
    int r = 0;
    for (; r + N <= rows; r += N)
        for (int c = 0; c < columns; c += 16 * J)
            multiply<A, J, N>(patches + size_t(r) * length, length, weights + c * A::STEP, acc + size_t(r) * BLOCK + c);
    if constexpr (N > 1)
        multiply_rows<A, J, N / 2>(patches + size_t(r) * length, length, weights, rows - r, acc + size_t(r) * BLOCK, columns);
}

/// How sums of products are made; `dense` asks for one block of columns.
template <class A> struct Products {
    SD_INLINE void make(const Window&, const typename A::Patch* patches, int length, const typename A::Weight* weights, int rows,
                        typename A::Sum* acc, int columns) {
        if (ACROSS > 2 && columns <= 32) multiply_rows<A, ACROSS / 2>(patches, length, weights, rows, acc, columns);
        else multiply_rows<A, ACROSS>(patches, length, weights, rows, acc, columns);
    }
};

template <class A, class How = Products<A>>
static void dense(const Window& w, const typename A::In* in, const typename A::Weight* weights, int blocks,
                  const Epilogue& e, int first, int last, void* scratch) {
    using Sum = typename A::Sum;
    const int length = (w.rows() + A::STEP - 1) / A::STEP * A::STEP, rows = (last - first) * w.steps;
    Sum* acc = static_cast<Sum*>(scratch);
    auto* patches = reinterpret_cast<typename A::Patch*>(acc + size_t(rows) * BLOCK);
    for (int r = 0; r < rows; ++r) {
        auto* patch = patches + size_t(r) * length;
        gather_patch<A>(w, in + (r % w.steps) * w.map(), first + r / w.steps, patch);
        std::fill(patch + w.rows(), patch + length, typename A::Patch(0));
    }
    for (int b = 0; b < blocks; ++b) {
        const auto* block = weights + size_t(b) * length * BLOCK;
        How::make(w, patches, length, block, rows, acc, e.stride - b * BLOCK <= 32 ? 32 : BLOCK);
        for (int p = first; p < last; ++p) finish_block(e, p, b, acc + size_t(p - first) * w.steps * BLOCK, BLOCK);
    }
}

}  // namespace sd::SD_ISA
