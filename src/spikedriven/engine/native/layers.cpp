// The operations that hold weights, or make and pool spikes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "operations.h"

namespace sd {

namespace {

/// Image [steps][channels][height][width] -> 16-bit numbers, channels last, with one power of two for the sample.
struct Quantize : Operation {
    int out;
    explicit Quantize(int out) : out(out) { writes = {out}; }

    void run(Engine& engine) override {
        const Slot& slot = engine.slot(out);
        const size_t plane = slot.positions(), image = plane * slot.channels;
        float largest = 0;
        for (size_t i = 0; i < image * slot.steps; ++i) largest = std::max(largest, std::fabs(engine.input()[i]));
        int exponent = 0;
        if (largest > 0) std::frexp(largest, &exponent);
        exponent = std::max(exponent, -100);
        engine.power = std::ldexp(1.0f, exponent - 14);
        const float factor = std::ldexp(1.0f, 14 - exponent);
        int16_t* to = engine.at<int16_t>(out);
        engine.threads().each(slot.steps * slot.height, [&](int row, int) {
            const int t = row / slot.height, y = row % slot.height;
            for (int x = 0; x < slot.width; ++x)
                for (int c = 0; c < slot.channels; ++c) {
                    const float value = engine.input()[t * image + c * plane + y * slot.width + x];
                    to[((size_t(t) * slot.height + y) * slot.width + x) * slot.stride + c] =
                        int16_t(std::nearbyint(value * factor));
                }
        });
    }
};

struct WeightLayer : Operation {
    Linear layer;
    Window window;
    Epilogue epilogue;
    int blocks;
    bool dynamic;   // the input is the image, whose unit is known at run time
    std::vector<int16_t> weights;
    std::vector<float> scale, scaled, bias;

    void run(Engine& engine) override {
        Epilogue e = epilogue;
        if (dynamic)
            for (size_t c = 0; c < scale.size(); ++c) scaled[c] = scale[c] * engine.power;
        e.scale = dynamic ? scaled.data() : scale.data();
        e.bias = bias.data();
        e.residual = engine.at<const float>(layer.residual);
        e.real = engine.at<float>(layer.real);
        e.fixed = engine.at<int16_t>(layer.fixed);
        e.spikes = engine.at<uint8_t>(layer.spikes);
        const int tile = tile_size(window.positions(), engine.threads().size(), 128);
        each_tile(engine, window.positions(), tile, [&](int first, int last, int thread) { part(engine, e, first, last, thread); });
    }

    void part(Engine& engine, const Epilogue& e, int first, int last, int thread) {
        const Kernels& k = engine.kernels();
        const size_t bytes = layer.mode == Mode::Rows    ? rows_scratch(window, last - first)
                             : layer.mode == Mode::Dense ? dense_scratch(window, last - first)
                                                         : size_t(4) * window.steps * BLOCK;
        void* scratch = engine.scratch(thread, bytes);
        if (engine.slot(layer.in).kind == Kind::Fixed)
            return k.dense_i16(window, engine.at<int16_t>(layer.in), weights.data(), blocks, e, first, last, scratch);
        const uint8_t* in = engine.at<uint8_t>(layer.in);
        if (layer.mode == Mode::Rows) return k.rows(window, in, weights.data(), blocks, e, first, last, scratch);
        if (layer.mode == Mode::Dense) return k.dense_u8(window, in, weights.data(), blocks, e, first, last, scratch);
        k.depthwise(window, in, weights.data(), e, first, last, scratch);
    }

