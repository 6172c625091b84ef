// The sparse accumulator: for each output position, add the rows of weights whose input fired.
//
// A row is loaded once for a group of four time steps. Inputs are sorted by their code, the pattern of steps at which
// they fired; each code's rows are summed, and the sum is added to the steps of the pattern. Codes that are rare are split
// into single steps. A count (of an integer neuron) is a code as well: its bits take the place of the steps.
#pragma once

#include <utility>

#include "epilogue.h"

namespace sd::SD_ISA {

constexpr int GROUP = 4;    // time steps, or bits of a count, that share loads
constexpr int CODES = 16;   // patterns of a group; code 0 is silence

/// Places in [0, count) whose code has its byte set in `table`, appended to out. May write 64 entries too many.
SD_INLINE uint16_t* list_codes(const uint8_t* codes, int count, const uint8_t* table, uint16_t* out) {
#ifdef __AVX512VBMI2__
    const __m512i iota = _mm512_set_epi8(
        63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36,
        35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7,
        6, 5, 4, 3, 2, 1, 0);
    const __m512i listed = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    for (int i = 0; i < count; i += 64) {
        const __m512i v = _mm512_loadu_si512(codes + i);   // there are 64 zeros behind the last code
        const __mmask64 found = _mm512_movepi8_mask(_mm512_shuffle_epi8(listed, v));
        if (!found) continue;
        const __m512i places = _mm512_maskz_compress_epi8(found, iota), offset = _mm512_set1_epi16(short(i));
        const int n = __builtin_popcountll(found);
        _mm512_storeu_si512(out, _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(places)), offset));
        if (n > 32)
            _mm512_storeu_si512(
                out + 32, _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(places, 1)), offset));
        out += n;
    }
#else
    for (int i = 0; i < count; i += 8) {
        uint64_t word;
        std::memcpy(&word, codes + i, 8);
        if (!word) continue;
        for (int j = 0; j < 8; ++j) {
            *out = uint16_t(i + j);
            out += table[codes[i + j]] >> 7;
        }
    }
#endif
    return out;
}

/// Codes of all rows that reach an output position, for `steps` time steps from `in` on; 0 outside the map.
SD_INLINE void gather_codes(const Window& w, const uint8_t* in, int steps, int position, uint8_t* codes) {
    const int y0 = position / w.out_width * w.step - w.pad, x0 = position % w.out_width * w.step - w.pad;
    for (int ky = 0; ky < w.kernel_h; ++ky)
        for (int kx = 0; kx < w.kernel_w; ++kx, codes += w.stride_in) {
            const int y = y0 + ky, x = x0 + kx;
            if (y < 0 || y >= w.height || x < 0 || x >= w.width) {
                std::memset(codes, 0, w.stride_in);
                continue;
            }
            const uint8_t* bytes = in + (size_t(y) * w.width + x) * w.stride_in;
            for (int c = 0; c < w.stride_in; c += 32) {   // a count is its own code
                u8x32 code = load<u8x32>(bytes + c);
                for (int t = 1; t < steps; ++t) code |= load<u8x32>(bytes + t * w.map() + c) << t;
                store(codes + c, code);
            }
        }
}

/// Which lists are kept: one per code, named by it. member[list][code] is 0x80 where the list holds the code's rows.
struct Lists {
    uint8_t member[CODES][CODES] = {};
    uint16_t used = 0;

    void add(int list, int code) {
        member[list][code] = 0x80;
        used |= uint16_t(1 << list);
    }
};

SD_INLINE bool single(int code) { return (code & (code - 1)) == 0; }

/// counts: how often each code, of so many bits, was seen at `positions` positions. A code has a list of its own where
/// that saves more than a list costs; else its rows stand in the lists of its bits.
SD_INLINE Lists choose_lists(const uint32_t* counts, int positions, int bits, int rows, int blocks) {
    // in additions of a row to a block, measured: a loop that ends at an unforeseen place, and a search through all codes
    const uint64_t cost = uint64_t(10 + rows / 16 / blocks);
    Lists lists;
    for (int code = 1; code < 1 << bits; ++code) {
        const uint64_t saved = uint64_t(counts[code]) * (__builtin_popcount(unsigned(code)) - 1);
        if (single(code) || saved > cost * positions) {
            lists.add(code, code);
            continue;
        }
        for (int t = 0; t < bits; ++t)
            if (code >> t & 1) lists.add(1 << t, code);
    }
    return lists;
}

/// Where the list of each position and code begins.
struct Entries {
    uint32_t* starts;   // [positions * CODES + 1]
    uint16_t* rows;
};

