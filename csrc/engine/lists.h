// Which rows of weights are added where: for each output position the inputs that fired, sorted by their code.
//
// The code of an input is the pattern of (up to four) time steps at which it fired; a count (of an integer neuron) is a
// code as well: its bits take the place of the steps. Rows of one code stand in one list, so that they are added once for
// all its steps. Codes that are rare stand in the lists of their bits. Inputs are sorted once for each place of the map;
// the windows that look at the place share that.
#pragma once

#include <utility>

#include "compress.h"
#include "kernels.h"
#include "vectors.h"

namespace sd::SD_ISA {

constexpr int GROUP = 4;      // time steps, or bits of a count, that share loads
constexpr int CODES = 16;     // patterns of a group; code 0 is silence
constexpr int TOGETHER = 4;   // rows that are added in one go: lists have a multiple of them
constexpr int MOST_UNSEEN = 64;   // of these, between two looks at a sum: 256 rows of bytes fit 16 bits

using u16x32 = Lanes<uint16_t, 32>;

/// Groups of time steps; of group g the first step, and how many there are.
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

/// Which lists are kept: one per code, named by it. member[list][code] is 0x80 where the list holds the code's rows.
struct Lists {
    uint8_t member[CODES][CODES] = {};
    uint16_t of_code[CODES] = {};   // the same turned round: a bit for each list that holds the code's rows
    uint16_t used = 0;

