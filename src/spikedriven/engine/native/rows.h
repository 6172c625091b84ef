// The sparse accumulator: for each output position and time step, add the rows of weights whose input fired.
#pragma once

#include "epilogue.h"

namespace sd::SD_ISA {

/// Places in [0, count) where bytes are at least `least`, plus base, appended to out. May write 64 entries too many.
SD_INLINE uint16_t* list_fired(const uint8_t* bytes, int count, int least, int base, uint16_t* out) {
#ifdef __AVX512VBMI2__
    const __m512i iota = _mm512_set_epi8(
        63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36,
        35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7,
        6, 5, 4, 3, 2, 1, 0);
    for (int i = 0; i < count; i += 64) {
        const __mmask64 there = count - i >= 64 ? ~__mmask64(0) : (__mmask64(1) << (count - i)) - 1;
        const __m512i v = _mm512_maskz_loadu_epi8(there, bytes + i);
        const __mmask64 fired = _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8(char(least))) & there;
        if (!fired) continue;
        const __m512i places = _mm512_maskz_compress_epi8(fired, iota);
        const __m512i offset = _mm512_set1_epi16(short(base + i));
        const int n = __builtin_popcountll(fired);
        _mm512_storeu_si512(out, _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(places)), offset));
        if (n > 32)
            _mm512_storeu_si512(
                out + 32, _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(places, 1)), offset));
        out += n;
    }
#else
    for (int i = 0; i < count; i += 8) {
        uint64_t word;
        std::memcpy(&word, bytes + i, 8);
        if (!word) continue;
        for (int j = 0; j < 8; ++j) {
            *out = uint16_t(base + i + j);
            out += bytes[i + j] >= least;
        }
    }
#endif
    return out;
}

/// Rows that reach one output position at one time step; a count c stands c times in the list.
SD_INLINE uint16_t* list_rows(const Window& w, const uint8_t* in, int position, uint16_t* out) {
    const int y0 = position / w.out_width * w.step - w.pad, x0 = position % w.out_width * w.step - w.pad;
    for (int tap = 0, ky = 0; ky < w.kernel_h; ++ky)
        for (int kx = 0; kx < w.kernel_w; ++kx, ++tap) {
            const int y = y0 + ky, x = x0 + kx;
            if (y < 0 || y >= w.height || x < 0 || x >= w.width) continue;
            const uint8_t* bytes = in + (size_t(y) * w.width + x) * w.stride_in;
            for (int least = 1; least <= w.levels; ++least)
                out = list_fired(bytes, w.stride_in, least, tap * w.stride_in, out);
        }
    return out;
}

/// Sums of 32 * N columns over the listed rows; n is a multiple of 4.
template <int N> SD_INLINE void add_rows(const uint16_t* list, int n, const int16_t* weights, int32_t* acc) {
    // two sets of sums, so that an addition need not wait for the one before it
    i32x16 even[2][N] = {}, odd[2][N] = {};
    for (int i = 0; i < n; i += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            const int16_t* row = weights + size_t(list[i + k]) * BLOCK;
            for (int j = 0; j < N; ++j) widen_add(load<i16x32>(row + 32 * j), even[k & 1][j], odd[k & 1][j]);
        }
    for (int j = 0; j < N; ++j) {
        store(acc + 32 * j, even[0][j] + even[1][j]);
        store(acc + 32 * j + 16, odd[0][j] + odd[1][j]);
    }
}

struct RowLists {
    uint32_t* starts;   // [positions * steps + 1]
    uint16_t* entries;
};

SD_INLINE RowLists list_tile(const Window& w, const uint8_t* in, int first, int last, void* scratch) {
    RowLists lists{static_cast<uint32_t*>(scratch), nullptr};
    lists.entries = reinterpret_cast<uint16_t*>(lists.starts + size_t(last - first) * w.steps + 1);
    uint16_t* out = lists.entries;
    uint32_t* start = lists.starts;
    const size_t step = w.map();
    *start++ = 0;
    for (int p = first; p < last; ++p)
        for (int t = 0; t < w.steps; ++t) {
            out = list_rows(w, in + t * step, p, out);
            while ((out - lists.entries) & 3) *out++ = uint16_t(w.rows());   // the row of zeros
            *start++ = uint32_t(out - lists.entries);
        }
    return lists;
}

static void rows(const Window& w, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue& e, int first,
                 int last, void* scratch) {
    const RowLists lists = list_tile(w, in, first, last, scratch);
    int32_t* acc = reinterpret_cast<int32_t*>(lists.entries + ((lists.starts[size_t(last - first) * w.steps] + 95) & ~31u));
    for (int b = 0; b < blocks; ++b) {
        const int16_t* block = weights + size_t(b) * (w.rows() + 1) * BLOCK;
        const bool half = e.stride - b * BLOCK <= 32;
        for (int p = first; p < last; ++p) {
            for (int t = 0; t < w.steps; ++t) {
                const uint32_t* range = lists.starts + size_t(p - first) * w.steps + t;
                const uint16_t* list = lists.entries + range[0];
                const int n = int(range[1] - range[0]);
                half ? add_rows<1>(list, n, block, acc + t * BLOCK) : add_rows<2>(list, n, block, acc + t * BLOCK);
            }
            finish_block(e, p, b, acc, BLOCK);
        }
    }
}

}  // namespace sd::SD_ISA
