// What the training operators compute in one pass over memory: neurons over all time steps, with the batch norm in
// front of them where there is one, and back.
//
// A tensor holds `steps` time steps of `n` values, in any dense order that all tensors of a call share. Arithmetic is
// float32; values in memory are float32 or bfloat16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "neuron.h"

namespace sd {

enum class Surrogate { Sigmoid, Atan };

/// y = x * scale[c] + shift[c]. Channel c of element e is (e / plane) % channels: plane 1 is channels-last.
/// Arrays over channels are spread out so that sixteen values may be read anywhere: see `spread`.
struct Norm {
    int channels = 0;   // 0: no norm
    size_t plane = 1;
    size_t width() const { return plane > 1 ? size_t(channels) * 16 : size_t(channels) + 16; }
    size_t channel(size_t column) const { return plane > 1 ? column / 16 : column % channels; }
    const float* scale = nullptr;
    const float* shift = nullptr;
    const float* mean = nullptr;
};

struct Firing {
    Neuron neuron;
    Norm norm;
    bool half = false;    // bfloat16
    bool still = false;   // x holds one step, which is shown at every time step; so does grad_x, summed over them
    int steps = 1;
    size_t n = 0;
    const void* x = nullptr;
    const float* before = nullptr;   // membrane before the first step [n]; null: at rest
    // forward
    void* spikes = nullptr;
    float* after = nullptr;          // membrane after the last step [n], or null
    // backward
    Surrogate surrogate = Surrogate::Sigmoid;
    float alpha = 4, divisor = 1;    // divisor: what an integer neuron's counts are divided by
    bool detach_reset = true, inclusive = true;
    bool learns = false;             // the leak factor has a gradient
    const void* grad_spikes = nullptr;   // [steps][n], or null
    const float* grad_after = nullptr;   // [n], or null
    void* grad_x = nullptr;
    float* grad_before = nullptr;    // [n], or null
};

/// Ranges are of elements. `sums` is [2][norm.width()], added to.
struct TrainingKernels {
    void (*forward)(const Firing&, size_t first, size_t last);
    /// Adds up dy and dy * (x - mean) per channel where there is a norm; returns the gradient of the leak factor.
    double (*backward)(const Firing&, size_t first, size_t last, float* sums);
    /// Values that lie in values[0], values[1], .. as codes of 1 bit (two values) or 4 bits, 64 to a group; false at the
    /// first one that does not. `inverse` times a value is its code, rounded.
    bool (*pack)(bool half, const void* x, size_t first, size_t last, int bits, const float* values, float inverse,
                 uint8_t* codes);
    void (*unpack)(bool half, const uint8_t* codes, size_t first, size_t last, int bits, const float* values, void* x);
};

/// A batch norm alone. Ranges and sums as above.
struct NormKernels {
    /// Adds up x - mean and its square per channel.
    void (*sums)(const Norm&, bool half, const void* x, size_t first, size_t last, float* sums);
    /// y = x * scale + shift.
    void (*forward)(const Norm&, bool half, const void* x, void* y, size_t first, size_t last);
    /// Adds up dy and dy * (x - mean) per channel.
    void (*gradient_sums)(const Norm&, bool half, const void* x, const void* dy, size_t first, size_t last, float* sums);
    /// dx = scale * dy + slope * (x - mean) + shift; dy and dx may be the same.
    void (*backward)(const Norm&, const float* slope, bool half, const void* x, const void* dy, void* dx, size_t first,
                     size_t last);
};

/// Max pooling of one image, channels-last, with a square window.
struct Pool {
    bool half = false;
    int height = 0, width = 0, channels = 0, out_height = 0, out_width = 0;
    int kernel = 3, stride = 2, padding = 1;
};

struct PoolKernels {
    /// The largest value of each window, and where in the window it is (row * kernel + column; the first of equal ones).
    void (*forward)(const Pool&, const void* in, void* out, uint8_t* where);
    /// Writes all of grad_in.
    void (*backward)(const Pool&, const void* grad, const uint8_t* where, void* grad_in);
};

/// Up to sixteen channels of one image, channels-last. kernel: 3, 5 or 7.
struct Planes {
    bool half = false;
    int height = 0, width = 0, channels = 0, kernel = 3;
    int lanes = 16;   // channels from the pointers on
};

/// Pointers are to the first of the channels; weights and sums are [kernel * kernel][channels].
struct DepthwiseKernels {
    /// The convolution; with the taps in reverse order, the gradient of its input.
    void (*filter)(const Planes&, const void* in, const float* weight, void* out);
    /// Adds the gradient of the weights.
    void (*correlate)(const Planes&, const void* in, const void* grad, float* sums);
};

// Each namespace is kernels_*.cpp compiled once more; see kernels.h.
#define SD_TRAINING_TABLES \
    const TrainingKernels& training_table(); \
    const NormKernels& norm_table(); \
    const PoolKernels& pool_table(); \
    const DepthwiseKernels& depthwise_table();
namespace portable { SD_TRAINING_TABLES }
namespace avx2 { SD_TRAINING_TABLES }
namespace avx512 { SD_TRAINING_TABLES }
#undef SD_TRAINING_TABLES

}  // namespace sd
