// What all operations share: checks, splitting positions over threads, reading a position.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "engine.h"

namespace sd {

inline void expect_same(bool same, const char* what) {
    if (!same) throw std::invalid_argument(std::string("engine: ") + what);
}

/// Positions per part: every thread gets as many parts as the others, none larger than `largest`.
inline int tile_size(int positions, int threads, int largest) {
    const int rounds = (positions + threads * largest - 1) / (threads * largest);
    return (positions + threads * rounds - 1) / (threads * rounds);
}

/// part(first, last, thread) over [0, count).
template <class Part> void each_tile(Engine& engine, int count, int tile, Part part) {
    engine.each((count + tile - 1) / tile, [&](int i, int thread) {
        part(i * tile, std::min(count, (i + 1) * tile), thread);
    });
}

/// Where a position of a map begins.
inline size_t place(const Slot& slot, int t, int y, int x) {
    return ((size_t(t) * slot.height + y) * slot.width + x) * slot.stride;
}

/// The channels of a position as real values: in the map itself, or counts times their unit in `row`.
inline const float* read(Engine& engine, int map, const Slot& slot, size_t position, float* row) {
    if (slot.kind == Kind::Real) return engine.at<const float>(map) + position;
    const uint8_t* counts = engine.at<const uint8_t>(map) + position;
    for (int c = 0; c < slot.channels; ++c) row[c] = float(counts[c]) * slot.unit;
    return row;
}

/// The same of counts.
inline const uint8_t* read(Engine& engine, int map, const Slot&, size_t position, uint8_t*) {
    return engine.at<const uint8_t>(map) + position;
}

}  // namespace sd