/// The lists of all positions of a tile for one group of steps; of each list the length is even.
SD_INLINE void list_tile(const Window& w, const uint8_t* in, int steps, int bits, int blocks, int first, int last,
                         const Entries& entries, Lists& lists, uint8_t* codes) {
    uint32_t counts[CODES] = {};
    const int sample = last - first < 4 ? last - first : 4;
    std::memset(codes + w.rows(), 0, 64);
    for (int i = 0; i < sample; ++i) {
        gather_codes(w, in, steps, first + (last - first) * i / sample, codes);
        for (int row = 0; row < w.rows(); ++row) ++counts[codes[row] & (CODES - 1)];
    }
    lists = choose_lists(counts, sample, bits, w.rows(), blocks);
    uint16_t* out = entries.rows;
    uint32_t* start = entries.starts;
    for (int p = first; p < last; ++p) {
        gather_codes(w, in, steps, p, codes);
        for (int list = 0; list < CODES; ++list) {
            *start++ = uint32_t(out - entries.rows);
            if (!(lists.used >> list & 1)) continue;
            out = list_codes(codes, w.rows(), lists.member[list], out);
            if ((out - entries.rows) & 1) *out++ = uint16_t(w.rows());   // the row of zeros
        }
    }
    *start = uint32_t(out - entries.rows);
}

/// Sums of 32 * N columns.
template <int N> struct Sums {
    i32x16 even[N] = {}, odd[N] = {};

    [[gnu::always_inline]] void operator+=(const Sums& other) {
        for (int j = 0; j < N; ++j) even[j] += other.even[j], odd[j] += other.odd[j];
    }
    [[gnu::always_inline]] void add_twice(const Sums& other) {
        for (int j = 0; j < N; ++j) even[j] += other.even[j] * 2, odd[j] += other.odd[j] * 2;
    }
    [[gnu::always_inline]] void write(int32_t* acc) const {
        for (int j = 0; j < N; ++j) {
            store(acc + 32 * j, even[j]);
            store(acc + 32 * j + 16, odd[j]);
        }
    }
};

/// 16-bit rows of which any two together fit 16 bits.
struct Paired {
    using Weight = int16_t;
    template <int N> SD_INLINE void add(Sums<N>& sums, const Weight* a, const Weight* b) {
        for (int j = 0; j < N; ++j)
            widen_add(load<i16x32>(a + 32 * j) + load<i16x32>(b + 32 * j), sums.even[j], sums.odd[j]);
    }
};

/// 16-bit rows.
struct Narrow {
    using Weight = int16_t;
    template <int N> SD_INLINE void add(Sums<N>& sums, const Weight* a, const Weight* b) {
        for (const Weight* row : {a, b})
            for (int j = 0; j < N; ++j) widen_add(load<i16x32>(row + 32 * j), sums.even[j], sums.odd[j]);
    }
};

/// 32-bit rows, columns in order: their first and second halves take the places of even and odd ones.
struct Wide {
    using Weight = int32_t;
    template <int N> SD_INLINE void add(Sums<N>& sums, const Weight* a, const Weight* b) {
        for (int j = 0; j < N; ++j) {
            sums.even[j] += load<i32x16>(a + 32 * j) + load<i32x16>(b + 32 * j);
            sums.odd[j] += load<i32x16>(a + 32 * j + 16) + load<i32x16>(b + 32 * j + 16);
        }
    }
};

/// The rows of one list, n of them, an even number. Rows: one of the three above.
template <int N, class Rows>
SD_INLINE Sums<N> add_rows(const uint16_t* list, uint32_t n, const typename Rows::Weight* weights) {
    Sums<N> sums[2];   // two, so that an addition need not wait for the one before it
    auto row = [&](uint32_t i) { return weights + size_t(list[i]) * BLOCK; };
    auto pair = [&](uint32_t i, Sums<N>& to) { Rows::template add<N>(to, row(i), row(i + 1)); };
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        pair(i, sums[0]);
        pair(i + 2, sums[1]);
    }
    if (i < n) pair(i, sums[0]);
    sums[0] += sums[1];
    return sums[0];
}

template <int N, class Rows, int CODE>
SD_INLINE void add_code(const Entries& e, const uint32_t* start, uint16_t used, const typename Rows::Weight* weights,
                        Sums<N>* steps) {
    if (!(used >> CODE & 1)) return;
    const Sums<N> sums = add_rows<N, Rows>(e.rows + start[CODE], start[CODE + 1] - start[CODE], weights);
    for (int t = 0; t < GROUP; ++t)
        if (CODE >> t & 1) steps[t] += sums;
}

