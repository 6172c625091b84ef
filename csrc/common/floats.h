// Sixteen float32 lanes from and to memory of either type, and the exponential.
#pragma once

#include <initializer_list>

#include "vectors.h"

namespace sd::SD_ISA {

using u16x16 = Lanes<uint16_t, 16>;
using u16x8 = Lanes<uint16_t, 8>;
using u8x8 = Lanes<uint8_t, 8>;
using u32x16 = Lanes<uint32_t, 16>;

struct BFloat16 { uint16_t bits; };

SD_INLINE f32x16 widen(const float* p) { return load<f32x16>(p); }
SD_INLINE f32x16 widen(const BFloat16* p) {
#ifdef __AVX512F__
    return (f32x16)((u32x16)_mm512_cvtepu16_epi32(load<__m256i>(p)) << 16);
#else
    return as<f32x16>(convert<u32x16>(load<u16x16>(p)) << 16);
#endif
}
SD_INLINE void narrow(float* p, const f32x16& x) { store(p, x); }
/// To the nearest, ties to even, as PyTorch rounds; NaN stays NaN.
SD_INLINE void narrow(BFloat16* p, const f32x16& x) {
    const u32x16 bits = as<u32x16>(x), nan = as<u32x16>(x != x);
    const u32x16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16, chosen = (rounded & ~nan) | (nan & 0x7fc0);
#if defined(__AVX2__) && !defined(__AVX512F__)
    const __m256i words = _mm256_packus_epi32((__m256i)chosen.low, (__m256i)chosen.high);
    store(p, _mm256_permute4x64_epi64(words, 0xd8));
#else
    store(p, convert<u16x16>(chosen));
#endif
}

/// The first `count` lanes only.
template <class T> SD_INLINE f32x16 widen(const T* p, int count) {
    if (count == 16) return widen(p);
    T some[16] = {};
    std::memcpy(some, p, sizeof(T) * count);
    return widen(some);
}
template <class T> SD_INLINE void narrow(T* p, const f32x16& x, int count) {
    if (count == 16) return narrow(p, x);
    T some[16];
    narrow(some, x);
    std::memcpy(p, some, sizeof(T) * count);
}

/// One where the mask is set, zero elsewhere.
SD_INLINE void put_ones(float* p, const Mask& mask, int count) { narrow(p, choose(mask, splat(1.0f), splat(0.0f)), count); }
SD_INLINE void put_ones(BFloat16* p, const Mask& mask, int count) {
#ifdef __AVX512BW__
    _mm256_mask_storeu_epi16(p, __mmask16((1u << count) - 1), _mm256_maskz_set1_epi16(mask, 0x3f80));
#else
    narrow(p, choose(mask, splat(1.0f), splat(0.0f)), count);
#endif
}

/// NaN in x stays; so may the sign of a zero.
#ifdef __AVX512F__
SD_INLINE f32x16 at_most(const f32x16& x, const f32x16& top) { return (f32x16)_mm512_min_ps((__m512)top, (__m512)x); }
SD_INLINE f32x16 not_below(const f32x16& x, const f32x16& floor) { return (f32x16)_mm512_max_ps((__m512)floor, (__m512)x); }
#elif defined(__AVX2__)
SD_INLINE f32x16 at_most(const f32x16& x, const f32x16& top) {
    return as<f32x16>(both(_mm256_min_ps((__m256)top.low, (__m256)x.low), _mm256_min_ps((__m256)top.high, (__m256)x.high)));
}
SD_INLINE f32x16 not_below(const f32x16& x, const f32x16& floor) {
    return as<f32x16>(both(_mm256_max_ps((__m256)floor.low, (__m256)x.low), _mm256_max_ps((__m256)floor.high, (__m256)x.high)));
}
#else
SD_INLINE f32x16 at_most(const f32x16& x, const f32x16& top) { return choose(at_least(x, top), top, x); }
SD_INLINE f32x16 not_below(const f32x16& x, const f32x16& floor) { return choose(at_least(floor, x), floor, x); }
#endif

/// To the nearest whole number, ties to even; |x| < 2^22. No zero is negative.
SD_INLINE f32x16 nearest(const f32x16& x) { return (x + 12582912.0f) - 12582912.0f; }

/// a * b + c; where the instruction set has it, with one rounding instead of two.
SD_INLINE f32x16 multiply_add(const f32x16& a, const f32x16& b, const f32x16& c) {
#ifdef __AVX512F__
    return (f32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    return a * b + c;
#endif
}

/// 1 / x to 2 units in the last place, for 1 <= x <= 2^120.
SD_INLINE f32x16 reciprocal(const f32x16& x) {
#ifdef __AVX512F__
    const f32x16 guess = (f32x16)_mm512_rcp14_ps((__m512)x);
    return guess * (f32x16)_mm512_fnmadd_ps((__m512)x, (__m512)guess, _mm512_set1_ps(2.0f));
#else
    return 1.0f / x;
#endif
}

/// e^x to 2 units in the last place, for |x| <= 80; what lies beyond is taken as 80.
SD_INLINE f32x16 exponential(const f32x16& x) {
    const f32x16 bounded = at_most(not_below(x, splat(-80.0f)), splat(80.0f));
#ifdef __AVX512F__
    const f32x16 whole = (f32x16)_mm512_roundscale_ps((__m512)(bounded * 1.44269504089f), _MM_FROUND_TO_NEAREST_INT);
#else
    const f32x16 whole = nearest(bounded * 1.44269504089f);
#endif
    f32x16 r = multiply_add(whole, splat(-0.693145751953125f), bounded);
    r = multiply_add(whole, splat(-1.42860682030941723e-6f), r);
    f32x16 p = splat(1.9875691500e-4f);
    for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        p = multiply_add(p, r, splat(c));
    p = multiply_add(p, r * r, r) + 1.0f;
#ifdef __AVX512F__
    return (f32x16)_mm512_scalef_ps((__m512)p, (__m512)whole);
#else
    return p * as<f32x16>((convert<i32x16>(whole) + 127) << 23);
#endif
}

}  // namespace sd::SD_ISA
