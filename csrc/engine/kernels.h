// What the engine computes with: plain structs, and a table of functions that exists once per instruction set.
//
// All maps are channels-last: [steps][positions][stride], where stride is the number of channels rounded up to a
// multiple of 32. Arithmetic is on integers, or on float32 one operation at a time, so that every instruction set
// gives the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "neuron.h"

namespace sd {

/// Columns that one call of an accumulator computes.
constexpr int BLOCK = 64;

/// How sums become real values and spikes. Maps are [steps][positions][stride].
struct Epilogue {
    const float* scale = nullptr;      // [stride]
    const float* bias = nullptr;
    const float* residual = nullptr;   // or null, as the two below
    float* real = nullptr;
    uint8_t* spikes = nullptr;
    const float* before = nullptr;     // membrane when the first step begins; null: at rest
    float* after = nullptr;            // where the membrane after the last step goes, or null
    Neuron neuron;
    int sum_steps = 1, residual_steps = 1, real_steps = 1, spike_steps = 1;
    int positions = 0, stride = 0;
};

/// How windows lie along one axis: window i begins at i * stride - pad, its taps are `dilation` apart, and the input
/// lies `spread` apart with zeros between.
struct Axis {
    int size = 0, out = 0, kernel = 1;
    int stride = 1, pad = 0, dilation = 1, spread = 1;
    bool plain() const { return dilation == 1 && spread == 1; }
    int start(int window) const { return window * stride - pad; }
    /// Place in the input of tap k of the window that begins at `start`; -1 where there are zeros.
    int place(int start, int k) const {
        const int at = start + k * dilation;
        if (spread == 1) return at < size ? at : -1;
        return at >= 0 && at % spread == 0 && at / spread < size ? at / spread : -1;
    }
};

/// A convolution as the kernels see it.
struct Window {
    Axis y, x;
    int steps = 1, stride_in = 0;
    int taken = 0;         // channels of a place that have rows of weights: all that lie there, or all but the padding
    int levels = 1;        // largest count in the input
    bool paired = false;   // 16-bit weights: the sum of any two rows fits 16 bits
    bool fits16 = false;   // weights of bytes: no sum leaves 16 bits
    int together = 1;      // weights of bytes: so many rows together fit bytes, 1, 2 or 4
    int unseen = 1;        // weights of bytes: so many times two products together fit 16 bits
    int depth = 0;                    // grouped: inputs of an output
    const int* first_in = nullptr;    // grouped: the first input of each output, [stride of the output]
    bool own_channel = false;         // grouped: output c reads input c alone
    int positions() const { return y.out * x.out; }
    int start_y(int position) const { return y.start(position / x.out); }
    int start_x(int position) const { return x.start(position % x.out); }
    int rows() const { return y.kernel * x.kernel * taken; }
    /// Position i looks at place i alone.
    bool is_pointwise() const {
        return y.kernel == 1 && x.kernel == 1 && y.out == y.size && x.out == x.size && y.pad == 0 && x.pad == 0;
    }
    size_t map() const { return size_t(y.size) * x.size * stride_in; }
};

/// One row or column of windows of a pool: places first..last-1.
struct Bounds {
    int first, last, divisor;
};

/// A pool as the kernels see it.
struct Pooling {
    int steps = 1, height = 0, width = 0, stride = 0, out_height = 0, out_width = 0;
    const Bounds* rows = nullptr;
    const Bounds* columns = nullptr;
    float unit = 1;   // worth of one count
};

struct Kernels {
    const char* name;   // of the instruction set, such as "avx2" (dispatch.cpp)
    /// Rows of weights that fired are added. weights: [blocks][rows + 1][BLOCK], the last row zero, columns of a block
    /// in `column_order`. Output positions first..last-1, as in all that follow.
    void (*rows)(const Window&, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue&, int first,
                 int last, void* scratch);
    /// The same of bytes, -127..127. Neighbours in a row are one number of 16 bits, 256 times the second plus the first.
    void (*rows_s8)(const Window&, const uint8_t* in, const int8_t* weights, int blocks, const Epilogue&, int first,
                    int last, void* scratch);
    /// Every product is computed. weights: [blocks][pairs of rows][BLOCK][2].
    void (*dense_u8)(const Window&, const uint8_t* in, const int16_t* weights, int blocks, const Epilogue&, int first,
                     int last, void* scratch);
    /// The same of bytes, -127..127, of counts up to dense_levels whose products with weights reach dense_product at most; 0:
    /// never. weights: [blocks][fours of rows][BLOCK][4].
    int dense_levels, dense_product;
    void (*dense_s8)(const Window&, const uint8_t* in, const int8_t* weights, int blocks, const Epilogue&, int first,
                     int last, void* scratch);
    /// Real inputs: products and sums in float32, in the order of the rows. weights: [blocks][rows][BLOCK].
    void (*dense_f32)(const Window&, const float* in, const float* weights, int blocks, const Epilogue&, int first,
                      int last, void* scratch);
    /// One filter per channel. weights: [pairs of taps][stride][2], a pair within one row of the window.
    void (*depthwise)(const Window&, const uint8_t* in, const int16_t* weights, const Epilogue&, int first, int last,
                      void* scratch);
    /// The same of bytes whose sums fit 16 bits, in the order of `filter_place`; null where it would not be faster.
    void (*depthwise_s8)(const Window&, const uint8_t* in, const int8_t* weights, const Epilogue&, int first, int last,
                         void* scratch);
    /// Each output reads the channels of its group. weights: [taps][depth][stride of the output].
    void (*grouped_u8)(const Window&, const uint8_t* in, const int32_t* weights, const Epilogue&, int first, int last,
                       void* scratch);
    void (*grouped_f32)(const Window&, const float* in, const float* weights, const Epilogue&, int first, int last,
                        void* scratch);
    /// Real values straight to the neuron.
    void (*fire)(const float* in, int in_steps, const Epilogue&, int first, int last);
    /// Largest value in each window; first..last-1 count output rows over all time steps.
    void (*max_u8)(const Pooling&, const uint8_t* in, uint8_t* out, int first, int last);
    void (*max_f32)(const Pooling&, const float* in, float* out, int first, int last);
    /// Sum of each window, divided. Counts are summed as integers.
    void (*mean_u8)(const Pooling&, const uint8_t* in, float* out, int first, int last);
    void (*mean_f32)(const Pooling&, const float* in, float* out, int first, int last);
    /// sums[steps][stride] of k * v over positions, for columns first..first + 31.
    void (*masked_sum)(const uint8_t* k, const uint8_t* v, int steps, int positions, int stride, int first,
                       int32_t* sums);
    /// out = q * mask at each position. mask: [stride].
    void (*masked)(const uint8_t* q, const uint8_t* mask, int stride, uint8_t* out, int first, int last);
    /// kv[dim_k][pad16(dim_v)] = k^T v of one head. k, v point at the head's first channel. scratch: 32 bits for each pair
    /// of positions and pad16(dim_v) + dim_k.
    void (*key_value)(const uint8_t* k, const uint8_t* v, int positions, int stride_k, int stride_v, int dim_k,
                      int dim_v, int32_t* kv, void* scratch);
    /// out[dim_v] = q kv for one position and head. fired: room for dim_k numbers.
    void (*query)(const uint8_t* q, const int32_t* kv, int dim_k, int dim_v, int32_t* out, uint16_t* fired);
    /// Sums of one position through an epilogue: acc[sum_steps][blocks * BLOCK].
    void (*finish)(const Epilogue&, int position, int blocks, const int32_t* acc);
};

/// Where column c of a block lies in its row of weights, so that even and odd lanes are columns in order.
inline int column_order(int c) { return (c & 32) + 2 * (c & 15) + ((c >> 4) & 1); }

/// Where the first of a pair of taps of channel c lies in a row of pairs of bytes (depthwise.h); the second follows it.
inline int filter_place(int c) { return (c / 32 * 32 + (c & 8) * 2 + (c & 16) / 2 + (c & 7)) * 2; }

inline int padded16(int n) { return (n + 15) & ~15; }

/// Groups of time steps that `rows` can take; more steps are refused when a program is loaded.
constexpr int ROW_GROUPS = 64;

/// Entries in the lists of one position: an input stands in at most four, each of 15 is filled up.
inline size_t most_rows(const Window& w) { return size_t(w.rows()) * 4 + 64; }

/// For the sums of one position and block: those of each step, and those that are kept while rows are added.
inline size_t sums_scratch(const Window& w) { return 4 * size_t(w.steps) * BLOCK + 256 * (most_rows(w) / 256 + 20); }

/// Bytes of scratch that an accumulator needs for a tile of output positions.
inline size_t rows_scratch(const Window& w, int positions) {
    const size_t groups = w.levels > 1 ? w.steps : (w.steps + 3) / 4, tile = positions, most = tile * most_rows(w) + 64;
    const size_t places = w.is_pointwise() ? tile : size_t(w.y.size) * w.x.size;
    const size_t sorting = places * (4 * 17 + 8 * size_t(w.stride_in)) + 8 * size_t(w.rows()) + 3 * size_t(w.stride_in) + 1280;
    return sums_scratch(w) + groups * (4 * (tile + 1) + 32 * tile + most / 4 + 2 * most + 1024) + sorting + 1024;
}
inline size_t dense_scratch(const Window& w, int positions) {
    return size_t(positions) * w.steps * (4 * BLOCK + 4 * size_t(w.rows() + 1)) + 64;
}

// Each namespace is kernels.cpp compiled once more, with other flags; which of them exist is decided in CMakeLists.txt.
namespace portable { const Kernels& table(); }
namespace dotprod { const Kernels& table(); }
namespace avx2 { const Kernels& table(); }
namespace avxvnni { const Kernels& table(); }
namespace avx512bw { const Kernels& table(); }
namespace avx512 { const Kernels& table(); }

}  // namespace sd
