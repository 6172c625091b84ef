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

sd::Neuron integer(int levels, bool half_up, float threshold) {
    sd::Neuron n;
    n.kind = sd::NeuronKind::Integer;
    n.levels = float(levels), n.half_up = half_up, n.threshold = threshold;
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

using Strided = nb::ndarray<const float, nb::ndim<4>, nb::device::cpu>;

/// Inputs as views of [steps, height, width, channels]. Python may end a long run between two operations.
void run_sample(sd::Engine& engine, const std::vector<Strided>& inputs, int threads) {
    std::vector<sd::Input> views;
    for (size_t i = 0; i < inputs.size(); ++i) {
        const Strided& x = inputs[i];
        const sd::Slot& slot = engine.input_slot(i);
        const size_t shape[4] = {size_t(slot.steps), size_t(slot.height), size_t(slot.width), size_t(slot.channels)};
        sd::Input view{x.data(), {}};
        for (int axis = 0; axis < 4; ++axis) {
            if (x.shape(axis) != shape[axis]) throw std::invalid_argument("engine: an input has another shape than the program's");
            view.strides[axis] = x.stride(axis);
        }
        views.push_back(view);
    }
    if (views.size() != engine.input_count()) throw std::invalid_argument("engine: another number of inputs");
    nb::gil_scoped_release release;
    engine.run(views, threads, [] {
        nb::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals()) throw nb::python_error();
    });
}

sd::Spiking spiking(const sd::Neuron& neuron, int before, int after) { return {neuron, before, after}; }

sd::Axis axis(int kernel, int stride, int pad, int dilation, int spread) {
    sd::Axis made;
    made.kernel = kernel, made.stride = stride, made.pad = pad, made.dilation = dilation, made.spread = spread;
    return made;
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The compiled engine. Use spikedriven.engine; this interface may change.";
    m.def("cpu_features", &sd::cpu_features, "Instruction-set extensions of this CPU, of those that the kernels ask for.");
    m.def("instruction_sets", &instruction_sets, "Kernels that this CPU can run, the widest first; the last is 'portable'.");

    nb::enum_<sd::Kind>(m, "Kind").value("SPIKES", sd::Kind::Spikes).value("REAL", sd::Kind::Real);
    nb::enum_<sd::Mode>(m, "Mode").value("ROWS", sd::Mode::Rows).value("DENSE", sd::Mode::Dense).value("GROUPED", sd::Mode::Grouped).value("FLOAT", sd::Mode::Float);
    nb::class_<sd::Neuron>(m, "Neuron").def(nb::init<>());
    m.def("lif", &lif, "leak"_a, "parametric"_a, "threshold"_a, "rest"_a, "hard_reset"_a, "decay_input"_a);
    m.def("integer", &integer, "levels"_a, "half_up"_a, "threshold"_a = 1.0f);
    nb::class_<sd::Spiking>(m, "Spiking");
    m.def("spiking", &spiking, "neuron"_a, "before"_a, "after"_a);
    nb::class_<sd::Axis>(m, "Axis");
    m.def("axis", &axis, "kernel"_a, "stride"_a, "pad"_a, "dilation"_a, "spread"_a);
    nb::enum_<sd::Pair>(m, "Pair").value("SUM", sd::Pair::Sum).value("PRODUCT", sd::Pair::Product).value("QUOTIENT", sd::Pair::Quotient);
    nb::class_<sd::Linear>(m, "Linear")
        .def(nb::init<>())
        .def_rw("source", &sd::Linear::in)
        .def_rw("residual", &sd::Linear::residual)
        .def_rw("real", &sd::Linear::real)
        .def_rw("spikes", &sd::Linear::spikes)
        .def_rw("y", &sd::Linear::y)
        .def_rw("x", &sd::Linear::x)
        .def_rw("groups", &sd::Linear::groups)
        .def_rw("levels", &sd::Linear::levels)
        .def_rw("mode", &sd::Linear::mode)
        .def_rw("spiking", &sd::Linear::spiking);
    nb::class_<sd::Engine>(m, "Engine")
        .def(nb::init<const std::string&, int>(), "isa"_a, "time_steps"_a)
        .def("add_slot", &sd::Engine::add_slot, "kind"_a, "steps"_a, "height"_a, "width"_a, "channels"_a,
             "unit"_a, "packed"_a)
        .def("image", &sd::Engine::image)
        .def("constant", [](sd::Engine& e, int out, const Array<float>& value) { e.constant(out, view(value)); })
        .def("linear", [](sd::Engine& e, const sd::Linear& layer, const Array<int16_t>& weight, const Array<float>& scale,
                          const Array<float>& bias) { e.linear(layer, view(weight), view(scale), view(bias)); })
        .def("byte_linear", [](sd::Engine& e, const sd::Linear& layer, const Array<int8_t>& weight, const Array<float>& scale,
                               const Array<float>& bias) { e.byte_linear(layer, view(weight), view(scale), view(bias)); })
        .def("float_linear", [](sd::Engine& e, const sd::Linear& layer, const Array<float>& weight, const Array<float>& scale,
                                const Array<float>& bias) { e.float_linear(layer, view(weight), view(scale), view(bias)); })
        .def("fire", &sd::Engine::fire)
        .def("max_pool", [](sd::Engine& e, int in, int out, const Array<int32_t>& rows, const Array<int32_t>& columns) {
            e.max_pool(in, out, view(rows), view(columns));
        })
        .def("mean_pool", [](sd::Engine& e, int in, int out, const Array<int32_t>& rows, const Array<int32_t>& columns) {
            e.mean_pool(in, out, view(rows), view(columns));
        })
        .def("masked_attention", &sd::Engine::masked_attention)
        .def("pooled_attention", &sd::Engine::pooled_attention)
        .def("linear_attention", &sd::Engine::linear_attention)
        .def("head", [](sd::Engine& e, int in, int out, const Array<float>& weight, const Array<float>& bias) {
            e.head(in, out, view(weight), view(bias));
        })
        .def("time_mean", &sd::Engine::time_mean)
        .def("pair", &sd::Engine::pair)
        .def("relu", &sd::Engine::relu)
        .def("affine", [](sd::Engine& e, int in, int out, const Array<float>& scale, const Array<float>& shift) {
            e.affine(in, out, view(scale), view(shift));
        })
        .def("pick", [](sd::Engine& e, int in, int out, const Array<int32_t>& steps, const Array<int32_t>& rows,
                        const Array<int32_t>& columns, const Array<int32_t>& channels) {
            e.pick(in, out, view(steps), view(rows), view(columns), view(channels));
        })
        .def("rearrange", [](sd::Engine& e, int in, int out, const Array<int32_t>& index) { e.rearrange(in, out, view(index)); })
        .def("concat", &sd::Engine::concat)
        .def("resize", [](sd::Engine& e, int in, int out, const Array<int32_t>& rows, const Array<float>& row_weights,
                          const Array<int32_t>& columns, const Array<float>& column_weights) {
            e.resize(in, out, view(rows), view(row_weights), view(columns), view(column_weights));
        })
        .def("finish", &sd::Engine::finish, "outputs"_a, "keep"_a)
        .def("run", &run_sample, "inputs"_a, "threads"_a)
        .def("read", &read_map, "slot"_a)
        .def_prop_ro("seconds", &sd::Engine::seconds, "processor time of each operation in the last run, on the calling thread")
        .def_prop_ro("memory", &sd::Engine::memory, "bytes of all maps");
    bind_training(m);
    bind_training_layers(m);
}