/// Sums of one position and block: acc[step][BLOCK] for the steps of one group.
template <int N, class Rows, int... CODE>
SD_INLINE void add_position(const Entries& e, const uint32_t* start, uint16_t used, const typename Rows::Weight* weights,
                            int levels, int steps, int32_t* acc, std::integer_sequence<int, CODE...>) {
    Sums<N> sums[GROUP];
    (add_code<N, Rows, CODE>(e, start, used, weights, sums), ...);
    for (int t = GROUP - 1; levels > 1 && t > 0; --t) sums[t - 1].add_twice(sums[t]);   // bits of a count
    for (int t = 0; t < GROUP; ++t)
        if (t < steps) sums[t].write(acc + t * BLOCK);
}

/// Asks for part i of n of the next block of weights, so that it is near when its turn comes.
template <class Weight> SD_INLINE void fetch(const Weight* block, size_t values, size_t i, size_t n) {
    constexpr size_t LINE = 64 / sizeof(Weight);
    const size_t lines = (values + LINE - 1) / LINE;
    for (size_t line = lines * i / n; line < lines * (i + 1) / n; ++line) __builtin_prefetch(block + line * LINE, 0, 2);
}

template <int N, class Rows>
SD_INLINE void add_group(const Window& w, const Entries& e, const uint32_t* start, uint16_t used,
                         const typename Rows::Weight* weights, int steps, int32_t* acc) {
    add_position<N, Rows>(e, start, used, weights, w.levels, steps, acc, std::make_integer_sequence<int, CODES>());
}

/// Group g of time steps: from step first_step(g) on, group_steps(g) of them.
SD_INLINE int groups(const Window& w) { return w.levels > 1 ? w.steps : (w.steps + GROUP - 1) / GROUP; }
SD_INLINE int first_step(const Window& w, int g) { return w.levels > 1 ? g : g * GROUP; }
SD_INLINE int group_steps(const Window& w, int g) {
    return w.levels > 1 ? 1 : w.steps - g * GROUP < GROUP ? w.steps - g * GROUP : GROUP;
}

/// Scratch memory of a tile, cut into parts.
struct Cut {
    char* next;
    template <class T> T* take(size_t count) {
        T* part = reinterpret_cast<T*>(next);
        next += (count * sizeof(T) + 63) & ~size_t(63);
        return part;
    }
};

template <class Rows>
static void add_tile(const Window w, const uint8_t* in, const typename Rows::Weight* weights, int blocks,
                     const Epilogue e, int first, int last, void* scratch) {
    Cut cut{static_cast<char*>(scratch)};
    uint8_t* codes = cut.take<uint8_t>(w.rows() + 128);
    int32_t* acc = cut.take<int32_t>(size_t(w.steps) * BLOCK);
    Entries entries[ROW_GROUPS];
    Lists lists[ROW_GROUPS];
    const int count = groups(w), positions = last - first;
    for (int g = 0; g < count; ++g) {
        entries[g].starts = cut.take<uint32_t>(size_t(positions) * CODES + 1);
        entries[g].rows = cut.take<uint16_t>(0);
        const int steps = group_steps(w, g), bits = w.levels > 1 ? GROUP : steps;
        list_tile(w, in + first_step(w, g) * w.map(), steps, bits, blocks, first, last, entries[g], lists[g], codes);
        cut.take<uint16_t>(entries[g].starts[size_t(positions) * CODES] + 64);
    }
    const size_t values = size_t(w.rows() + 1) * BLOCK;
    for (int b = 0; b < blocks; ++b) {
        const auto* block = weights + b * values;
        const bool half = e.stride - b * BLOCK <= 32;
        for (int p = first; p < last; ++p) {
            for (int g = 0; g < count; ++g) {
                const uint32_t* start = entries[g].starts + size_t(p - first) * CODES;
                int32_t* to = acc + first_step(w, g) * BLOCK;
                if (half) add_group<1, Rows>(w, entries[g], start, lists[g].used, block, group_steps(w, g), to);
                else add_group<2, Rows>(w, entries[g], start, lists[g].used, block, group_steps(w, g), to);
            }
            finish_block(e, p, b, acc, BLOCK);
            if (b + 1 < blocks) fetch(block + values, values, p - first, positions);
        }
    }
}

static void rows(const Window& w, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue& e, int first,
                 int last, void* scratch) {
    if (w.paired) return add_tile<Paired>(w, in, weights, blocks, e, first, last, scratch);
    add_tile<Narrow>(w, in, weights, blocks, e, first, last, scratch);
}

static void rows_wide(const Window& w, const uint8_t* in, const int32_t* weights, int blocks, const Epilogue& e,
                      int first, int last, void* scratch) {
    add_tile<Wide>(w, in, weights, blocks, e, first, last, scratch);
}

}  // namespace sd::SD_ISA
