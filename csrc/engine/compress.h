// Places of the bytes that a table names.
#pragma once

#include "vectors.h"

namespace sd::SD_ISA {

#if defined(__AVX2__) && !defined(__AVX512VBMI2__)
/// For each pattern of eight bits, the places of its ones.
struct OnesOfByte {
    uint8_t places[256][8];
    constexpr OnesOfByte() : places() {
        for (int pattern = 0; pattern < 256; ++pattern)
            for (int bit = 0, n = 0; bit < 8; ++bit)
                if (pattern >> bit & 1) places[pattern][n++] = uint8_t(bit);
    }
};
inline constexpr OnesOfByte ONES_OF_BYTE;
#endif

/// Places in [0, count) of which the byte, at most 15, has 0x80 in `table`, appended to out. There are 64 zeros behind the
/// last byte, and 0 is not in the table. May write 64 entries too many.
SD_INLINE uint16_t* compress(const uint8_t* bytes, int count, const uint8_t* table, uint16_t* out) {
#if defined(__AVX512VBMI2__)
    const __m512i iota = _mm512_set_epi8(
        63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36,
        35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7,
        6, 5, 4, 3, 2, 1, 0);
    const __m512i listed = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    for (int i = 0; i < count; i += 64) {
        const __mmask64 found = _mm512_movepi8_mask(_mm512_shuffle_epi8(listed, _mm512_loadu_si512(bytes + i)));
        const __m512i places = _mm512_maskz_compress_epi8(found, iota), offset = _mm512_set1_epi16(short(i));
        const int n = __builtin_popcountll(found);
        _mm512_storeu_si512(out, _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(places)), offset));
        if (n > 32)
            _mm512_storeu_si512(
                out + 32, _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(places, 1)), offset));
        out += n;
    }
#elif defined(__AVX2__)
    const __m256i listed = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    for (int i = 0; i < count; i += 32) {
        const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + i));
        uint32_t found = uint32_t(_mm256_movemask_epi8(_mm256_shuffle_epi8(listed, codes)));
        for (int first = i; found; first += 8, found >>= 8) {
            const __m128i places = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(ONES_OF_BYTE.places[found & 255]));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_add_epi16(_mm_cvtepu8_epi16(places), _mm_set1_epi16(short(first))));
            out += __builtin_popcount(found & 255);
        }
    }
#else
    for (int i = 0; i < count; i += 8) {
        uint64_t word;
        std::memcpy(&word, bytes + i, 8);
        if (!word) continue;
        for (int j = 0; j < 8; ++j) {
            *out = uint16_t(i + j);
            out += table[bytes[i + j]] >> 7;
        }
    }
#endif
    return out;
}

}  // namespace sd::SD_ISA
