// Vectors of 64 bytes: one source for every instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "lanes.h"

namespace sd::SD_ISA {

using i16x32 = Lanes<int16_t, 32>;
using i16x16 = Lanes<int16_t, 16>;
using i32x16 = Lanes<int32_t, 16>;
using f32x16 = Lanes<float, 16>;
using u8x16 = Lanes<uint8_t, 16>;
using u8x32 = Lanes<uint8_t, 32>;

SD_INLINE f32x16 splat(float x) { return f32x16{} + x; }
SD_INLINE i32x16 splat(int32_t x) { return i32x16{} + x; }

/// Comparisons of 16 lanes, and what they select.
#ifdef __AVX512BW__
using Mask = __mmask16;
SD_INLINE Mask at_least(const f32x16& a, const f32x16& b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
SD_INLINE f32x16 choose(Mask mask, const f32x16& yes, const f32x16& no) {
    return (f32x16)_mm512_mask_blend_ps(mask, (__m512)no, (__m512)yes);
}
SD_INLINE u8x16 ones(Mask mask) { return (u8x16)_mm_maskz_set1_epi8(mask, 1); }
SD_INLINE Mask equal(const u8x16& bytes, uint8_t value) { return _mm_cmpeq_epi8_mask((__m128i)bytes, _mm_set1_epi8(char(value))); }
SD_INLINE Mask same_bits(const f32x16& a, const f32x16& b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
SD_INLINE uint32_t bits_of(Mask mask) { return mask; }
SD_INLINE Mask mask_of(uint32_t bits) { return Mask(bits); }
SD_INLINE u8x16 bytes_of(const i32x16& x) { return (u8x16)_mm512_cvtepi32_epi8((__m512i)x); }
#else
using Mask = i32x16;
SD_INLINE Mask at_least(const f32x16& a, const f32x16& b) { return a >= b; }

/// For a mask of all bits or none in each lane.
template <class M, class V> SD_INLINE V choose(const M& mask, const V& yes, const V& no) {
    if constexpr (IS_HALVES<V>) {
        return {choose(mask.low, yes.low, no.low), choose(mask.high, yes.high, no.high)};
    } else {
#ifdef __AVX2__
        if constexpr (sizeof(V) == 32)
            return (V)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
#endif
        return (V)((mask & (M)yes) | (~mask & (M)no));
    }
}

/// The lowest byte of each lane.
SD_INLINE u8x16 bytes_of(const i32x16& x) {
#ifdef __AVX2__
    const __m256i low = _mm256_and_si256((__m256i)x.low, _mm256_set1_epi32(255));
    const __m256i words = _mm256_packus_epi32(low, _mm256_and_si256((__m256i)x.high, _mm256_set1_epi32(255)));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    return (u8x16)_mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
#else
    return convert<u8x16>(x);
#endif
}
SD_INLINE u8x16 ones(const Mask& mask) { return bytes_of(mask & 1); }
SD_INLINE Mask equal(const u8x16& bytes, uint8_t value) { return convert<i32x16>(bytes) == int32_t(value); }
SD_INLINE Mask same_bits(const f32x16& a, const f32x16& b) { return as<i32x16>(a) == as<i32x16>(b); }

template <class M> SD_INLINE uint32_t bits_of(const M& mask) {
    if constexpr (IS_HALVES<M>) {
        return bits_of(mask.low) | bits_of(mask.high) << LENGTH<decltype(M::low)>;
    } else {
#if defined(__AVX2__)
        return uint32_t(_mm256_movemask_ps((__m256)mask));
#else
        uint32_t bits = 0;
        for (int i = 0; i < LENGTH<M>; ++i) bits |= uint32_t(mask[i] & 1) << i;
        return bits;
#endif
    }
}
SD_INLINE Mask mask_of(uint32_t bits) {
    static constexpr int32_t LANE_BITS[16] = {1,   2,   4,    8,    16,   32,   64,    128,
                                              256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    return (splat(int32_t(bits)) & load<i32x16>(LANE_BITS)) != 0;
}
#endif

/// table[codes], for codes of 0 to 15.
SD_INLINE f32x16 look_up(const f32x16& table, const i32x16& codes) {
#ifdef __AVX512F__
    return (f32x16)_mm512_permutexvar_ps((__m512i)codes, (__m512)table);
#elif defined(__AVX2__)
    const auto half = [&](const __m256i& places) __attribute__((always_inline)) {   // the third bit says which half
        return _mm256_blendv_ps(_mm256_permutevar8x32_ps((__m256)table.low, places),
                                _mm256_permutevar8x32_ps((__m256)table.high, places),
                                (__m256)_mm256_slli_epi32(places, 28));
    };
    return as<f32x16>(both(half((__m256i)codes.low), half((__m256i)codes.high)));
#else
    float from[16], found[16];
    int32_t places[16];
    store(from, table), store(places, codes);
    for (int i = 0; i < 16; ++i) found[i] = from[places[i] & 15];
    return load<f32x16>(found);
#endif
}

#if defined(__ARM_FEATURE_DOTPROD)
template <class V> SD_INLINE V quad_dot_halves(const V& sum, const V& a, const V& b) {
    if constexpr (IS_HALVES<V>) return {quad_dot_halves(sum.low, a.low, b.low), quad_dot_halves(sum.high, a.high, b.high)};
    else return (V)vdotq_s32((int32x4_t)sum, (int8x16_t)a, (int8x16_t)b);
}
#endif

/// Even and odd 16-bit lanes added to two vectors of 32-bit sums.
SD_INLINE void widen_add(const i16x32& narrow, i32x16& even, i32x16& odd) {
#ifdef __AVX512VNNI__
    even = (i32x16)_mm512_dpwssd_epi32((__m512i)even, (__m512i)narrow, _mm512_set1_epi32(1));
    odd = (i32x16)_mm512_dpwssd_epi32((__m512i)odd, (__m512i)narrow, _mm512_set1_epi32(1 << 16));
#else
    const i32x16 lanes = as<i32x16>(narrow);
    even += (lanes << 16) >> 16;
    odd += lanes >> 16;
#endif
}

/// Of 256 * second + first, with both in -128..127 and the whole in 16 bits, the second.
template <class V> SD_INLINE V high_bytes(const V& x) {
    if constexpr (IS_HALVES<V>) return {high_bytes(x.low), high_bytes(x.high)};
#ifdef __AVX512BW__
    else if constexpr (sizeof(V) == 64) return (V)_mm512_mulhrs_epi16((__m512i)x, _mm512_set1_epi16(128));
#endif
#ifdef __AVX2__
    else if constexpr (sizeof(V) == 32) return (V)_mm256_mulhrs_epi16((__m256i)x, _mm256_set1_epi16(128));
#endif
#ifdef __ARM_NEON
    else if constexpr (sizeof(V) == 16) return (V)vrshrq_n_s16((int16x8_t)x, 8);
#endif
    else return (x + 128) >> 8;
}

SD_INLINE i16x32 widen(const uint8_t* bytes) { return convert<i16x32>(load<u8x32>(bytes)); }

/// Thirty-two 16-bit lanes added to two vectors of 32-bit sums, the first half and the second.
SD_INLINE void add_halves(const i16x32& narrow, i32x16& low, i32x16& high) {
    low += convert<i32x16>(low_half(narrow));
    high += convert<i32x16>(high_half(narrow));
}

/// sum + a.low * b.low + a.high * b.high per 32-bit lane of two 16-bit halves.
SD_INLINE i32x16 pair_dot(const i32x16& sum, const i32x16& a, const i32x16& b) {
#if defined(__AVX512VNNI__)
    return (i32x16)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__)
    return sum + (i32x16)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    using H = decltype(a.low);
    return sum + both((H)_mm256_madd_epi16((__m256i)a.low, (__m256i)b.low), (H)_mm256_madd_epi16((__m256i)a.high, (__m256i)b.high));
#else
    return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

// Four products of bytes in one go: SD_QUAD_DOT is the largest factor without a sign.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define SD_QUAD_DOT 255
#elif defined(__ARM_FEATURE_DOTPROD)
#define SD_QUAD_DOT 127
#elif defined(__AVX2__)
#define SD_PAIRS_OF_BYTES
#endif

/// sum + the four products of bytes without a sign in a, and with one in b, per 32-bit lane.
SD_INLINE i32x16 quad_dot(const i32x16& sum, const i32x16& a, const i32x16& b) {
#if defined(__AVX512VNNI__)
    return (i32x16)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVXVNNI__)
    using H = decltype(a.low);
    return both((H)_mm256_dpbusd_avx_epi32((__m256i)sum.low, (__m256i)a.low, (__m256i)b.low),
                (H)_mm256_dpbusd_avx_epi32((__m256i)sum.high, (__m256i)a.high, (__m256i)b.high));
#elif defined(__ARM_FEATURE_DOTPROD)
    return quad_dot_halves(sum, a, b);
#else
    i32x16 total = sum;
    for (int shift = 0; shift < 32; shift += 8) total += ((a >> shift) & 255) * ((b << (24 - shift)) >> 24);
    return total;
#endif
}

#if defined(SD_PAIRS_OF_BYTES)
/// The same, two products at a time into lanes of 16 bits, which must hold them.
SD_INLINE i32x16 add_pairs_of_bytes(const i32x16& sum, const i32x16& a, const i32x16& b) {
#if defined(__AVX512BW__)
    return (i32x16)_mm512_add_epi16((__m512i)sum, _mm512_maddubs_epi16((__m512i)a, (__m512i)b));
#else
    using H = decltype(a.low);
    const auto half = [](const H& s, const H& x, const H& y) SD_INLINED {
        return (H)_mm256_add_epi16((__m256i)s, _mm256_maddubs_epi16((__m256i)x, (__m256i)y));
    };
    return both(half(sum.low, a.low, b.low), half(sum.high, a.high, b.high));
#endif
}
#endif

}  // namespace sd::SD_ISA
