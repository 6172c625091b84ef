// Every product of counts with weights of bytes, where the instruction set multiplies bytes.
#pragma once

#include "dense.h"

namespace sd::SD_ISA {

#if defined(SD_QUAD_DOT)

/// Four products at a time, straight into 32 bits.
using ByteProducts = Products<ByteIntegers>;
constexpr int DENSE_LEVELS = SD_QUAD_DOT, DENSE_PRODUCT = 255 * 127;

#elif defined(SD_PAIRS_OF_BYTES)

constexpr int BYTE_ROWS = REGISTER == 64 ? 4 : 2, BYTE_ACROSS = REGISTER == 64 ? 4 : 2;
/// Products two by two into 16 bits, and these into 32 before they could overflow. A window's `unseen` says when: at
/// least after every fourth.
constexpr int DENSE_LEVELS = 255, DENSE_PRODUCT = 32767 / 8;

struct ByteProducts {
    /// The next `count` fours of rows, for N rows of the patch matrix, added to acc.
    template <int N>
    SD_INLINE void some(const uint8_t* patches, int length, const int8_t* weights, int count, int32_t* acc) {
        constexpr int J = BYTE_ACROSS;
        i32x16 sum[N][J] = {};   // of two numbers of 16 bits each
        for (int k = 0; k < count; ++k, weights += 4 * BLOCK, patches += 4) {
            i32x16 x[N];
            for (int r = 0; r < N; ++r) x[r] = ByteIntegers::spread(patches + size_t(r) * length);
            for (int j = 0; j < J; ++j) {
                const i32x16 w = load<i32x16>(weights + 64 * j);
                for (int r = 0; r < N; ++r) sum[r][j] = add_pairs_of_bytes(sum[r][j], x[r], w);
            }
        }
        for (int r = 0; r < N; ++r)
            for (int j = 0; j < J; ++j) {
                int32_t* to = acc + r * BLOCK + 16 * j;
                store(to, pair_dot(load<i32x16>(to), sum[r][j], splat(0x10001)));
            }
    }

    template <int N>
    SD_INLINE void rows_of(const uint8_t* patches, int length, const int8_t* weights, int unseen, int32_t* acc, int columns) {
        std::memset(acc, 0, sizeof(int32_t) * N * BLOCK);
        const int fours = length / 4;
        for (int first = 0; first < fours; first += unseen)
            for (int c = 0; c < columns; c += 16 * BYTE_ACROSS)
                some<N>(patches + 4 * first, length, weights + size_t(first) * 4 * BLOCK + 4 * c,
                        fours - first < unseen ? fours - first : unseen, acc + c);
    }

    static void make(const Window& w, const uint8_t* patches, int length, const int8_t* weights, int rows, int32_t* acc,
                     int columns) {
        int r = 0;
        for (; r + BYTE_ROWS <= rows; r += BYTE_ROWS)
            rows_of<BYTE_ROWS>(patches + size_t(r) * length, length, weights, w.unseen, acc + size_t(r) * BLOCK, columns);
        for (; r < rows; ++r)
            rows_of<1>(patches + size_t(r) * length, length, weights, w.unseen, acc + size_t(r) * BLOCK, columns);
    }
};

#else

struct ByteProducts {
    SD_INLINE void make(const Window&, const uint8_t*, int, const int8_t*, int, int32_t*, int) {}
};
constexpr int DENSE_LEVELS = 0, DENSE_PRODUCT = 0;   // nobody asks for it

#endif

static void dense_s8(const Window& w, const uint8_t* in, const int8_t* weights, int blocks, const Epilogue& e, int first,
                     int last, void* scratch) {
    dense<ByteIntegers, ByteProducts>(w, in, weights, blocks, e, first, last, scratch);
}

}  // namespace sd::SD_ISA