    void add(int list, int code) {
        member[list][code] = 0x80;
        of_code[code] |= uint16_t(1 << list);
        used |= uint16_t(1 << list);
    }
};

/// The rows of a tile's positions for one group of steps. Rows come in fours; behind some of them the sum so far is kept.
struct Rows {
    Lists lists;
    uint32_t* starts;   // [positions + 1]: the first four of each position
    uint16_t* kept;     // [positions][CODES]: how many sums are kept up to the end of each list
    uint8_t* keep;      // [fours]: whether the sum is kept behind it
    uint16_t* rows;     // [fours][TOGETHER]
};

/// Inputs of a range of places of the map, sorted by list.
struct Sorted {
    uint32_t* starts;    // [places][CODES + 1]
    uint16_t* channels;
};

/// Codes of `channels` inputs at one place, for `steps` time steps `map` apart; 64 zeros behind them.
SD_INLINE void read_codes(const uint8_t* in, size_t map, int channels, int steps, uint8_t* codes) {
    for (int c = 0; c < channels; c += 32) {   // a count is its own code
        u8x32 code = load<u8x32>(in + c);
        for (int t = 1; t < steps; ++t) code |= load<u8x32>(in + t * map + c) << t;
        store(codes + c, code);
    }
    std::memset(codes + channels, 0, 64);
}

/// A code has a list of its own where that saves more than a list costs; else its rows stand in the lists of its bits.
/// counts: how often each code was seen at `places` places.
SD_INLINE Lists choose_lists(const uint32_t* counts, int places, int highest, int taps, int channels, int blocks) {
    // in additions of a row to a block: what fills up the last four, a difference of sums, and a search through all codes
    const float cost = 5 + float(channels) / 24 / float(blocks);
    Lists lists;
    for (int code = 1; code <= highest; ++code) {
        const int bits = __builtin_popcount(unsigned(code));
        const float saved = float(counts[code]) * float(bits - 1) * float(taps) / float(places);
        if (bits == 1 || saved > cost) {
            lists.add(code, code);
            continue;
        }
        for (int bit = 1; bit < CODES; bit *= 2)
            if (code & bit) lists.add(bit, code);
    }
    return lists;
}

/// The range of places of the map that holds those at which the windows of positions first..last-1 look.
SD_INLINE std::pair<int, int> places_seen(const Window& w, int first, int last) {
    if (w.is_pointwise()) return {first, last};
    int low = w.y.size, high = -1;
    for (int oy = first / w.x.out; oy <= (last - 1) / w.x.out; ++oy)
        for (int ky = 0; ky < w.y.kernel; ++ky) {
            const int y = w.y.place(w.y.start(oy), ky);
            if (y < 0) continue;
            low = y < low ? y : low, high = y > high ? y : high;
        }
    return {low * w.x.size, high < low ? low * w.x.size : (high + 1) * w.x.size};
}

SD_INLINE Lists lists_of(const Window& w, const uint8_t* in, int steps, int blocks, int first_place, int last_place,
                         uint8_t* codes) {
    uint32_t counts[CODES] = {};
    const int places = last_place - first_place, sample = places < 8 ? places : 8;
    for (int i = 0; i < sample; ++i) {
        const size_t place = first_place + size_t(places) * i / sample;
        read_codes(in + place * w.stride_in, w.map(), w.stride_in, steps, codes);
        for (int c = 0; c < w.stride_in; ++c) ++counts[codes[c] & (CODES - 1)];
    }
    const int highest = w.levels > 1 ? w.levels : (1 << steps) - 1;
    return choose_lists(counts, sample > 0 ? sample : 1, highest, w.y.kernel * w.x.kernel, w.stride_in, blocks);
}

/// Channels of one place, list by list, appended to `out`; start: [CODES + 1] places in `channels`.
#if defined(__AVX512VBMI2__)   // a search per list costs less there than moving one channel after the other
SD_INLINE uint16_t* sort_place(const uint8_t* codes, int count, const Lists& lists, uint16_t*, uint16_t* channels,
                               uint16_t* out, uint32_t* start) {
    for (int list = 0; list < CODES; ++list) {
        *start++ = uint32_t(out - channels);
        if (lists.used >> list & 1) out = compress(codes, count, lists.member[list], out);
    }
    *start = uint32_t(out - channels);
    return out;
}
#else
alignas(16) inline constexpr uint8_t ANY_CODE[CODES] = {0,    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                                        0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};

/// fired: room for the channels of a place and 64 more.
SD_INLINE uint16_t* sort_place(const uint8_t* codes, int count, const Lists& lists, uint16_t* fired, uint16_t* channels,
                               uint16_t* out, uint32_t* start) {
    const int found = int(compress(codes, count, ANY_CODE, fired) - fired);
    uint32_t seen[CODES] = {}, sizes[CODES] = {}, next[CODES];
    for (int i = 0; i < found; ++i) ++seen[codes[fired[i]]];
    for (int code = 1; code < CODES; ++code)
        for (unsigned in = lists.of_code[code]; in; in &= in - 1) sizes[__builtin_ctz(in)] += seen[code];
    uint32_t place = uint32_t(out - channels);
    for (int list = 0; list < CODES; ++list) start[list] = next[list] = place, place += sizes[list];
    start[CODES] = place;
    for (int i = 0; i < found; ++i)
        for (unsigned in = lists.of_code[codes[fired[i]]]; in; in &= in - 1)
            channels[next[__builtin_ctz(in)]++] = fired[i];
    return channels + place;
}
#endif

SD_INLINE void sort_places(const Window& w, const uint8_t* in, int steps, const Lists& lists, int first_place, int last_place,
                           const Sorted& sorted, uint8_t* codes, uint16_t* fired) {
    uint16_t* out = sorted.channels;
    uint32_t* start = sorted.starts;
    for (int place = first_place; place < last_place; ++place, start += CODES + 1) {
        read_codes(in + size_t(place) * w.stride_in, w.map(), w.stride_in, steps, codes);
        out = sort_place(codes, w.stride_in, lists, fired, sorted.channels, out, start);
    }
}

/// A place at which a window looks, and its first row of weights.
struct Tap {
    uint32_t place;
    uint16_t row;
};

SD_INLINE int taps_of(const Window& w, int position, int first_place, Tap* taps) {
    const int y0 = w.start_y(position), x0 = w.start_x(position);
    int count = 0;
    for (int ky = 0; ky < w.y.kernel; ++ky)
        for (int kx = 0; kx < w.x.kernel; ++kx) {
            const int y = w.y.place(y0, ky), x = w.x.place(x0, kx);
            if (y < 0 || x < 0) continue;
            taps[count++] = {uint32_t(y * w.x.size + x - first_place), uint16_t((ky * w.x.kernel + kx) * w.stride_in)};
        }
    return count;
}

/// Appends the rows of one list of one position; may write 64 entries too many.
SD_INLINE uint16_t* append(const Sorted& sorted, const Tap* taps, int count, int list, uint16_t* out) {
    for (int i = 0; i < count; ++i) {
        const uint32_t* start = sorted.starts + size_t(taps[i].place) * (CODES + 1) + list;
        const uint16_t* from = sorted.channels + start[0];
        const int n = int(start[1] - start[0]);
        for (int j = 0; j < n; j += 32) store(out + j, load<u16x32>(from + j) + taps[i].row);
        out += n;
    }
    return out;
}

/// Fills up with rows of zeros, and marks where sums are kept: at the end of a list, and before 16 bits could overflow.
SD_INLINE uint16_t* end_list(const Rows& rows, uint16_t* begin, uint16_t* out, uint16_t zeros, uint16_t& kept) {
    while ((out - begin) % TOGETHER) *out++ = zeros;
    const size_t first = size_t(begin - rows.rows) / TOGETHER, fours = size_t(out - begin) / TOGETHER;
    if (!fours) return out;
    std::memset(rows.keep + first, 0, fours);
    for (size_t i = MOST_UNSEEN; i < fours; i += MOST_UNSEEN) rows.keep[first + i - 1] = 1, ++kept;
    rows.keep[first + fours - 1] = 1, ++kept;
    return out;
}

/// The rows of positions first..last-1 for the time steps from `in` on.
SD_INLINE void list_rows(const Window& w, const uint8_t* in, int steps, int blocks, int first, int last, Rows& rows, Cut& cut) {
    const auto [low, high] = places_seen(w, first, last);
    Cut temporary = cut;   // what is only needed in here lies where the rows of the next group will
    rows.starts = cut.take<uint32_t>(size_t(last - first) + 1);
    rows.kept = cut.take<uint16_t>(size_t(last - first) * CODES);
    const size_t most = size_t(last - first) * most_rows(w) + 64;
    rows.keep = cut.take<uint8_t>(most / TOGETHER + 64);
    rows.rows = cut.take<uint16_t>(0);
    temporary.next = cut.next + sizeof(uint16_t) * most;
    uint8_t* codes = temporary.take<uint8_t>(size_t(w.stride_in) + 128);
    uint16_t* fired = temporary.take<uint16_t>(size_t(w.stride_in) + 64);
    Tap* taps = temporary.take<Tap>(size_t(w.y.kernel) * w.x.kernel);
    const Sorted sorted{temporary.take<uint32_t>(size_t(high - low) * (CODES + 1)), temporary.take<uint16_t>(0)};
    rows.lists = lists_of(w, in, steps, blocks, low, high, codes);
    sort_places(w, in, steps, rows.lists, low, high, sorted, codes, fired);
    uint16_t* out = rows.rows;
    for (int p = first; p < last; ++p) {
        rows.starts[p - first] = uint32_t(out - rows.rows) / TOGETHER;
        const int count = taps_of(w, p, low, taps);
        uint16_t kept = 0;
        for (int list = 0; list < CODES; ++list) {
            if (rows.lists.used >> list & 1) {
                uint16_t* begin = out;
                out = end_list(rows, begin, append(sorted, taps, count, list, out), uint16_t(w.rows()), kept);
            }
            rows.kept[size_t(p - first) * CODES + list] = kept;
        }
    }
    rows.starts[last - first] = uint32_t(out - rows.rows) / TOGETHER;
    cut.take<uint16_t>(size_t(out - rows.rows) + 64);
}

}  // namespace sd::SD_ISA
