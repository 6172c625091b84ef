// The training operators for Python: arrays come through DLPack, flat and in one order; ranges go to the threads.
#include "training_module.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <stdexcept>
#include <type_traits>

#include "dispatch.h"
#include "parallel.h"
#include "training.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Array = nb::ndarray<nb::ndim<1>, nb::c_contig, nb::device::cpu>;   // float32 or bfloat16
using Floats = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr size_t GRAIN = 16384;   // elements that are worth a thread's attention
constexpr size_t PARTS = 256;

const sd::TrainingKernels& kernels() {
    static const sd::TrainingKernels& widest = *sd::runnable_training_kernels().front();
    return widest;
}

bool is_half(const Array& array) {
    if (array.dtype() == nb::dtype<float>()) return false;
    if (array.dtype().code == uint8_t(nb::dlpack::dtype_code::Bfloat) && array.dtype().bits == 16) return true;
    throw std::invalid_argument("training operators take float32 or bfloat16");
}

template <class A> auto pointer(const std::optional<A>& array) { return array ? array->data() : nullptr; }

void expect(bool fits) {
    if (!fits) throw std::invalid_argument("training operators: the arrays' sizes do not fit together");
}

/// Channels of a norm and its arrays, each spread as the kernels read them.
struct Channels {
    sd::Norm norm;
    std::vector<std::vector<float>> arrays;

    Channels(int channels, size_t plane) { norm.channels = channels, norm.plane = plane; }
    const float* spread(const Floats& values) {
        expect(values.size() == size_t(norm.channels));
        std::vector<float> wide(norm.width());
        for (size_t i = 0; i < wide.size(); ++i) wide[i] = values.data()[norm.channel(i)];
        arrays.push_back(std::move(wide));
        return arrays.back().data();
    }
    /// Elements, or planes, that are given out to threads.
    size_t units(size_t elements) const { return norm.channels && norm.plane > 1 ? elements / norm.plane : elements; }
    size_t grain() const { return norm.channels && norm.plane > 1 ? std::max<size_t>(1, GRAIN / norm.plane) : GRAIN; }
};

/// f(first, last, part) over all units; returns how many parts there were. The cut depends on the size alone.
template <class F> int split(size_t units, size_t grain, int threads, F&& f) {
    const size_t parts = std::clamp<size_t>(units / grain, 1, PARTS), line = grain == GRAIN ? 64 : 1;
    const size_t each = (units + parts * line - 1) / (parts * line) * line;
    sd::parallel(threads, int(parts), [&](int i, int) {
        const size_t first = std::min(units, each * i), last = std::min(units, first + each);
        if (first < last) f(first, last, i);
    });
    return int(parts);
}

/// Like `split`, where each part adds to sums of its own; they are added up in order, whatever the threads did.
template <class F> void split_sums(const Channels& c, size_t elements, int threads, const std::optional<Doubles>& out, F&& f) {
    const size_t width = c.norm.channels ? 2 * c.norm.width() : 0;
    std::vector<float> sums(PARTS * width);
    const int parts = split(c.units(elements), c.grain(), threads,
                            [&](size_t first, size_t last, int i) { f(first, last, i, sums.data() + i * width); });
    if (!out) return;
    expect(out->size() == size_t(2 * c.norm.channels));
    std::fill_n(out->data(), out->size(), 0.0);
    for (int i = 0; i < parts; ++i)
        for (size_t j = 0; j < width; ++j)
            out->data()[j / c.norm.width() * c.norm.channels + c.norm.channel(j % c.norm.width())] += sums[i * width + j];
}

/// What forward and backward share.
sd::Firing firing(const sd::Neuron& neuron, const Array& x, size_t steps, size_t all, const std::optional<Floats>& before) {
    sd::Firing f;
    expect(steps > 0 && all % steps == 0);
    f.neuron = neuron, f.half = is_half(x), f.steps = int(steps), f.n = all / steps, f.x = x.data(), f.before = pointer(before);
    f.still = x.size() != all;
    expect(x.size() == (f.still ? f.n : all) && (!before || before->size() == f.n));
    return f;
}

