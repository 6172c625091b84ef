// Depthwise convolution of training, channels-last, stride 1, odd kernel, same padding. Compiled once per instruction set.
#include <algorithm>
#include <vector>

#include "floats.h"
#include "training.h"

namespace sd::SD_ISA {

namespace {

constexpr int TILE = 4;   // columns at a time

struct Sixteen { f32x16 value; };   // a vector that containers may hold

/// Sixteen channels of one image with its border of zeros, and room for a tile beyond the last column.
class Plane {
  public:
    explicit Plane(const Planes& p)
        : width(p.width + p.kernel - 1 + TILE), values(size_t(p.height + p.kernel - 1) * width) {}

    template <class T> void read(const Planes& p, const T* image, int border) {
        std::fill(values.begin(), values.end(), Sixteen{});
        for (int y = 0; y < p.height; ++y)
            for (int x = 0; x < p.width; ++x)
                row(y + border)[x + border].value = widen(image + (size_t(y) * p.width + x) * p.channels, p.lanes);
    }
    Sixteen* row(int y) { return values.data() + size_t(y) * width; }

  private:
    int width;
    std::vector<Sixteen> values;
};

/// acc[j] += sum over kx of in[j + kx] * weight[kx].
template <int K> SD_INLINE void filter_row(f32x16* acc, const Sixteen* in, const Sixteen* weight) {
    f32x16 window[TILE + K - 1];
    for (int i = 0; i < TILE + K - 1; ++i) window[i] = in[i].value;
    for (int kx = 0; kx < K; ++kx)
        for (int j = 0; j < TILE; ++j) acc[j] = multiply_add(window[j + kx], weight[kx].value, acc[j]);
}

template <int K, class T> void filter(const Planes& p, const T* in, const float* weight, T* out) {
    Sixteen taps[K * K];
    for (int i = 0; i < K * K; ++i) taps[i].value = widen(weight + size_t(i) * p.channels, p.lanes);
    Plane plane(p);
    plane.read(p, in, K / 2);
    for (int y = 0; y < p.height; ++y)
        for (int x = 0; x < p.width; x += TILE) {
            f32x16 acc[TILE] = {};
            for (int ky = 0; ky < K; ++ky) filter_row<K>(acc, plane.row(y + ky) + x, taps + ky * K);
            for (int j = 0; j < TILE && x + j < p.width; ++j)
                narrow(out + (size_t(y) * p.width + x + j) * p.channels, acc[j], p.lanes);
        }
}

/// acc[kx] += sum over j of in[j + kx] * grad[j].
template <int K> SD_INLINE void correlate_row(f32x16* acc, const Sixteen* in, const Sixteen* grad) {
    f32x16 window[TILE + K - 1];
    for (int i = 0; i < TILE + K - 1; ++i) window[i] = in[i].value;
    for (int j = 0; j < TILE; ++j)
        for (int kx = 0; kx < K; ++kx) acc[kx] = multiply_add(window[j + kx], grad[j].value, acc[kx]);
}

template <int K, class T> void correlate(const Planes& p, const T* in, const T* grad, float* sums) {
    Plane plane(p), upstream(p);
    plane.read(p, in, K / 2);
    upstream.read(p, grad, 0);   // the zeros behind its last column end a tile
    for (int ky = 0; ky < K; ++ky) {
        f32x16 acc[K] = {};
        for (int y = 0; y < p.height; ++y)
            for (int x = 0; x < p.width; x += TILE) correlate_row<K>(acc, plane.row(y + ky) + x, upstream.row(y) + x);
        for (int kx = 0; kx < K; ++kx) {
            float* sum = sums + size_t(ky * K + kx) * p.channels;
            narrow(sum, widen(sum, p.lanes) + acc[kx], p.lanes);
        }
    }
}

template <int K> void filter_any(const Planes& p, const void* in, const float* weight, void* out) {
    if (p.half) filter<K>(p, static_cast<const BFloat16*>(in), weight, static_cast<BFloat16*>(out));
    else filter<K>(p, static_cast<const float*>(in), weight, static_cast<float*>(out));
}

template <int K> void correlate_any(const Planes& p, const void* in, const void* grad, float* sums) {
    if (p.half) correlate<K>(p, static_cast<const BFloat16*>(in), static_cast<const BFloat16*>(grad), sums);
    else correlate<K>(p, static_cast<const float*>(in), static_cast<const float*>(grad), sums);
}

}  // namespace

const DepthwiseKernels& depthwise_table() {
    static const DepthwiseKernels kernels{
        [](const Planes& p, const void* in, const float* weight, void* out) {
            (p.kernel == 3 ? filter_any<3> : p.kernel == 5 ? filter_any<5> : filter_any<7>)(p, in, weight, out);
        },
        [](const Planes& p, const void* in, const void* grad, float* sums) {
            (p.kernel == 3 ? correlate_any<3> : p.kernel == 5 ? correlate_any<5> : correlate_any<7>)(p, in, grad, sums);
        }};
    return kernels;
}

}  // namespace sd::SD_ISA
