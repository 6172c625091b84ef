// The sparse accumulator: for each output position, add the rows of weights whose input fired (lists.h says which).
//
// The rows of a position are added one after the other in a single loop, and at the end of each list the sum so far is
// kept: what a list gave is the difference of two sums. A loop for each list would end at unforeseen places.
#pragma once

#include "epilogue.h"
#include "lists.h"

namespace sd::SD_ISA {

/// 16-bit rows of 32 * N columns, summed in 32 bits. PAIRED: any two rows together fit 16 bits.
template <int N, bool PAIRED> struct Words {
    using Weight = int16_t;
    using Sum = int32_t;
    i32x16 even[N] = {}, odd[N] = {};

    template <class Row> [[gnu::always_inline]] void add(Row row) {
        for (int i = 0; i < TOGETHER; i += 2) {
            const Weight *a = row(i), *b = row(i + 1);
            for (int j = 0; j < N; ++j) {
                if constexpr (PAIRED) {
                    widen_add(load<i16x32>(a + 32 * j) + load<i16x32>(b + 32 * j), even[j], odd[j]);
                } else {
                    widen_add(load<i16x32>(a + 32 * j), even[j], odd[j]);
                    widen_add(load<i16x32>(b + 32 * j), even[j], odd[j]);
                }
            }
        }
    }
    [[gnu::always_inline]] void add_times(const Words& after, const Words& before, int times) {
        for (int j = 0; j < N; ++j) {
            even[j] += (after.even[j] - before.even[j]) * times;
            odd[j] += (after.odd[j] - before.odd[j]) * times;
        }
    }
    [[gnu::always_inline]] void write(Sum* acc) const {
        for (int j = 0; j < N; ++j) store(acc + 32 * j, even[j]), store(acc + 32 * j + 16, odd[j]);
    }
};

/// Rows of bytes, two neighbours as one number of 16 bits, 256 * second + first: their sum, and the sum of the seconds.
/// Both are right modulo 2^16, which is enough where what is asked for fits 16 bits. V: 16-bit lanes; WEIGHTS: so many
/// rows together fit bytes.
template <class V, int WEIGHTS> struct Bytes {
    using Weight = int8_t;
    V both = {}, second = {};

    template <class Row> [[gnu::always_inline]] void add(Row row) {
        for (int i = 0; i < TOGETHER; i += WEIGHTS) {
            V sum = load<V>(row(i));
            for (int j = 1; j < WEIGHTS; ++j) sum += load<V>(row(i + j));
            both += sum;
            second += high_bytes(sum);
        }
    }
    [[gnu::always_inline]] V first() const { return both - (second << 8); }
};

/// Columns of sums of firsts and seconds: of each 32, sixteen firsts and sixteen seconds.
SD_INLINE void write_columns(int16_t* acc, const i16x32& first, const i16x32& second) {
    store(acc, low_half(first)), store(acc + 16, low_half(second));
    store(acc + 32, high_half(first)), store(acc + 48, high_half(second));
}
SD_INLINE void write_columns(int16_t* acc, const i16x16& first, const i16x16& second) {
    store(acc, first), store(acc + 16, second);
}

/// Sums of bytes that fit 16 bits.
template <class V, int WEIGHTS> struct Sums16 : Bytes<V, WEIGHTS> {
    using Sum = int16_t;
    using Bytes<V, WEIGHTS>::both, Bytes<V, WEIGHTS>::second;

    [[gnu::always_inline]] void add_times(const Sums16& after, const Sums16& before, int times) {
        if (times == 1) both += after.both - before.both, second += after.second - before.second;
        else both += (after.both - before.both) * int16_t(times), second += (after.second - before.second) * int16_t(times);
    }
    [[gnu::always_inline]] void write(Sum* acc) const { write_columns(acc, this->first(), second); }
};

/// Sums of bytes in 32 bits, of differences that fit 16.
template <class V> struct Sums32 {
    using Sum = int32_t;
    static constexpr int PARTS = LENGTH<V> / 16;   // of sixteen lanes
    i32x16 first[PARTS] = {}, second[PARTS] = {};

    template <int WEIGHTS>
    [[gnu::always_inline]] void add_times(const Bytes<V, WEIGHTS>& after, const Bytes<V, WEIGHTS>& before, int times) {
        Bytes<V, WEIGHTS> change;
        change.both = after.both - before.both, change.second = after.second - before.second;
        add_lanes(first, change.first(), times), add_lanes(second, change.second, times);
    }
    [[gnu::always_inline]] static void add_lanes(i32x16* to, const V& lanes, int times) {
        if constexpr (PARTS == 1) {
            to[0] += convert<i32x16>(lanes) * times;
        } else {
            to[0] += convert<i32x16>(low_half(lanes)) * times;
            to[1] += convert<i32x16>(high_half(lanes)) * times;
        }
    }
    [[gnu::always_inline]] void write(Sum* acc) const {
        for (int i = 0; i < PARTS; ++i) store(acc + 32 * i, first[i]), store(acc + 32 * i + 16, second[i]);
    }
};

/// Asks for part i of n of the next block of weights, so that it is near when its turn comes.
SD_INLINE void fetch(const void* block, size_t bytes, size_t i, size_t n) {
    constexpr size_t LINE = 64;
    const size_t lines = (bytes + LINE - 1) / LINE;
    for (size_t line = lines * i / n; line < lines * (i + 1) / n; ++line)
        __builtin_prefetch(static_cast<const char*>(block) + line * LINE, 0, 2);
}

/// Adds all rows of one position; kept[i]: the sum after i lists or parts of one.
template <class Adding> SD_INLINE void add_rows(const Rows& rows, int p, const typename Adding::Weight* weights, Adding* kept) {
    const uint16_t* four = rows.rows + size_t(rows.starts[p]) * TOGETHER;
    const uint8_t *keep = rows.keep + rows.starts[p], *end = rows.keep + rows.starts[p + 1];
    Adding sum;
    *kept++ = sum;
    for (; keep < end; ++keep, four += TOGETHER) {
        sum.add([&](int i) SD_INLINED { return weights + size_t(four[i]) * BLOCK; });
        *kept = sum;
        kept += *keep;
    }
}

/// What the list of a code gave, added to its time steps; of a count, so many times to the one step.
template <bool COUNTS, int CODE, class Adding, class Sums>
SD_INLINE void add_code(const Rows& rows, const uint16_t* ends, const Adding* kept, Sums* steps) {
    if (!(rows.lists.used >> CODE & 1)) return;
    for (int i = ends[CODE - 1]; i < ends[CODE]; ++i)
        for (int t = 0; t < GROUP; ++t)
            if (COUNTS ? t == 0 : CODE >> t & 1) steps[t].add_times(kept[i + 1], kept[i], COUNTS ? CODE : 1);
}

/// The same where a list is never kept in parts: no loop whose end is unforeseen.
template <bool COUNTS, int CODE, class Adding>
SD_INLINE void add_code(const Rows& rows, const uint16_t* ends, const Adding* kept, Adding* steps) {
    if (!(rows.lists.used >> CODE & 1)) return;
    const Adding &after = kept[ends[CODE]], &before = kept[ends[CODE - 1]];
    for (int t = 0; t < GROUP; ++t)
        if (COUNTS ? t == 0 : CODE >> t & 1) steps[t].add_times(after, before, COUNTS ? CODE : 1);
}

/// What the lists of all codes with the bit of step T gave. Lists lie in the order of codes, so those of 2^T codes in a row
/// gave one difference of sums.
template <int T, class Adding>
SD_INLINE void add_step(const Rows& rows, const uint16_t* ends, const Adding* kept, Adding* steps) {
    constexpr int RUN = 1 << T;
    for (int code = RUN; code < CODES; code += 2 * RUN)
        if (rows.lists.used >> code & ((1u << RUN) - 1)) steps[T].add_times(kept[ends[code + RUN - 1]], kept[ends[code - 1]], 1);
}

template <bool COUNTS, class Adding, class Sums, int... CODE>
SD_INLINE void add_codes(const Rows& rows, int p, const Adding* kept, int steps, typename Sums::Sum* acc,
                         std::integer_sequence<int, CODE...>) {
    Sums sums[COUNTS ? 1 : GROUP];
    const uint16_t* ends = rows.kept + size_t(p) * CODES;
    if constexpr (!COUNTS && std::is_same_v<Adding, Sums>) {   // any difference of sums fits
        add_step<0>(rows, ends, kept, sums), add_step<1>(rows, ends, kept, sums);
        add_step<2>(rows, ends, kept, sums), add_step<3>(rows, ends, kept, sums);
    } else {
        (add_code<COUNTS, CODE + 1>(rows, ends, kept, sums), ...);
    }
    for (int t = 0; t < steps; ++t) sums[t].write(acc + t * BLOCK);
}

/// One block of columns of all positions of a tile.
template <class Adding, class Sums>
static void add_block(const Window& w, const Rows* rows, const typename Adding::Weight* weights, size_t next_block, int block,
                      const Epilogue& e, int first, int last, char* scratch) {
    Cut cut{scratch};
    auto* acc = cut.take<typename Sums::Sum>(size_t(w.steps) * BLOCK);
    auto* kept = cut.take<Adding>(0);
    constexpr auto EVERY = std::make_integer_sequence<int, CODES - 1>();
    for (int p = first; p < last; ++p) {
        for (int g = 0; g < groups(w); ++g) {
            auto* to = acc + first_step(w, g) * BLOCK;
            add_rows(rows[g], p - first, weights, kept);
            if (w.levels > 1) add_codes<true, Adding, Sums>(rows[g], p - first, kept, 1, to, EVERY);
            else add_codes<false, Adding, Sums>(rows[g], p - first, kept, group_steps(w, g), to, EVERY);
        }
        finish_block(e, p, block, acc, BLOCK);
        if (next_block) fetch(weights + next_block, next_block * sizeof(*weights), p - first, last - first);
    }
}

/// A tile, block by block. Block: a function like `add_block`, the half of it for the last 32 columns.
template <class Weight, class Block>
SD_INLINE void add_tile(const Window& w, const uint8_t* in, const Weight* weights, int blocks, const Epilogue& e, int first,
                        int last, void* scratch, Block whole, Block half) {
    Cut cut{static_cast<char*>(scratch)};
    char* sums = cut.take<char>(sums_scratch(w));
    Rows rows[ROW_GROUPS];
    for (int g = 0; g < groups(w); ++g)
        list_rows(w, in + first_step(w, g) * w.map(), group_steps(w, g), blocks, first, last, rows[g], cut);
    const size_t values = size_t(w.rows() + 1) * BLOCK;
    for (int b = 0; b < blocks; ++b) {
        const Block add = e.stride - b * BLOCK <= 32 ? half : whole;
        add(w, rows, weights + b * values, b + 1 < blocks ? values : 0, b, e, first, last, sums);
    }
}

static void rows(const Window& w, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue& e, int first, int last,
                 void* scratch) {
    constexpr auto whole = add_block<Words<2, true>, Words<2, true>>, half = add_block<Words<1, true>, Words<1, true>>;
    constexpr auto whole_apart = add_block<Words<2, false>, Words<2, false>>, half_apart = add_block<Words<1, false>, Words<1, false>>;
    add_tile(w, in, weights, blocks, e, first, last, scratch, w.paired ? whole : whole_apart, w.paired ? half : half_apart);
}

template <int WEIGHTS>
SD_INLINE void rows_of_bytes(const Window& w, const uint8_t* in, const int8_t* weights, int blocks, const Epilogue& e, int first,
                             int last, void* scratch) {
    constexpr auto whole16 = add_block<Sums16<i16x32, WEIGHTS>, Sums16<i16x32, WEIGHTS>>;
    constexpr auto half16 = add_block<Sums16<i16x16, WEIGHTS>, Sums16<i16x16, WEIGHTS>>;
    constexpr auto whole32 = add_block<Bytes<i16x32, WEIGHTS>, Sums32<i16x32>>;
    constexpr auto half32 = add_block<Bytes<i16x16, WEIGHTS>, Sums32<i16x16>>;
    add_tile(w, in, weights, blocks, e, first, last, scratch, w.fits16 ? whole16 : whole32, w.fits16 ? half16 : half32);
}

static void rows_s8(const Window& w, const uint8_t* in, const int8_t* weights, int blocks, const Epilogue& e, int first,
                    int last, void* scratch) {
    if (w.together >= 4) rows_of_bytes<4>(w, in, weights, blocks, e, first, last, scratch);
    else if (w.together >= 2) rows_of_bytes<2>(w, in, weights, blocks, e, first, last, scratch);
    else rows_of_bytes<1>(w, in, weights, blocks, e, first, last, scratch);
}

}  // namespace sd::SD_ISA