    /// Weights [out][in][kh][kw] into the order of the kernel.
    void pack(const int16_t* from, int channels_in, int channels_out) {
        const int taps = window.kernel_h * window.kernel_w, rows = window.rows(), pairs = (rows + 1) / 2;
        if (layer.mode == Mode::Depthwise) weights.assign(size_t(taps) * window.stride_in, 0);
        if (layer.mode == Mode::Dense) weights.assign(size_t(blocks) * pairs * 2 * BLOCK, 0);
        if (layer.mode == Mode::Rows) weights.assign(size_t(blocks) * (rows + 1) * BLOCK, 0);
        for (int o = 0; o < channels_out; ++o)
            for (int i = 0; i < (layer.mode == Mode::Depthwise ? 1 : channels_in); ++i)
                for (int tap = 0; tap < taps; ++tap) {
                    const int16_t w = *from++;
                    const int row = tap * window.stride_in + i, block = o / BLOCK, column = o % BLOCK;
                    if (layer.mode == Mode::Depthwise) weights[size_t(tap) * window.stride_in + o] = w;
                    if (layer.mode == Mode::Dense)
                        weights[((size_t(block) * pairs + row / 2) * BLOCK + column) * 2 + row % 2] = w;
                    if (layer.mode == Mode::Rows)
                        weights[(size_t(block) * (rows + 1) + row) * BLOCK + column_order(column)] = w;
                }
    }
};

struct Fire : Operation {
    int in, out;
    Neuron neuron;

    void run(Engine& engine) override {
        const Slot &from = engine.slot(in), &to = engine.slot(out);
        Epilogue e;
        e.spikes = engine.at<uint8_t>(out);
        e.neuron = neuron;
        e.real_steps = from.steps;
        e.spike_steps = to.steps;
        e.positions = to.positions();
        e.stride = to.stride;
        each_tile(engine, e.positions, tile_size(e.positions, engine.threads().size(), 256), [&](int first, int last, int) {
            engine.kernels().fire(engine.at<float>(in), from.steps, e, first, last);
        });
    }
};

struct Pool : Operation {
    int in, out;
    Window window;

