// Vectors of 64 bytes in the compiler's own notation: one source for every instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace sd::SD_ISA {

using i16x32 [[gnu::vector_size(64), gnu::may_alias]] = int16_t;
using i32x16 [[gnu::vector_size(64), gnu::may_alias]] = int32_t;
using f32x16 [[gnu::vector_size(64), gnu::may_alias]] = float;
using u8x16 [[gnu::vector_size(16), gnu::may_alias]] = uint8_t;
using u8x32 [[gnu::vector_size(32), gnu::may_alias]] = uint8_t;

#define SD_INLINE [[gnu::always_inline]] static inline

template <class V> SD_INLINE V load(const void* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class V> SD_INLINE void store(void* p, const V& v) { std::memcpy(p, &v, sizeof v); }

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
#else
using Mask = i32x16;
SD_INLINE Mask at_least(const f32x16& a, const f32x16& b) { return a >= b; }
SD_INLINE f32x16 choose(const Mask& mask, const f32x16& yes, const f32x16& no) {
    return (f32x16)((mask & (i32x16)yes) | (~mask & (i32x16)no));
}
SD_INLINE u8x16 ones(const Mask& mask) { return __builtin_convertvector(mask & 1, u8x16); }
SD_INLINE Mask equal(const u8x16& bytes, uint8_t value) { return __builtin_convertvector(bytes, i32x16) == value; }
SD_INLINE Mask same_bits(const f32x16& a, const f32x16& b) { return (i32x16)a == (i32x16)b; }
constexpr i32x16 LANE_BITS = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
SD_INLINE uint32_t bits_of(const Mask& mask) {
    const i32x16 set = mask & LANE_BITS;
    int32_t bits = 0;
    for (int i = 0; i < 16; ++i) bits |= set[i];
    return uint32_t(bits);
}
SD_INLINE Mask mask_of(uint32_t bits) { return (splat(int32_t(bits)) & LANE_BITS) != 0; }
#endif

/// table[codes], for codes of 0 to 15.
SD_INLINE f32x16 look_up(const f32x16& table, const i32x16& codes) {
#ifdef __AVX512F__
    return (f32x16)_mm512_permutexvar_ps((__m512i)codes, (__m512)table);
#else
    f32x16 found;
    for (int i = 0; i < 16; ++i) found[i] = table[codes[i] & 15];
    return found;
#endif
}

/// Even and odd 16-bit lanes added to two vectors of 32-bit sums.
SD_INLINE void widen_add(const i16x32& narrow, i32x16& even, i32x16& odd) {
#ifdef __AVX512VNNI__
    even = (i32x16)_mm512_dpwssd_epi32((__m512i)even, (__m512i)narrow, _mm512_set1_epi32(1));
    odd = (i32x16)_mm512_dpwssd_epi32((__m512i)odd, (__m512i)narrow, _mm512_set1_epi32(1 << 16));
#else
    const i32x16 both = (i32x16)narrow;
    even += (both << 16) >> 16;
    odd += both >> 16;
#endif
}

/// sum + a.low * b.low + a.high * b.high per 32-bit lane of two 16-bit halves.
SD_INLINE i32x16 pair_dot(const i32x16& sum, const i32x16& a, const i32x16& b) {
#if defined(__AVX512VNNI__)
    return (i32x16)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    i32x16 out;
    const __m256i *x = (const __m256i*)&a, *y = (const __m256i*)&b, *s = (const __m256i*)&sum;
    for (int i = 0; i < 2; ++i)
        ((__m256i*)&out)[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(x[i], y[i]));
    return out;
#else
    return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

}  // namespace sd::SD_ISA
