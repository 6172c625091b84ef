// Compiled once per instruction set, with SD_ISA set to the name of its namespace.
#include "kernels.h"

#include "dense_bytes.h"
#include "depthwise.h"
#include "grouped.h"
#include "pooling.h"
#include "rows.h"

namespace sd::SD_ISA {

static void dense_u8(const Window& w, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue& e,
                     int first, int last, void* scratch) {
    dense<Integers>(w, in, weights, blocks, e, first, last, scratch);
}

static void dense_f32(const Window& w, const float* in, const float* weights, int blocks, const Epilogue& e, int first,
                      int last, void* scratch) {
    dense<Reals>(w, in, weights, blocks, e, first, last, scratch);
}

static void fire(const float* in, int in_steps, const Epilogue& e, int first, int last) {
    const size_t step = size_t(e.positions) * e.stride;
    for (int p = first; p < last; ++p)
        for (int c = 0; c < e.stride; c += 16) {
            const size_t place = size_t(p) * e.stride + c;
            finish_columns(e, place, in_steps, [&](int t) { return load<f32x16>(in + t * step + place); });
        }
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

/// Counts of two positions as the two halves of 32-bit numbers: [pairs of positions][width], zero where there are none.
static void pair_positions(const uint8_t* in, int positions, int stride, int channels, int width, int32_t* out) {
    for (int p = 0; p < positions; p += 2, in += 2 * stride, out += width) {
        const uint8_t* next = p + 1 < positions ? in + stride : nullptr;
        for (int c = 0; c < width; ++c) out[c] = c < channels ? in[c] | (next ? next[c] << 16 : 0) : 0;
    }
}

/// Rows i..i + N - 1 of kv, sixteen columns from j on.
template <int N>
SD_INLINE void key_value_tile(const int32_t* k, const int32_t* v, int pairs, int dim_k, int width, int i, int j, int32_t* kv) {
    i32x16 sum[N] = {};
    for (int p = 0; p < pairs; ++p) {
        const i32x16 values = load<i32x16>(v + size_t(p) * width + j);
        for (int n = 0; n < N; ++n) sum[n] = pair_dot(sum[n], splat(k[size_t(p) * dim_k + i + n]), values);
    }
    for (int n = 0; n < N; ++n) store(kv + size_t(i + n) * width + j, sum[n]);
}

static void key_value(const uint8_t* k, const uint8_t* v, int positions, int stride_k, int stride_v, int dim_k,
                      int dim_v, int32_t* kv, void* scratch) {
    constexpr int N = 6;
    const int width = padded16(dim_v), pairs = (positions + 1) / 2;
    int32_t* values = static_cast<int32_t*>(scratch);
    int32_t* keys = values + size_t(pairs) * width;
    pair_positions(v, positions, stride_v, dim_v, width, values);
    pair_positions(k, positions, stride_k, dim_k, dim_k, keys);
    for (int j = 0; j < width; j += 16) {
        int i = 0;
        for (; i + N <= dim_k; i += N) key_value_tile<N>(keys, values, pairs, dim_k, width, i, j, kv);
        for (; i < dim_k; ++i) key_value_tile<1>(keys, values, pairs, dim_k, width, i, j, kv);
    }
}

static void query(const uint8_t* q, const int32_t* kv, int dim_k, int dim_v, int32_t* out, uint16_t* fired) {
    const int width = padded16(dim_v);
    int count = 0;
    for (int i = 0; i < dim_k; ++i) fired[count] = uint16_t(i), count += q[i] > 0;
    for (int j = 0; j < width; j += 16) {
        i32x16 sum = {};
        for (int n = 0; n < count; ++n) sum += load<i32x16>(kv + fired[n] * width + j) * int(q[fired[n]]);
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
    static const Kernels kernels{
        SD_STRING(SD_ISA), rows,      rows_s8,    dense_u8,    DENSE_LEVELS, DENSE_PRODUCT, dense_s8,
        dense_f32,         depthwise, DEPTHWISE_S8, grouped_u8, grouped_f32, fire,         max_u8,        max_f32,
        mean_u8,           mean_f32,  masked_sum, masked,      key_value,    query,         finish};
    return kernels;
}

}  // namespace sd::SD_ISA
