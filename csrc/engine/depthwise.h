// One filter per channel, on counts: two taps at a time, of weights of 16 bits or of bytes.
#pragma once

#include "epilogue.h"

namespace sd::SD_ISA {

/// Lanes of a and b in turns: those of their first halves, or of their second ones.
template <bool SECOND, class V, int... I>
SD_INLINE V in_turns(const V& a, const V& b, std::integer_sequence<int, I...>) {
    constexpr int N = LENGTH<V>;
    return __builtin_shufflevector(a, b, (SECOND * N / 2 + I / 2 + I % 2 * N)...);
}
template <bool SECOND, class V> SD_INLINE V zip(const V& a, const V& b) {
    if constexpr (IS_HALVES<V>) {
        const auto &x = SECOND ? a.high : a.low, &y = SECOND ? b.high : b.low;
        return {zip<false>(x, y), zip<true>(x, y)};
    } else {
        return in_turns<SECOND>(a, b, std::make_integer_sequence<int, LENGTH<V>>());
    }
}

/// 32 channels of one position and time step: two taps of a row at a time.
SD_INLINE void filter(const Window& w, const uint8_t* in, const int16_t* weights, int y0, int x0, int32_t* acc) {
    i32x16 low = {}, high = {};
    const int pairs = (w.x.kernel + 1) / 2;
    auto counts = [&](int y, int x) {
        return x >= 0 && x < w.x.size ? widen(in + (size_t(y) * w.x.size + x) * w.stride_in) : i16x32{};
    };
    for (int ky = 0; ky < w.y.kernel; ++ky) {
        const int y = y0 + ky;
        if (y < 0 || y >= w.y.size) continue;
        for (int pair = 0; pair < pairs; ++pair) {
            const int kx = 2 * pair;
            const i16x32 a = counts(y, x0 + kx), b = kx + 1 < w.x.kernel ? counts(y, x0 + kx + 1) : i16x32{};
            const int16_t* taps = weights + size_t(ky * pairs + pair) * w.stride_in * 2;
            low = pair_dot(low, as<i32x16>(zip<false>(a, b)), load<i32x16>(taps));
            high = pair_dot(high, as<i32x16>(zip<true>(a, b)), load<i32x16>(taps + 32));
        }
    }
    store(acc, low);
    store(acc + 16, high);
}

static void depthwise(const Window& w, const uint8_t* in, const int16_t* weights, const Epilogue& e, int first, int last,
                      void* scratch) {
    int32_t* acc = static_cast<int32_t*>(scratch);
    const size_t step = w.map();
    for (int p = first; p < last; ++p) {
        const int y0 = w.start_y(p), x0 = w.start_x(p);
        for (int c = 0; c < w.stride_in; c += BLOCK) {
            for (int t = 0; t < w.steps; ++t)
                for (int half = c; half < c + BLOCK && half < w.stride_in; half += 32)
                    filter(w, in + t * step + half, weights + 2 * half, y0, x0, acc + t * BLOCK + half - c);
            finish_block(e, p, c / BLOCK, acc, BLOCK);
        }
    }
}

#ifdef __AVX2__

/// The same of bytes, where sums fit 16 bits. weights: [pairs of taps][channels / 32][2][16][2], sixteen channels as
/// `unpack` leaves them: 0..7 and 16..23, then the others.
SD_INLINE void filter_bytes(const Window& w, const uint8_t* in, const int8_t* weights, int y0, int x0, int16_t* acc) {
    __m256i low = _mm256_setzero_si256(), high = low;
    const int pairs = (w.x.kernel + 1) / 2;
    auto bytes = [](const void* p) SD_INLINED { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); };
    auto counts = [&](int y, int x) SD_INLINED {
        const bool inside = x >= 0 && x < w.x.size;
        return inside ? bytes(in + (size_t(y) * w.x.size + x) * w.stride_in) : _mm256_setzero_si256();
    };
    for (int ky = 0; ky < w.y.kernel; ++ky) {
        const int y = y0 + ky;
        if (y < 0 || y >= w.y.size) continue;
        for (int pair = 0; pair < pairs; ++pair) {
            const int kx = 2 * pair;
            const __m256i a = counts(y, x0 + kx), b = kx + 1 < w.x.kernel ? counts(y, x0 + kx + 1) : _mm256_setzero_si256();
            const int8_t* taps = weights + size_t(ky * pairs + pair) * w.stride_in * 2;
            low = _mm256_add_epi16(low, _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a, b), bytes(taps)));
            high = _mm256_add_epi16(high, _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a, b), bytes(taps + 32)));
        }
    }
    store(acc, _mm256_permute2x128_si256(low, high, 0x20));
    store(acc + 16, _mm256_permute2x128_si256(low, high, 0x31));
}

static void depthwise_s8(const Window& w, const uint8_t* in, const int8_t* weights, const Epilogue& e, int first, int last,
                         void* scratch) {
    int16_t* acc = static_cast<int16_t*>(scratch);
    for (int p = first; p < last; ++p)
        for (int c = 0; c < w.stride_in; c += BLOCK) {
            for (int t = 0; t < w.steps; ++t)
                for (int half = c; half < c + BLOCK && half < w.stride_in; half += 32)
                    filter_bytes(w, in + t * w.map() + half, weights + 2 * half, w.start_y(p), w.start_x(p),
                                 acc + t * BLOCK + half - c);
            finish_block(e, p, c / BLOCK, acc, BLOCK);
        }
}
constexpr auto DEPTHWISE_S8 = &depthwise_s8;

#else

constexpr decltype(Kernels::depthwise_s8) DEPTHWISE_S8 = nullptr;

#endif

}  // namespace sd::SD_ISA