    void run(Engine& engine) override {
        const int rows = window.steps * window.out_height;
        each_tile(engine, rows, tile_size(rows, engine.threads().size(), 8), [&](int first, int last, int) {
            if (engine.slot(in).kind == Kind::Real)
                engine.kernels().max_f32(window, engine.at<float>(in), engine.at<float>(out), first, last);
            else
                engine.kernels().max_u8(window, engine.at<uint8_t>(in), engine.at<uint8_t>(out), first, last);
        });
    }
};

int out_size(int size, int kernel, int step, int pad) { return (size + 2 * pad - kernel) / step + 1; }

Window make_window(const Slot& in, int kernel_h, int kernel_w, int step, int pad, int levels) {
    if (kernel_h < 1 || kernel_w < 1 || kernel_h > 255 || kernel_w > 255 || step < 1 || pad < 0 || pad > 255
        || in.height + 2 * pad < kernel_h || in.width + 2 * pad < kernel_w)
        throw std::invalid_argument("engine: a window does not fit its map");
    Window w;
    w.steps = in.steps, w.height = in.height, w.width = in.width, w.stride_in = in.stride;
    w.kernel_h = kernel_h, w.kernel_w = kernel_w, w.step = step, w.pad = pad, w.levels = levels;
    w.out_height = out_size(in.height, kernel_h, step, pad);
    w.out_width = out_size(in.width, kernel_w, step, pad);
    return w;
}

void expect_same(bool same, const char* what) {
    if (!same) throw std::invalid_argument(std::string("engine: ") + what);
}

}  // namespace

void Engine::quantize(int out) {
    const Slot& slot = expect(out, Kind::Fixed);
    expect_same(out == 0 && slot.stride == slot.channels, "the image must be the first map");
    append(std::make_unique<Quantize>(out));
}

void Engine::linear(const Linear& layer, View<int16_t> weight, View<float> scale, View<float> bias) {
    const bool fixed_in = layer.in >= 0 && layer.in < int(slots_.size()) && slots_[layer.in].kind == Kind::Fixed;
    const Slot& in = expect(layer.in, fixed_in ? Kind::Fixed : Kind::Spikes);
    expect_same(!fixed_in || layer.mode == Mode::Dense, "a layer on real inputs is dense");
    expect_same(layer.levels >= 1 && layer.levels <= 255 && layer.shift >= 0 && layer.shift < 31, "levels or shift");
    auto made = std::make_unique<WeightLayer>();
    made->layer = layer;
    made->dynamic = fixed_in && layer.in == 0;
    made->window = make_window(in, layer.kernel_h, layer.kernel_w, layer.step, layer.pad, layer.levels);
    const Window& w = made->window;
    expect_same(w.rows() < 65535, "more than 65534 rows");
    const int channels = int(scale.size), stride = (channels + 31) / 32 * 32;
    const size_t taps = size_t(w.kernel_h) * w.kernel_w, depth = layer.mode == Mode::Depthwise ? 1 : in.channels;
    expect_same(weight.size == taps * depth * channels && bias.size == scale.size, "weights, scale and bias disagree");
    expect_same(layer.mode != Mode::Depthwise || channels == in.channels, "one filter per channel");
    Epilogue& e = made->epilogue;
    e.positions = w.positions(), e.stride = stride, e.sum_steps = in.steps, e.shift = layer.shift, e.neuron = layer.neuron;
    auto fits = [&](const Slot& slot) {
        return slot.height == w.out_height && slot.width == w.out_width && slot.channels == channels && slot.stride == stride;
    };
    e.real_steps = in.steps;
    if (layer.residual >= 0) {
        const Slot& residual = expect(layer.residual, Kind::Real);
        expect_same(fits(residual), "the residual has another shape");
        e.residual_steps = residual.steps;
        e.real_steps = std::max(e.real_steps, residual.steps);
    }
    Slot sums{Kind::Real, e.real_steps, w.out_height, w.out_width, channels, stride};
    if (layer.real >= 0) expect_same(fits(expect(layer.real, Kind::Real)) && slots_[layer.real].steps == e.real_steps, "the output has another shape");
    if (layer.fixed >= 0) expect_same(fits(expect(layer.fixed, Kind::Fixed)) && slots_[layer.fixed].steps == in.steps, "the output has another shape");
    if (layer.spikes >= 0) {
        expect_same(fits(expect(layer.spikes, Kind::Spikes)), "the spikes have another shape");
        check_neuron(layer.neuron, sums, slots_[layer.spikes]);
        e.spike_steps = slots_[layer.spikes].steps;
    }
    expect_same(layer.real >= 0 || layer.fixed >= 0 || layer.spikes >= 0, "a layer without an output");
    made->blocks = (stride + BLOCK - 1) / BLOCK;
    made->scale.assign(stride, 0.0f), made->bias.assign(stride, 0.0f), made->scaled.assign(stride, 0.0f);
    std::copy(scale.data, scale.data + channels, made->scale.begin());
    std::copy(bias.data, bias.data + channels, made->bias.begin());
    made->pack(weight.data, in.channels, channels);
    made->reads = {layer.in, layer.residual};
    made->writes = {layer.real, layer.fixed, layer.spikes};
    append(std::move(made));
}

void Engine::fire(int in, int out, const Neuron& neuron) {
    check_neuron(neuron, expect(in, Kind::Real), expect(out, Kind::Spikes));
    auto made = std::make_unique<Fire>();
    made->in = in, made->out = out, made->neuron = neuron;
    made->reads = {in}, made->writes = {out};
    append(std::move(made));
}

void Engine::pool(int in, int out, int kernel, int step, int pad) {
    const bool real = in >= 0 && in < int(slots_.size()) && slots_[in].kind == Kind::Real;
    const Slot& from = expect(in, real ? Kind::Real : Kind::Spikes);
    const Slot& to = expect(out, from.kind);
    auto made = std::make_unique<Pool>();
    expect_same(2 * pad <= kernel, "the padding of a pool is at most half its kernel");
    made->in = in, made->out = out, made->window = make_window(from, kernel, kernel, step, pad, 1);
    const Window& w = made->window;
    expect_same(to.height == w.out_height && to.width == w.out_width && to.stride == from.stride && to.steps == from.steps,
                "the pooled map has another shape");
    made->reads = {in}, made->writes = {out};
    append(std::move(made));
}

}  // namespace sd
