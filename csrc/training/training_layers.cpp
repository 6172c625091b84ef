// Batch norms, pools and depthwise convolutions of training for Python.
#include <nanobind/stl/array.h>

#include <array>
#include <type_traits>

#include "training_arrays.h"
#include "training_module.h"

using namespace sd::bindings;
using namespace nb::literals;

namespace {

const sd::NormKernels& norm_kernels() { return table_of(sd::runnable_norm_kernels); }
const sd::PoolKernels& pool_kernels() { return table_of(sd::runnable_pool_kernels); }
const sd::DepthwiseKernels& depthwise_kernels() { return table_of(sd::runnable_depthwise_kernels); }

void norm_sums(const Array& x, int channels, size_t plane, const Floats& mean, const Doubles& sums, int threads) {
    Channels c(channels, plane);
    const bool half = is_half(x);
    c.norm.mean = c.spread(mean);
    const nb::gil_scoped_release release;
    split_sums(c, x.size(), threads, sums, [&](size_t first, size_t last, int, float* own) {
        norm_kernels().sums(c.norm, half, x.data(), first, last, own);
    });
}

void norm_forward(const Array& x, const Array& out, int channels, size_t plane, const Floats& scale, const Floats& shift, int threads) {
    Channels c(channels, plane);
    const bool half = is_half(x);
    expect(out.size() == x.size() && is_half(out) == half);
    c.norm.scale = c.spread(scale), c.norm.shift = c.spread(shift);
    const nb::gil_scoped_release release;
    split(x.size(), threads, [&](size_t first, size_t last, int) {
        norm_kernels().forward(c.norm, half, x.data(), out.data(), first, last);
    });
}

void norm_gradient_sums(const Array& x, const Array& grad, int channels, size_t plane, const Floats& mean, const Doubles& sums, int threads) {
    Channels c(channels, plane);
    const bool half = is_half(x);
    expect(grad.size() == x.size() && is_half(grad) == half);
    c.norm.mean = c.spread(mean);
    const nb::gil_scoped_release release;
    split_sums(c, x.size(), threads, sums, [&](size_t first, size_t last, int, float* own) {
        norm_kernels().gradient_sums(c.norm, half, x.data(), grad.data(), first, last, own);
    });
}

/// grad and grad_x may be the same array.
void norm_backward(const Array& x, const Array& grad, const Array& grad_x, int channels, size_t plane, const Floats& mean,
                   const Floats& scale, const Floats& slope, const Floats& shift, int threads) {
    Channels c(channels, plane);
    const bool half = is_half(x);
    expect(grad.size() == x.size() && grad_x.size() == x.size() && is_half(grad) == half && is_half(grad_x) == half);
    c.norm.mean = c.spread(mean), c.norm.scale = c.spread(scale), c.norm.shift = c.spread(shift);
    const float* wide = c.spread(slope);
    const nb::gil_scoped_release release;
    split(x.size(), threads, [&](size_t first, size_t last, int) {
        norm_kernels().backward(c.norm, wide, half, x.data(), grad.data(), grad_x.data(), first, last);
    });
}

template <class T> T* at(T* data, size_t offset, bool half) {
    return reinterpret_cast<T*>(reinterpret_cast<std::conditional_t<std::is_const_v<T>, const char, char>*>(data) + offset * (half ? 2 : 4));
}

/// window: kernel, stride and padding.
sd::Pool pool(const Array& in, const Array& out, const Bytes& where, int images, int height, int width, int channels,
              const std::array<int, 3>& window) {
    sd::Pool p;
    p.half = is_half(in), p.height = height, p.width = width, p.channels = channels;
    p.kernel = window[0], p.stride = window[1], p.padding = window[2];
    expect(images > 0 && height > 0 && width > 0 && channels > 0);
    expect(p.kernel > 0 && p.kernel < 16 && p.stride > 0 && p.padding >= 0 && 2 * p.padding <= p.kernel);
    expect(height + 2 * p.padding >= p.kernel && width + 2 * p.padding >= p.kernel);
    p.out_height = (height + 2 * p.padding - p.kernel) / p.stride + 1;
    p.out_width = (width + 2 * p.padding - p.kernel) / p.stride + 1;
    expect(in.size() == size_t(images) * height * width * channels && is_half(out) == p.half);
    expect(out.size() == size_t(images) * p.out_height * p.out_width * channels && where.size() == out.size());
    return p;
}

void max_pool(const Array& x, int images, int height, int width, int channels, const std::array<int, 3>& window, const Array& out,
              const Bytes& where, int threads) {
    const sd::Pool p = pool(x, out, where, images, height, width, channels, window);
    const size_t from = x.size() / images, to = out.size() / images;
    const nb::gil_scoped_release release;
    sd::parallel(threads, images, [&](int i, int) {
        pool_kernels().forward(p, at(x.data(), i * from, p.half), at(out.data(), i * to, p.half), where.data() + i * to);
    });
}

void max_pool_backward(const Array& grad, int images, int height, int width, int channels, const std::array<int, 3>& window,
                       const Bytes& where, const Array& grad_x, int threads) {
    const sd::Pool p = pool(grad_x, grad, where, images, height, width, channels, window);
    const size_t from = grad.size() / images, to = grad_x.size() / images;
    const nb::gil_scoped_release release;
    sd::parallel(threads, images, [&](int i, int) {
        pool_kernels().backward(p, at(grad.data(), i * from, p.half), where.data() + i * from, at(grad_x.data(), i * to, p.half));
    });
}

sd::Planes planes(const Array& x, int images, int height, int width, int channels, int kernel) {
    expect(images > 0 && height > 0 && width > 0 && channels > 0 && (kernel == 3 || kernel == 5 || kernel == 7));
    expect(x.size() == size_t(images) * height * width * channels);
    sd::Planes p;
    p.half = is_half(x), p.height = height, p.width = width, p.channels = channels, p.kernel = kernel;
    return p;
}

void depthwise(const Array& x, int images, int height, int width, int channels, int kernel, const Floats& weight, const Array& out,
               int threads) {
    const sd::Planes all = planes(x, images, height, width, channels, kernel);
    expect(out.size() == x.size() && is_half(out) == all.half && weight.size() == size_t(kernel) * kernel * channels);
    const int blocks = (channels + 15) / 16;
    const nb::gil_scoped_release release;
    sd::parallel(threads, blocks * images, [&](int i, int) {
        sd::Planes p = all;
        const int channel = i % blocks * 16;
        p.lanes = std::min(16, channels - channel);
        const size_t e = size_t(i / blocks) * height * width * channels + channel;
        depthwise_kernels().filter(p, at(x.data(), e, p.half), weight.data() + channel, at(out.data(), e, p.half));
    });
}

/// grad_weight: [kernel * kernel][channels], written.
void depthwise_weight(const Array& x, int images, int height, int width, int channels, int kernel, const Array& grad,
                      const Floats& grad_weight, int threads) {
    const sd::Planes all = planes(x, images, height, width, channels, kernel);
    const size_t taps = size_t(kernel) * kernel * channels;
    expect(grad.size() == x.size() && is_half(grad) == all.half && grad_weight.size() == taps);
    const int blocks = (channels + 15) / 16, groups = std::min(images, 8);   // groups of images, each with sums of its own
    std::vector<float> sums(groups * taps);
    const nb::gil_scoped_release release;
    sd::parallel(threads, blocks * groups, [&](int i, int) {
        sd::Planes p = all;
        const int channel = i % blocks * 16, group = i / blocks;
        p.lanes = std::min(16, channels - channel);
        for (int image = group; image < images; image += groups) {
            const size_t e = size_t(image) * height * width * channels + channel;
            depthwise_kernels().correlate(p, at(x.data(), e, p.half), at(grad.data(), e, p.half), sums.data() + group * taps + channel);
        }
    });
    for (size_t t = 0; t < taps; ++t) {
        double sum = 0;
        for (int group = 0; group < groups; ++group) sum += sums[group * taps + t];
        grad_weight.data()[t] = float(sum);
    }
}

}  // namespace

