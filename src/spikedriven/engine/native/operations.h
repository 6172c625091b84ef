// What all operations share: splitting positions over threads.
#pragma once

#include <algorithm>

#include "engine.h"

namespace sd {

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

}  // namespace sd
