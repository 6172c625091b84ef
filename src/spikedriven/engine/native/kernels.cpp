// Compiled once per instruction set, with SD_ISA set to the name of its namespace.
#include "kernels.h"

#include "dense.h"
#include "rows.h"

namespace sd::SD_ISA {

static void dense_u8(const Window& w, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue& e,
                     int first, int last, void* scratch) {
    dense<Integers>(w, in, weights, blocks, e, first, last, scratch);
}

static void dense_wide(const Window& w, const uint8_t* in, const int32_t* weights, int blocks, const Epilogue& e,
                       int first, int last, void* scratch) {
    dense<WideIntegers>(w, in, weights, blocks, e, first, last, scratch);
}

static void dense_f32(const Window& w, const float* in, const float* weights, int blocks, const Epilogue& e, int first,
                      int last, void* scratch) {
    dense<Reals>(w, in, weights, blocks, e, first, last, scratch);
}

SD_INLINE void add_halves(const i16x32& narrow, i32x16& low, i32x16& high) {
    low += convert<i32x16>(low_half(narrow));
    high += convert<i32x16>(high_half(narrow));
}

SD_INLINE i16x32 widen(const uint8_t* bytes) { return convert<i16x32>(load<u8x32>(bytes)); }

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

/// 32 channels of one position and time step: two taps of a row at a time, or one tap of wide weights.
template <bool WIDE, class Weight>
SD_INLINE void filter(const Window& w, const uint8_t* in, const Weight* weights, int y0, int x0, int32_t* acc) {
    constexpr int TAPS = WIDE ? 1 : 2;
    i32x16 low = {}, high = {};
    const int groups = (w.kernel_w + TAPS - 1) / TAPS;
    auto counts = [&](int y, int x) {
        return x >= 0 && x < w.width ? widen(in + (size_t(y) * w.width + x) * w.stride_in) : i16x32{};
    };
    for (int ky = 0; ky < w.kernel_h; ++ky) {
        const int y = y0 + ky;
        if (y < 0 || y >= w.height) continue;
        for (int group = 0; group < groups; ++group) {
            const int kx = TAPS * group;
            const i16x32 a = counts(y, x0 + kx);
            const i16x32 b = WIDE ? a * HALF : kx + 1 < w.kernel_w ? counts(y, x0 + kx + 1) : i16x32{};
            const char* taps = reinterpret_cast<const char*>(weights) + size_t(ky * groups + group) * w.stride_in * 4;
            low = pair_dot(low, as<i32x16>(zip<false>(a, b)), load<i32x16>(taps));
            high = pair_dot(high, as<i32x16>(zip<true>(a, b)), load<i32x16>(taps + 64));
        }
    }
    store(acc, low);
    store(acc + 16, high);
}

/// Weight: int16_t, or int32_t for wide ones.
template <class Weight>
SD_INLINE void filter_tile(const Window& w, const uint8_t* in, const Weight* weights, const Epilogue& e, int first,
                           int last, void* scratch) {
    constexpr bool WIDE = sizeof(Weight) == 4;
    constexpr int PER_CHANNEL = WIDE ? 1 : 2;   // weights of a channel that lie together
    int32_t* acc = static_cast<int32_t*>(scratch);
    const size_t step = w.map();
    for (int p = first; p < last; ++p) {
        const int y0 = p / w.out_width * w.step - w.pad, x0 = p % w.out_width * w.step - w.pad;
        for (int c = 0; c < w.stride_in; c += BLOCK) {
            for (int t = 0; t < w.steps; ++t)
                for (int half = c; half < c + BLOCK && half < w.stride_in; half += 32)
                    filter<WIDE>(w, in + t * step + half, weights + PER_CHANNEL * half, y0, x0, acc + t * BLOCK + half - c);
            finish_block(e, p, c / BLOCK, acc, BLOCK);
        }
    }
}

static void depthwise(const Window& w, const uint8_t* in, const int16_t* weights, const Epilogue& e, int first, int last,
                      void* scratch) {
    filter_tile(w, in, weights, e, first, last, scratch);
}

static void depthwise_wide(const Window& w, const uint8_t* in, const int32_t* weights, const Epilogue& e, int first,
                           int last, void* scratch) {
    filter_tile(w, in, weights, e, first, last, scratch);
}

static void fire(const float* in, int in_steps, const Epilogue& e, int first, int last) {
    const size_t step = size_t(e.positions) * e.stride;
    for (int p = first; p < last; ++p)
        for (int c = 0; c < e.stride; c += 16) {
            const size_t place = size_t(p) * e.stride + c;
            finish_columns(e, place, in_steps, [&](int t) { return load<f32x16>(in + t * step + place); });
        }
}

template <class V> SD_INLINE V larger(const V& a, const V& b) {
    if constexpr (IS_HALVES<V>) return {larger(a.low, b.low), larger(a.high, b.high)};
    else return a > b ? a : b;
}

/// Output rows first..last-1, counted over all time steps.
template <class V, class T>
static void pool(const Window& w, const T* in, T* out, T lowest, int first, int last) {
    constexpr int LANES = sizeof(V) / sizeof(T);
    for (int row = first; row < last; ++row) {
        const int t = row / w.out_height, y0 = row % w.out_height * w.step - w.pad;
        const T* map = in + size_t(t) * w.height * w.width * w.stride_in;
        for (int ox = 0; ox < w.out_width; ++ox) {
            const int x0 = ox * w.step - w.pad;
            for (int c = 0; c < w.stride_in; c += LANES) {
                V best = V{} + lowest;
                for (int y = y0 < 0 ? 0 : y0; y < y0 + w.kernel_h && y < w.height; ++y)
                    for (int x = x0 < 0 ? 0 : x0; x < x0 + w.kernel_w && x < w.width; ++x)
                        best = larger(best, load<V>(map + (size_t(y) * w.width + x) * w.stride_in + c));
                store(out + (size_t(row) * w.out_width + ox) * w.stride_in + c, best);
            }
        }
    }
}

static void max_u8(const Window& w, const uint8_t* in, uint8_t* out, int first, int last) {
    pool<u8x32, uint8_t>(w, in, out, 0, first, last);
}

static void max_f32(const Window& w, const float* in, float* out, int first, int last) {
    pool<f32x16, float>(w, in, out, -__builtin_huge_valf(), first, last);
}

static void masked_sum(const uint8_t* k, const uint8_t* v, int steps, int positions, int stride, int c, int32_t* sums) {
    for (int t = 0; t < steps; ++t) {
        i32x16 low = {}, high = {};
        for (int p = 0; p < positions; ++p) {
            const size_t place = (size_t(t) * positions + p) * stride + c;
            add_halves(widen(k + place) * widen(v + place), low, high);
        }
        store(sums + size_t(t) * stride + c, low);
        store(sums + size_t(t) * stride + c + 16, high);
    }
}

static void masked(const uint8_t* q, const uint8_t* mask, int stride, uint8_t* out, int first, int last) {
    for (int p = first; p < last; ++p)
        for (int c = 0; c < stride; c += 32) {
            const u8x32 product = load<u8x32>(q + size_t(p) * stride + c) * load<u8x32>(mask + c);
            store(out + size_t(p) * stride + c, product);
        }
}

static void key_value(const uint8_t* k, const uint8_t* v, int positions, int stride_k, int stride_v, int dim_k,
                      int dim_v, int32_t* kv, void* scratch) {
    const int width = padded16(dim_v);
    std::memset(kv, 0, sizeof(int32_t) * size_t(dim_k) * width);
    int32_t* row = static_cast<int32_t*>(scratch);
    for (int p = 0; p < positions; ++p, k += stride_k, v += stride_v) {
        for (int j = 0; j < width; ++j) row[j] = j < dim_v ? v[j] : 0;
        for (int i = 0; i < dim_k; ++i) {
            if (!k[i]) continue;
            for (int j = 0; j < width; j += 16)
                store(kv + i * width + j, load<i32x16>(kv + i * width + j) + load<i32x16>(row + j) * int(k[i]));
        }
    }
}

static void query(const uint8_t* q, const int32_t* kv, int dim_k, int dim_v, int32_t* out) {
    const int width = padded16(dim_v);
    for (int j = 0; j < width; j += 16) {
        i32x16 sum = {};
        for (int i = 0; i < dim_k; ++i)
            if (q[i]) sum += load<i32x16>(kv + i * width + j) * int(q[i]);
        int32_t block[16];
        store(block, sum);
        std::memcpy(out + j, block, sizeof(int32_t) * (dim_v - j < 16 ? dim_v - j : 16));
    }
}

static void finish(const Epilogue& e, int position, int blocks, const int32_t* acc) {
    for (int b = 0; b < blocks; ++b) finish_block(e, position, b, acc + b * BLOCK, blocks * BLOCK);
}

#define SD_STRING_(x) #x
#define SD_STRING(x) SD_STRING_(x)

const Kernels& table() {
    static const Kernels kernels{SD_STRING(SD_ISA), rows,   rows_wide, dense_u8,   dense_wide, dense_f32, depthwise,
                                 depthwise_wide,    fire,   max_u8,    max_f32,    masked_sum, masked,    key_value,
                                 query,             finish};
    return kernels;
}

}  // namespace sd::SD_ISA