void bind_training_layers(nb::module_& m) {
    m.def("norm_sums", &norm_sums, "x"_a, "channels"_a, "plane"_a, "mean"_a, "sums"_a, "threads"_a);
    m.def("norm_forward", &norm_forward, "x"_a, "out"_a, "channels"_a, "plane"_a, "scale"_a, "shift"_a, "threads"_a);
    m.def("norm_gradient_sums", &norm_gradient_sums, "x"_a, "grad"_a, "channels"_a, "plane"_a, "mean"_a, "sums"_a, "threads"_a);
    m.def("norm_backward", &norm_backward, "x"_a, "grad"_a, "grad_x"_a, "channels"_a, "plane"_a, "mean"_a, "scale"_a, "slope"_a,
          "shift"_a, "threads"_a);
    m.def("max_pool", &max_pool, "x"_a, "images"_a, "height"_a, "width"_a, "channels"_a, "window"_a, "out"_a, "where"_a, "threads"_a);
    m.def("max_pool_backward", &max_pool_backward, "grad"_a, "images"_a, "height"_a, "width"_a, "channels"_a, "window"_a, "where"_a,
          "grad_x"_a, "threads"_a);
    m.def("depthwise", &depthwise, "x"_a, "images"_a, "height"_a, "width"_a, "channels"_a, "kernel"_a, "weight"_a, "out"_a, "threads"_a);
    m.def("depthwise_weight", &depthwise_weight, "x"_a, "images"_a, "height"_a, "width"_a, "channels"_a, "kernel"_a, "grad"_a,
          "grad_weight"_a, "threads"_a);
}