void fire_forward(const sd::Neuron& neuron, const Array& x, size_t steps, float divisor, const std::optional<Floats>& before,
                  int channels, size_t plane, const std::optional<Floats>& scale, const std::optional<Floats>& shift,
                  const Array& spikes, const std::optional<Floats>& after, int threads) {
    sd::Firing f = firing(neuron, x, steps, spikes.size(), before);
    Channels c(channels, plane);
    expect(is_half(spikes) == f.half && (!after || after->size() == f.n) && bool(scale) == (channels > 0) && bool(shift) == bool(scale));
    f.divisor = divisor, f.spikes = spikes.data(), f.after = pointer(after), f.norm = c.norm;
    if (scale) f.norm.scale = c.spread(*scale), f.norm.shift = c.spread(*shift);
    const nb::gil_scoped_release release;
    split(c.units(f.n), c.grain(), threads, [&](size_t first, size_t last, int) { kernels().forward(f, first, last); });
}

/// How a neuron passes gradients.
struct Slope {
    sd::Surrogate surrogate = sd::Surrogate::Sigmoid;
    float alpha = 4, divisor = 1;
    bool detach_reset = true, learns = false, inclusive = true;
};

double fire_backward(const sd::Neuron& neuron, const Slope& slope, const Array& x, size_t steps, const std::optional<Floats>& before,
                     int channels, size_t plane, const std::optional<Floats>& scale, const std::optional<Floats>& shift,
                     const std::optional<Floats>& mean, size_t all, const std::optional<Array>& grad_spikes,
                     const std::optional<Floats>& grad_after, const Array& grad_x, const std::optional<Floats>& grad_before,
                     const std::optional<Doubles>& sums, int threads) {
    sd::Firing f = firing(neuron, x, steps, all, before);
    Channels c(channels, plane);
    expect(grad_x.size() == x.size() && is_half(grad_x) == f.half && (!grad_before || grad_before->size() == f.n));
    expect((!grad_after || grad_after->size() == f.n) && bool(scale) == (channels > 0) && bool(mean) == bool(scale) && bool(shift) == bool(scale));
    expect(!grad_spikes || (grad_spikes->size() == all && is_half(*grad_spikes) == f.half));
    f.surrogate = slope.surrogate, f.alpha = slope.alpha, f.divisor = slope.divisor;
    f.detach_reset = slope.detach_reset, f.learns = slope.learns, f.inclusive = slope.inclusive;
    f.grad_spikes = pointer(grad_spikes), f.grad_after = pointer(grad_after);
    f.grad_x = grad_x.data(), f.grad_before = pointer(grad_before), f.norm = c.norm;
    if (scale) f.norm.scale = c.spread(*scale), f.norm.shift = c.spread(*shift), f.norm.mean = c.spread(*mean);
    std::vector<double> leak(PARTS);
    const nb::gil_scoped_release release;
    split_sums(c, f.n, threads, sums, [&](size_t first, size_t last, int i, float* own) {
        leak[i] = kernels().backward(f, first, last, own);
    });
    double total = 0;
    for (double part : leak) total += part;
    return total;
}

void norm_sums(const Array& x, int channels, size_t plane, const Floats& mean, const Doubles& sums, int threads) {
    Channels c(channels, plane);
    const bool half = is_half(x);
    c.norm.mean = c.spread(mean);
    const nb::gil_scoped_release release;
    split_sums(c, x.size(), threads, sums, [&](size_t first, size_t last, int, float* own) {
        kernels().norm_sums(c.norm, half, x.data(), first, last, own);
    });
}

void norm_backward(const Array& x, const Array& grad, int channels, size_t plane, const Floats& mean, const Floats& scale,
                   const Floats& slope, const Floats& shift, int threads) {
    Channels c(channels, plane);
    const bool half = is_half(x);
    expect(grad.size() == x.size() && is_half(grad) == half);
    c.norm.mean = c.spread(mean), c.norm.scale = c.spread(scale), c.norm.shift = c.spread(shift);
    const float* wide = c.spread(slope);
    const nb::gil_scoped_release release;
    split(c.units(x.size()), c.grain(), threads, [&](size_t first, size_t last, int) {
        kernels().norm_backward(c.norm, wide, half, x.data(), grad.data(), first, last);
    });
}

const sd::DepthwiseKernels& depthwise_kernels() {
    static const sd::DepthwiseKernels& widest = *sd::runnable_depthwise_kernels().front();
    return widest;
}

