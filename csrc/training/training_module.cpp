// The neurons of training, and spikes as bits, for Python.
#include "training_module.h"

#include <nanobind/stl/string.h>

#include <atomic>
#include <string>

#include "training_arrays.h"

using namespace sd::bindings;
using namespace nb::literals;

namespace {

const sd::TrainingKernels& kernels() { return table_of(sd::runnable_training_kernels); }

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
    split(f.n, threads, [&](size_t first, size_t last, int) { kernels().forward(f, first, last); });
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

size_t code_bytes(size_t n, int bits) { return (n + 15) / 16 * 2 * bits; }

bool pack(const Array& x, int bits, const Floats& values, float inverse, const Bytes& codes, int threads) {
    expect((bits == 1 || bits == 4) && values.size() == 16 && codes.size() == code_bytes(x.size(), bits));
    const bool half = is_half(x);
    std::atomic<bool> fits{true};
    const nb::gil_scoped_release release;
    // a tensor of other values shows it in its first values, so these are looked at alone
    const size_t probe = std::min<size_t>(x.size(), 256);
    if (!kernels().pack(half, x.data(), 0, probe, bits, values.data(), inverse, codes.data())) return false;
    split(x.size(), threads, [&](size_t first, size_t last, int) {
        if (fits && !kernels().pack(half, x.data(), first, last, bits, values.data(), inverse, codes.data())) fits = false;
    });
    return fits;
}

void unpack(const Bytes& codes, int bits, const Floats& values, const Array& x, int threads) {
    expect((bits == 1 || bits == 4) && values.size() == 16 && codes.size() == code_bytes(x.size(), bits));
    const bool half = is_half(x);
    const nb::gil_scoped_release release;
    split(x.size(), threads, [&](size_t first, size_t last, int) {
        kernels().unpack(half, codes.data(), first, last, bits, values.data(), x.data());
    });
}

/// For tests: kernels of one instruction set; "" for the widest.
void train_with(const std::string& isa) {
    const std::vector<const sd::Kernels*> runnable = sd::runnable_kernels();
    for (size_t i = 0; i < runnable.size(); ++i)
        if (isa.empty() || isa == runnable[i]->name) {
            chosen = i;
            return;
        }
    throw std::invalid_argument("this machine cannot run the kernels \"" + isa + "\"");
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
    m.def("train_with", &train_with, "isa"_a);
    m.def("fire_forward", &fire_forward, "neuron"_a, "x"_a, "steps"_a, "divisor"_a, "before"_a.none(), "channels"_a, "plane"_a,
          "scale"_a.none(), "shift"_a.none(), "spikes"_a, "after"_a.none(), "threads"_a);
    m.def("fire_backward", &fire_backward, "neuron"_a, "slope"_a, "x"_a, "steps"_a, "before"_a.none(), "channels"_a, "plane"_a,
          "scale"_a.none(), "shift"_a.none(), "mean"_a.none(), "size"_a, "grad_spikes"_a.none(), "grad_after"_a.none(), "grad_x"_a,
          "grad_before"_a.none(), "sums"_a.none(), "threads"_a);
    m.def("pack", &pack, "x"_a, "bits"_a, "values"_a, "inverse"_a, "codes"_a, "threads"_a);
    m.def("unpack", &unpack, "codes"_a, "bits"_a, "values"_a, "x"_a, "threads"_a);
}
