// Python module spikedriven.engine._native.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstring>

#include "dispatch.h"
#include "engine.h"
#include "training_module.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T> using Array = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;

template <class T> sd::View<T> view(const Array<T>& array) { return {array.data(), array.size()}; }

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const sd::Kernels* kernels : sd::runnable_kernels()) names.emplace_back(kernels->name);
    return names;
}

sd::Neuron lif(float leak, bool parametric, float threshold, float rest, bool hard_reset, bool decay_input) {
    sd::Neuron n;
    n.kind = sd::NeuronKind::Lif;
    n.leak = leak, n.multiply = parametric, n.threshold = threshold, n.rest = rest;
    n.hard_reset = hard_reset, n.decay_input = decay_input;
    int exponent;
    if (!parametric && std::frexp(leak, &exponent) == 0.5f)   // a power of two: its inverse gives the same bits, faster
        n.leak = 1 / leak, n.multiply = true;
    return n;
}

sd::Neuron integer(int levels, bool half_up) {
    sd::Neuron n;
    n.kind = sd::NeuronKind::Integer;
    n.levels = float(levels), n.half_up = half_up;
    return n;
}

/// A map as a new array [steps, height, width, channels].
template <class T> nb::object copy_map(const sd::Slot& slot, const void* data) {
    const size_t shape[4] = {size_t(slot.steps), size_t(slot.height), size_t(slot.width), size_t(slot.channels)};
    T* out = new T[shape[0] * shape[1] * shape[2] * shape[3]];
    const T* in = static_cast<const T*>(data);
    for (size_t p = 0; p < shape[0] * shape[1] * shape[2]; ++p)
        std::memcpy(out + p * shape[3], in + p * slot.stride, sizeof(T) * shape[3]);
    nb::capsule owner(out, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, T>(out, 4, shape, owner));
}

nb::object read_map(const sd::Engine& engine, int i) {
    const sd::Slot& slot = engine.slot(i);
    if (slot.kind == sd::Kind::Real) return copy_map<float>(slot, engine.data(i));
    return copy_map<uint8_t>(slot, engine.data(i));
}

/// One sample, [steps, channels, height, width].
void run_sample(sd::Engine& engine, const Array<float>& x, int threads) {
    const sd::Slot& image = engine.slot(0);
    if (x.ndim() != 4 || x.shape(0) != size_t(image.steps) || x.shape(1) != size_t(image.channels)
        || x.shape(2) != size_t(image.height) || x.shape(3) != size_t(image.width))
        throw std::invalid_argument("engine: the input has another shape than the program's");
    for (size_t i = 0; i < x.size(); ++i)
        if (!std::isfinite(x.data()[i])) throw std::invalid_argument("engine: the input holds NaN or infinity");
    nb::gil_scoped_release release;
    engine.run(x.data(), threads);
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The compiled engine. Use spikedriven.engine; this interface may change.";
    m.def("cpu_features", &sd::cpu_features, "Instruction-set extensions of this CPU; empty on other machines than x86.");
    m.def("instruction_sets", &instruction_sets, "Kernels that this CPU can run, the widest first; the last is 'portable'.");

    nb::enum_<sd::Kind>(m, "Kind").value("SPIKES", sd::Kind::Spikes).value("REAL", sd::Kind::Real);
    nb::enum_<sd::Mode>(m, "Mode").value("ROWS", sd::Mode::Rows).value("DENSE", sd::Mode::Dense).value("DEPTHWISE", sd::Mode::Depthwise).value("FLOAT", sd::Mode::Float);
    nb::class_<sd::Neuron>(m, "Neuron").def(nb::init<>());
    m.def("lif", &lif, "leak"_a, "parametric"_a, "threshold"_a, "rest"_a, "hard_reset"_a, "decay_input"_a);
    m.def("integer", &integer, "levels"_a, "half_up"_a);
    nb::class_<sd::Linear>(m, "Linear")
        .def(nb::init<>())
        .def_rw("source", &sd::Linear::in)
        .def_rw("residual", &sd::Linear::residual)
        .def_rw("real", &sd::Linear::real)
        .def_rw("spikes", &sd::Linear::spikes)
        .def_rw("kernel_h", &sd::Linear::kernel_h)
        .def_rw("kernel_w", &sd::Linear::kernel_w)
        .def_rw("step", &sd::Linear::step)
        .def_rw("pad", &sd::Linear::pad)
        .def_rw("levels", &sd::Linear::levels)
        .def_rw("mode", &sd::Linear::mode)
        .def_rw("neuron", &sd::Linear::neuron);
    nb::class_<sd::Engine>(m, "Engine")
        .def(nb::init<const std::string&, int>(), "isa"_a, "time_steps"_a)
        .def("add_slot", &sd::Engine::add_slot, "kind"_a, "steps"_a, "height"_a, "width"_a, "channels"_a)
        .def("image", &sd::Engine::image)
        .def("linear", [](sd::Engine& e, const sd::Linear& layer, const Array<int16_t>& weight, const Array<float>& scale,
                          const Array<float>& bias) { e.linear(layer, view(weight), view(scale), view(bias)); })
        .def("wide_linear", [](sd::Engine& e, const sd::Linear& layer, const Array<int32_t>& weight, const Array<float>& scale,
                               const Array<float>& bias) { e.wide_linear(layer, view(weight), view(scale), view(bias)); })
        .def("float_linear", [](sd::Engine& e, const sd::Linear& layer, const Array<float>& weight, const Array<float>& scale,
                                const Array<float>& bias) { e.float_linear(layer, view(weight), view(scale), view(bias)); })
        .def("fire", &sd::Engine::fire)
        .def("pool", &sd::Engine::pool)
        .def("masked_attention", &sd::Engine::masked_attention)
        .def("pooled_attention", &sd::Engine::pooled_attention)
        .def("linear_attention", &sd::Engine::linear_attention)
        .def("space_mean", &sd::Engine::space_mean)
        .def("head", [](sd::Engine& e, int in, int out, float unit, const Array<float>& weight, const Array<float>& bias) {
            e.head(in, out, unit, view(weight), view(bias));
        })
        .def("time_mean", &sd::Engine::time_mean)
        .def("sum", &sd::Engine::sum)
        .def("finish", &sd::Engine::finish, "output"_a, "keep"_a)
        .def("run", &run_sample, "x"_a, "threads"_a)
        .def("read", &read_map, "slot"_a)
        .def_prop_ro("seconds", &sd::Engine::seconds, "time of each operation in the last run")
        .def_prop_ro("memory", &sd::Engine::memory, "bytes of all maps");
    bind_training(m);
    bind_training_layers(m);
}
