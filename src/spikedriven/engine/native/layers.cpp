// The operations that hold weights, or make and pool spikes.
#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <tuple>
#include <type_traits>

#include "operations.h"

namespace sd {

namespace {

/// Image [steps][channels][height][width] -> channels last.
struct Image : Operation {
    int out;
    explicit Image(int out) : out(out) { writes = {out}; }

    void run(Engine& engine) override {
        const Slot& slot = engine.slot(out);
        const size_t plane = slot.positions(), image = plane * slot.channels;
        float* to = engine.at<float>(out);
        engine.each(slot.steps * slot.height, [&](int row, int) {
            const float* from = engine.input() + row / slot.height * image + row % slot.height * size_t(slot.width);
            for (int x = 0; x < slot.width; ++x)
                for (int c = 0; c < slot.channels; ++c)
                    to[(size_t(row) * slot.width + x) * slot.stride + c] = from[c * plane + x];
        });
    }
};

/// Weight is int16_t or, wide, int32_t on spikes, float on real values.
template <class Weight> struct WeightLayer : Operation {
    Linear layer;
    Window window;
    Epilogue epilogue;
    int blocks;
    std::vector<Weight> weights;
    std::vector<float> scale, bias;
    static constexpr bool WIDE = std::is_same_v<Weight, int32_t>;

    void run(Engine& engine) override {
        Epilogue e = epilogue;
        e.scale = scale.data();
        e.bias = bias.data();
        e.residual = engine.at<const float>(layer.residual);
        e.real = engine.at<float>(layer.real);
        e.spikes = engine.at<uint8_t>(layer.spikes);
        const int tile = tile_size(window.positions(), engine.threads(), 128);
        each_tile(engine, window.positions(), tile,
                  [&](int first, int last, int thread) { part(engine, e, first, last, thread); });
    }

    void part(Engine& engine, const Epilogue& e, int first, int last, int thread) {
        const Kernels& k = engine.kernels();
        const size_t bytes = layer.mode == Mode::Rows        ? rows_scratch(window, last - first)
                             : layer.mode == Mode::Depthwise ? size_t(4) * window.steps * BLOCK
                                                             : dense_scratch(window, last - first);
        void* scratch = engine.scratch(thread, bytes);
        if constexpr (std::is_same_v<Weight, float>) {
            k.dense_f32(window, engine.at<float>(layer.in), weights.data(), blocks, e, first, last, scratch);
        } else {
            const uint8_t* in = engine.at<uint8_t>(layer.in);
            const auto [rows, dense, depthwise] = functions(k, Weight());
            if (layer.mode == Mode::Rows) rows(window, in, weights.data(), blocks, e, first, last, scratch);
            if (layer.mode == Mode::Dense) dense(window, in, weights.data(), blocks, e, first, last, scratch);
            if (layer.mode == Mode::Depthwise) depthwise(window, in, weights.data(), e, first, last, scratch);
        }
    }

    static auto functions(const Kernels& k, int16_t) { return std::tuple(k.rows, k.dense_u8, k.depthwise); }
    static auto functions(const Kernels& k, int32_t) { return std::tuple(k.rows_wide, k.dense_wide, k.depthwise_wide); }

    /// Weights [out][in][kh][kw] into the order of the kernel.
    void pack(const Weight* from, int channels_in, int channels_out) {
        const int taps = window.kernel_h * window.kernel_w;
        weights.assign(packed_size(), Weight(0));
        for (int o = 0; o < channels_out; ++o)
            for (int i = 0; i < (layer.mode == Mode::Depthwise ? 1 : channels_in); ++i)
                for (int tap = 0; tap < taps; ++tap) weights[place(o, i, tap)] = stored(*from++);
    }

    Weight stored(Weight weight) const {
        if constexpr (WIDE) return layer.mode == Mode::Rows ? weight : halves(weight);
        return weight;
    }

    size_t packed_size() const {
        const size_t rows = window.rows();
        if (layer.mode == Mode::Depthwise) return size_t(window.kernel_h) * window.stride_in * taps_per_row();
        if (layer.mode == Mode::Rows) return blocks * (rows + 1) * BLOCK;
        if (layer.mode == Mode::Dense && !WIDE) return blocks * ((rows + 1) / 2 * 2) * BLOCK;
        return blocks * rows * BLOCK;
    }

    size_t place(int o, int i, int tap) const {
        const size_t rows = window.rows(), row = size_t(tap) * window.stride_in + i, block = o / BLOCK, column = o % BLOCK;
        if (layer.mode == Mode::Depthwise) {
            const int y = tap / window.kernel_w, x = tap % window.kernel_w;
            if (WIDE) return (size_t(y) * window.kernel_w + x) * window.stride_in + o;
            return ((size_t(y) * (taps_per_row() / 2) + x / 2) * window.stride_in + o) * 2 + x % 2;
        }
        if (layer.mode == Mode::Rows)
            return (block * (rows + 1) + row) * BLOCK + (WIDE ? column : column_order(int(column)));
        if (layer.mode == Mode::Dense && !WIDE) return ((block * ((rows + 1) / 2) + row / 2) * BLOCK + column) * 2 + row % 2;
        return (block * rows + row) * BLOCK + column;
    }

    /// Of a depthwise filter; 16-bit weights lie in pairs.
    size_t taps_per_row() const { return WIDE ? window.kernel_w : (window.kernel_w + 1) / 2 * 2; }
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
        each_tile(engine, e.positions, tile_size(e.positions, engine.threads(), 256), [&](int first, int last, int) {
            engine.kernels().fire(engine.at<float>(in), from.steps, e, first, last);
        });
    }
};

struct Pool : Operation {
    int in, out;
    Window window;