sd::Planes planes(const Array& x, int images, int height, int width, int channels, int kernel) {
    expect(images > 0 && height > 0 && width > 0 && channels > 0 && (kernel == 3 || kernel == 5 || kernel == 7));
    expect(x.size() == size_t(images) * height * width * channels);
    sd::Planes p;
    p.half = is_half(x), p.height = height, p.width = width, p.channels = channels, p.kernel = kernel;
    return p;
}

template <class T> T* at(T* data, size_t offset, bool half) {
    return reinterpret_cast<T*>(reinterpret_cast<std::conditional_t<std::is_const_v<T>, const char, char>*>(data) + offset * (half ? 2 : 4));
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

size_t code_bytes(size_t n, int bits) { return (n + 15) / 16 * 2 * bits; }

bool pack(const Array& x, int bits, const Floats& values, float inverse, const Bytes& codes, int threads) {
    expect((bits == 1 || bits == 4) && values.size() == 16 && codes.size() == code_bytes(x.size(), bits));
    const bool half = is_half(x);
    std::atomic<bool> fits{true};
    const nb::gil_scoped_release release;
    // a tensor of other values shows it in its first values, so these are looked at alone
    const size_t probe = std::min<size_t>(x.size(), 256);
    if (!kernels().pack(half, x.data(), 0, probe, bits, values.data(), inverse, codes.data())) return false;
    split(x.size(), GRAIN, threads, [&](size_t first, size_t last, int) {
        if (fits && !kernels().pack(half, x.data(), first, last, bits, values.data(), inverse, codes.data())) fits = false;
    });
    return fits;
}

void unpack(const Bytes& codes, int bits, const Floats& values, const Array& x, int threads) {
    expect((bits == 1 || bits == 4) && values.size() == 16 && codes.size() == code_bytes(x.size(), bits));
    const bool half = is_half(x);
    const nb::gil_scoped_release release;
    split(x.size(), GRAIN, threads, [&](size_t first, size_t last, int) {
        kernels().unpack(half, codes.data(), first, last, bits, values.data(), x.data());
    });
}

}  // namespace

void bind_training(nb::module_& m) {
    nb::enum_<sd::Surrogate>(m, "Surrogate").value("SIGMOID", sd::Surrogate::Sigmoid).value("ATAN", sd::Surrogate::Atan);
    nb::class_<Slope>(m, "Slope")
        .def(nb::init<>())
        .def_rw("surrogate", &Slope::surrogate)
        .def_rw("alpha", &Slope::alpha)
        .def_rw("divisor", &Slope::divisor)
        .def_rw("detach_reset", &Slope::detach_reset)
        .def_rw("learns", &Slope::learns)
        .def_rw("inclusive", &Slope::inclusive);
    m.def("fire_forward", &fire_forward, "neuron"_a, "x"_a, "steps"_a, "divisor"_a, "before"_a.none(), "channels"_a, "plane"_a,
          "scale"_a.none(), "shift"_a.none(), "spikes"_a, "after"_a.none(), "threads"_a);
    m.def("fire_backward", &fire_backward, "neuron"_a, "slope"_a, "x"_a, "steps"_a, "before"_a.none(), "channels"_a, "plane"_a,
          "scale"_a.none(), "shift"_a.none(), "mean"_a.none(), "size"_a, "grad_spikes"_a.none(), "grad_after"_a.none(), "grad_x"_a,
          "grad_before"_a.none(), "sums"_a.none(), "threads"_a);
    m.def("norm_sums", &norm_sums, "x"_a, "channels"_a, "plane"_a, "mean"_a, "sums"_a, "threads"_a);
    m.def("norm_backward", &norm_backward, "x"_a, "grad"_a, "channels"_a, "plane"_a, "mean"_a, "scale"_a, "slope"_a, "shift"_a, "threads"_a);
    m.def("depthwise", &depthwise, "x"_a, "images"_a, "height"_a, "width"_a, "channels"_a, "kernel"_a, "weight"_a, "out"_a, "threads"_a);
    m.def("depthwise_weight", &depthwise_weight, "x"_a, "images"_a, "height"_a, "width"_a, "channels"_a, "kernel"_a, "grad"_a,
          "grad_weight"_a, "threads"_a);
    m.def("pack", &pack, "x"_a, "bits"_a, "values"_a, "inverse"_a, "codes"_a, "threads"_a);
    m.def("unpack", &unpack, "codes"_a, "bits"_a, "values"_a, "x"_a, "threads"_a);
}
