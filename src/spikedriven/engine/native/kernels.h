// What the engine computes with: plain structs, and a table of functions that exists once per instruction set.
//
// All maps are channels-last: [steps][positions][stride], where stride is the number of channels rounded up to a
// multiple of 32. Arithmetic is on integers, or on float32 one operation at a time, so that every instruction set
// gives the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sd {

/// Columns that one call of an accumulator computes.
constexpr int BLOCK = 64;

enum class NeuronKind { None, Lif, Integer };

struct Neuron {
    NeuronKind kind = NeuronKind::None;
    float leak = 2;            // tau, by which to divide; or a factor
    float threshold = 1, rest = 0;
    bool multiply = false;     // leak is a factor
    bool hard_reset = true, decay_input = true;
    float levels = 1;          // integer neurons: counts 0..levels
    bool half_up = false;      // integer neurons: 0.5 -> 1 instead of 0
};

/// How sums become real values and spikes. Maps are [steps][positions][stride].
struct Epilogue {
    const float* scale = nullptr;      // [stride]
    const float* bias = nullptr;
    const float* residual = nullptr;   // or null, as the two below
    float* real = nullptr;
    uint8_t* spikes = nullptr;
    Neuron neuron;
    int sum_steps = 1, residual_steps = 1, real_steps = 1, spike_steps = 1;
    int positions = 0, stride = 0;
};

/// A convolution or pool as the kernels see it.
struct Window {
    int steps = 1, height = 0, width = 0, stride_in = 0;
    int out_height = 0, out_width = 0;
    int kernel_h = 1, kernel_w = 1, step = 1, pad = 0;
    int levels = 1;        // largest count in the input
    bool paired = false;   // 16-bit weights: the sum of any two rows fits 16 bits
    int positions() const { return out_height * out_width; }
    int rows() const { return kernel_h * kernel_w * stride_in; }
    size_t map() const { return size_t(height) * width * stride_in; }
};

struct Kernels {
    const char* name;   // of the instruction set: "portable", "avx2" or "avx512"
    /// Rows of weights that fired are added. weights: [blocks][rows + 1][BLOCK], the last row zero, columns of a block
    /// in `column_order`. Output positions first..last-1, as in all that follow.
    void (*rows)(const Window&, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue&, int first,
                 int last, void* scratch);
    /// The same of wide weights, columns in order.
    void (*rows_wide)(const Window&, const uint8_t* in, const int32_t* weights, int blocks, const Epilogue&, int first,
                      int last, void* scratch);
    /// Every product is computed. weights: [blocks][pairs of rows][BLOCK][2].
    void (*dense_u8)(const Window&, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue&, int first,
                     int last, void* scratch);
    /// The same of wide weights, as `halves`: [blocks][rows][BLOCK].
    void (*dense_wide)(const Window&, const uint8_t* in, const int32_t* weights, int blocks, const Epilogue&, int first,
                       int last, void* scratch);
    /// Real inputs: products and sums in float32, in the order of the rows. weights: [blocks][rows][BLOCK].
    void (*dense_f32)(const Window&, const float* in, const float* weights, int blocks, const Epilogue&, int first,
                      int last, void* scratch);
    /// One filter per channel. weights: [pairs of taps][stride][2], a pair within one row of the window.
    void (*depthwise)(const Window&, const uint8_t* in, const int16_t* weights, const Epilogue&, int first, int last,
                      void* scratch);
    /// The same of wide weights, as `halves`: [taps][stride].
    void (*depthwise_wide)(const Window&, const uint8_t* in, const int32_t* weights, const Epilogue&, int first,
                           int last, void* scratch);
    /// Real values straight to the neuron.
    void (*fire)(const float* in, int in_steps, const Epilogue&, int first, int last);
    /// Largest value in each window; first..last-1 count output rows over all time steps.
    void (*max_u8)(const Window&, const uint8_t* in, uint8_t* out, int first, int last);
    void (*max_f32)(const Window&, const float* in, float* out, int first, int last);
    /// sums[steps][stride] of k * v over positions, for columns first..first + 31.
    void (*masked_sum)(const uint8_t* k, const uint8_t* v, int steps, int positions, int stride, int first,
                       int32_t* sums);
    /// out = q * mask at each position. mask: [stride].
    void (*masked)(const uint8_t* q, const uint8_t* mask, int stride, uint8_t* out, int first, int last);
    /// kv[dim_k][pad16(dim_v)] = k^T v of one head. k, v point at the head's first channel.
    void (*key_value)(const uint8_t* k, const uint8_t* v, int positions, int stride_k, int stride_v, int dim_k,
                      int dim_v, int32_t* kv, void* scratch);
    /// out[dim_v] = q kv for one position and head.
    void (*query)(const uint8_t* q, const int32_t* kv, int dim_k, int dim_v, int32_t* out);
    /// Sums of one position through an epilogue: acc[sum_steps][blocks * BLOCK].
    void (*finish)(const Epilogue&, int position, int blocks, const int32_t* acc);
};

/// Where column c of a block lies in its row of weights, so that widening even and odd lanes yields columns in order.
inline int column_order(int c) { return (c & 32) + 2 * (c & 15) + ((c >> 4) & 1); }

/// Wide weights, up to WIDE_LIMIT, and how products of 16-bit halves make products of them: with weight = HALF * high + low,
/// count * weight = (HALF * count) * high + count * low, where HALF * 255 still fits 16 bits.
constexpr int HALF = 128, WIDE_LIMIT = HALF * 32767 + HALF / 2 - 1;
inline int32_t halves(int32_t weight) {
    const int32_t low = ((weight + HALF / 2) & (HALF - 1)) - HALF / 2, high = (weight - low) / HALF;
    return int32_t(uint32_t(high) << 16 | (uint32_t(low) & 0xffff));
}

inline int padded16(int n) { return (n + 15) & ~15; }

/// Groups of time steps that `rows` can take; more steps are refused when a program is loaded.
constexpr int ROW_GROUPS = 64;

/// Bytes of scratch that an accumulator needs for a tile of output positions.
inline size_t rows_scratch(const Window& w, int positions) {
    const size_t groups = w.levels > 1 ? w.steps : (w.steps + 3) / 4;
    const size_t rows = size_t(w.rows()) * 4 + 16;   // an input stands in at most four lists, each is padded
    return w.rows() + 256 + 4 * size_t(w.steps) * BLOCK + 64
           + groups * (4 * (size_t(positions) * 16 + 1) + 2 * (positions * rows + 64) + 192);
}
inline size_t dense_scratch(const Window& w, int positions) {
    return size_t(positions) * w.steps * (4 * BLOCK + 4 * size_t(w.rows() + 1)) + 64;
}

// Each namespace is kernels.cpp compiled once more, with other flags; which of them exist is decided in CMakeLists.txt.
namespace portable { const Kernels& table(); }
namespace avx2 { const Kernels& table(); }
namespace avx512 { const Kernels& table(); }

}  // namespace sd