    void run(Engine& engine) override {
        const int rows = window.steps * window.out_height;
        each_tile(engine, rows, tile_size(rows, engine.threads(), 8), [&](int first, int last, int) {
            if (engine.slot(in).kind == Kind::Real)
                engine.kernels().max_f32(window, engine.at<float>(in), engine.at<float>(out), first, last);
            else
                engine.kernels().max_u8(window, engine.at<uint8_t>(in), engine.at<uint8_t>(out), first, last);
        });
    }
};

/// Whether the sum of any two rows fits 16 bits. weight: [channels][count].
bool fits_in_pairs(const int16_t* weight, size_t count, int channels) {
    for (int c = 0; c < channels; ++c) {
        int first = 0, second = 0;
        for (size_t i = 0; i < count; ++i) {
            const int size = std::abs(int(*weight++));
            second = std::max(second, std::min(first, size));
            first = std::max(first, size);
        }
        if (first + second > 32767) return false;
    }
    return true;
}

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

void Engine::image(int out) {
    const Slot& slot = expect(out, Kind::Real);
    expect_same(out == 0 && slot.stride == slot.channels, "the image must be the first map");
    append(std::make_unique<Image>(out));
}

void Engine::linear(const Linear& layer, View<int16_t> weight, View<float> scale, View<float> bias) {
    expect_same(layer.mode != Mode::Float, "integer weights for a float layer");
    expect(layer.in, Kind::Spikes);
    add_layer(layer, weight, scale, bias);
}

void Engine::wide_linear(const Linear& layer, View<int32_t> weight, View<float> scale, View<float> bias) {
    expect_same(layer.mode != Mode::Float, "integer weights for a float layer");
    for (size_t i = 0; i < weight.size; ++i)
        expect_same(std::abs(double(weight.data[i])) <= WIDE_LIMIT, "wide weights have 23 bits");
    expect(layer.in, Kind::Spikes);
    add_layer(layer, weight, scale, bias);
}

void Engine::float_linear(const Linear& layer, View<float> weight, View<float> scale, View<float> bias) {
    expect_same(layer.mode == Mode::Float, "float weights for an integer layer");
    expect(layer.in, Kind::Real);
    add_layer(layer, weight, scale, bias);
}

template <class Weight>
void Engine::add_layer(const Linear& layer, View<Weight> weight, View<float> scale, View<float> bias) {
    const Slot& in = slots_[layer.in];
    expect_same(layer.levels >= 1 && layer.levels <= 255, "counts go to 255");
    auto made = std::make_unique<WeightLayer<Weight>>();
    made->layer = layer;
    made->window = make_window(in, layer.kernel_h, layer.kernel_w, layer.step, layer.pad, layer.levels);
    const Window& w = made->window;
    expect_same(w.rows() < 65535, "more than 65534 rows");
    expect_same(double(in.steps) * w.rows() <= 1 << 24, "too many rows of weights and time steps");
    if (layer.mode == Mode::Rows)
        expect_same(layer.levels < 16 && (layer.levels > 1 ? w.steps : (w.steps + 3) / 4) <= ROW_GROUPS,
                    "rows are added for counts below 16 and a bounded number of steps; use dense");
    const int channels = int(scale.size), stride = (channels + 31) / 32 * 32;
    const size_t taps = size_t(w.kernel_h) * w.kernel_w, depth = layer.mode == Mode::Depthwise ? 1 : in.channels;
    expect_same(weight.size == taps * depth * channels && bias.size == scale.size, "weights, scale and bias disagree");
    expect_same(layer.mode != Mode::Depthwise || channels == in.channels, "one filter per channel");
    Epilogue& e = made->epilogue;
    e.positions = w.positions(), e.stride = stride, e.sum_steps = e.real_steps = in.steps, e.neuron = layer.neuron;
    auto fits = [&](const Slot& slot) {
        return slot.height == w.out_height && slot.width == w.out_width && slot.channels == channels && slot.stride == stride;
    };
    if (layer.residual >= 0) {
        const Slot& residual = expect(layer.residual, Kind::Real);
        expect_same(fits(residual), "the residual has another shape");
        e.residual_steps = residual.steps;
        e.real_steps = std::max(e.real_steps, residual.steps);
    }
    if (layer.real >= 0)
        expect_same(fits(expect(layer.real, Kind::Real)) && slots_[layer.real].steps == e.real_steps, "the output has another shape");
    if (layer.spikes >= 0) {
        expect_same(fits(expect(layer.spikes, Kind::Spikes)), "the spikes have another shape");
        check_neuron(layer.neuron, Slot{Kind::Real, e.real_steps, w.out_height, w.out_width, channels, stride}, slots_[layer.spikes]);
        e.spike_steps = slots_[layer.spikes].steps;
    }
    expect_same(layer.real >= 0 || layer.spikes >= 0, "a layer without an output");
    made->blocks = (stride + BLOCK - 1) / BLOCK;
    made->scale.assign(stride, 0.0f), made->bias.assign(stride, 0.0f);
    std::copy(scale.data, scale.data + channels, made->scale.begin());
    std::copy(bias.data, bias.data + channels, made->bias.begin());
    made->pack(weight.data, in.channels, channels);
    if constexpr (std::is_same_v<Weight, int16_t>)
        made->window.paired = fits_in_pairs(weight.data, weight.size / channels, channels);
    made->reads = {layer.in, layer.residual};
    made->writes = {layer.real, layer.spikes};
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
    expect_same(to.height == w.out_height && to.width == w.out_width && to.channels == from.channels && to.steps == from.steps,
                "the pooled map has another shape");
    made->reads = {in}, made->writes = {out};
    append(std::move(made));
}

}  // namespace sd
