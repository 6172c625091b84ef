// Weight layers: convolutions and linear layers of every kind.
#include <algorithm>
#include <cstdlib>
#include <type_traits>

#include "operations.h"

namespace sd {

namespace {

/// Inputs that a tile of positions may gather at once, over all time steps.
constexpr size_t MOST_GATHERED = size_t(1) << 24;

/// Weight is int8_t or int16_t on spikes, float on real values or the values of counts.
template <class Weight> struct WeightLayer : Operation {
    Linear layer;
    Window window;
    Epilogue epilogue;
    int blocks, channels_in, channels_out;
    std::vector<Weight> weights;
    std::vector<int32_t> filters;    // grouped weights on counts
    std::vector<int> first_in;       // grouped: the first input of each output
    std::vector<float> scale, bias, values;
    bool one_filter_each = false;    // a depthwise layer on counts, with the kernel of its own
    static constexpr bool REAL = std::is_same_v<Weight, float>, BYTES = std::is_same_v<Weight, int8_t>;

    void run(Engine& engine) override {
        Epilogue e = epilogue;
        e.scale = scale.data(), e.bias = bias.data();
        e.residual = engine.at<const float>(layer.residual);
        e.real = engine.at<float>(layer.real);
        e.spikes = engine.at<uint8_t>(layer.spikes);
        e.before = engine.at<const float>(layer.spiking.before), e.after = engine.at<float>(layer.spiking.after);
        const float* real = REAL ? real_input(engine) : nullptr;
        each_tile(engine, window.positions(), tile_size(window.positions(), engine.threads(), largest_tile()),
                  [&](int first, int last, int thread) { part(engine, real, e, first, last, thread); });
    }

    bool grouped() const { return layer.groups > 1 || layer.mode == Mode::Grouped; }

    int largest_tile() const {
        const size_t gathered = size_t(window.steps) * window.rows();
        return int(std::clamp<size_t>(MOST_GATHERED / gathered, 1, 128));
    }

    /// The input as real values.
    const float* real_input(Engine& engine) {
        const Slot& from = engine.slot(layer.in);
        if (from.kind == Kind::Real) return engine.at<float>(layer.in);
        values.resize(from.values());
        const uint8_t* counts = engine.at<uint8_t>(layer.in);
        for (size_t i = 0; i < values.size(); ++i) values[i] = float(counts[i]) * from.unit;
        return values.data();
    }

    void part(Engine& engine, const float* real, const Epilogue& e, int first, int last, int thread) {
        const Kernels& k = engine.kernels();
        const bool grouped = this->grouped();
        const size_t bytes = grouped                    ? size_t(4) * window.steps * BLOCK
                             : layer.mode == Mode::Rows ? rows_scratch(window, last - first)
                                                        : dense_scratch(window, last - first);
        void* scratch = engine.scratch(thread, bytes);
        if constexpr (REAL) {
            if (grouped) k.grouped_f32(window, real, weights.data(), e, first, last, scratch);
            else k.dense_f32(window, real, weights.data(), blocks, e, first, last, scratch);
        } else {
            const uint8_t* in = engine.at<uint8_t>(layer.in);
            if constexpr (BYTES) {
                if (one_filter_each) return k.depthwise_s8(window, in, weights.data(), e, first, last, scratch);
                (layer.mode == Mode::Rows ? k.rows_s8 : k.dense_s8)(window, in, weights.data(), blocks, e, first, last, scratch);
            } else if (layer.mode == Mode::Rows) k.rows(window, in, weights.data(), blocks, e, first, last, scratch);
            else if (layer.mode == Mode::Dense) k.dense_u8(window, in, weights.data(), blocks, e, first, last, scratch);
            else if (one_filter_each) k.depthwise(window, in, weights.data(), e, first, last, scratch);
            else k.grouped_u8(window, in, filters.data(), e, first, last, scratch);
        }
    }

    /// Weights [out][in / groups][kh][kw] into the order of the kernel.
    void pack(const Weight* from) {
        const int taps = window.y.kernel * window.x.kernel;
        const bool counted = layer.mode == Mode::Grouped && !one_filter_each;
        if (counted) filters.assign(packed_size(), 0);
        else weights.assign(packed_size(), Weight(0));
        for (int o = 0; o < channels_out; ++o)
            for (int i = 0; i < window.depth; ++i)
                for (int tap = 0; tap < taps; ++tap, ++from)
                    if (counted) filters[place(o, i, tap)] = int32_t(*from);
                    else weights[place(o, i, tap)] = *from;
        if (BYTES && layer.mode == Mode::Rows)   // two neighbours as one number: what the first borrows
            for (size_t i = 0; i < weights.size(); i += 2) weights[i + 1] -= weights[i] < 0;
    }

    size_t packed_size() const {
        const size_t rows = window.rows(), taps = size_t(window.y.kernel) * window.x.kernel;
        if (one_filter_each) return size_t(window.y.kernel) * window.stride_in * taps_per_row();
        if (grouped()) return taps * window.depth * epilogue.stride;
        if (layer.mode == Mode::Rows) return blocks * (rows + 1) * BLOCK;
        if (layer.mode == Mode::Dense) return blocks * together(rows) * AT_ONCE * BLOCK;
        return blocks * rows * BLOCK;
    }

    size_t place(int o, int i, int tap) const {
        const size_t rows = window.rows(), row = size_t(tap) * window.taken + i, block = o / BLOCK, column = o % BLOCK;
        if (one_filter_each) {
            const int y = tap / window.x.kernel, x = tap % window.x.kernel;
            if (BYTES) return (size_t(y) * taps_per_row() + x / 2 * 2) * window.stride_in + filter_place(o) + x % 2;
            return ((size_t(y) * (taps_per_row() / 2) + x / 2) * window.stride_in + o) * 2 + x % 2;
        }
        if (grouped()) return (size_t(tap) * window.depth + i) * epilogue.stride + o;
        if (layer.mode == Mode::Rows)
            return (block * (rows + 1) + row) * BLOCK + column_order(int(column));
        if (layer.mode == Mode::Dense)
            return ((block * together(rows) + row / AT_ONCE) * BLOCK + column) * AT_ONCE + row % AT_ONCE;
        return (block * rows + row) * BLOCK + column;
    }

    /// Rows of weights are multiplied so many at a time, and these are so many times.
    static constexpr size_t AT_ONCE = BYTES ? 4 : 2;
    static size_t together(size_t rows) { return (rows + AT_ONCE - 1) / AT_ONCE; }

    /// Of a depthwise filter, whose weights lie in pairs.
    size_t taps_per_row() const { return (window.x.kernel + 1) / 2 * 2; }

    /// Which inputs each output reads.
    void group() {
        window.depth = channels_in / layer.groups;
        const int outputs = channels_out / layer.groups;   // of a group
        first_in.assign(epilogue.stride, 0);
        for (int o = 0; o < channels_out; ++o) first_in[o] = o / outputs * window.depth;
        window.first_in = first_in.data();
        window.own_channel = window.depth == 1 && outputs == 1;
        one_filter_each = window.own_channel && layer.mode == Mode::Grouped && window.y.plain() && window.x.plain();
    }
};

struct Fire : Operation {
    int in, out;
    Spiking spiking;

    void run(Engine& engine) override {
        const Slot &from = engine.slot(in), &to = engine.slot(out);
        Epilogue e;
        e.spikes = engine.at<uint8_t>(out);
        e.neuron = spiking.neuron;
        e.before = engine.at<const float>(spiking.before), e.after = engine.at<float>(spiking.after);
        e.real_steps = from.steps;
        e.spike_steps = to.steps;
        e.positions = to.positions();
        e.stride = to.stride;
        each_tile(engine, e.positions, tile_size(e.positions, engine.threads(), 256), [&](int first, int last, int) {
            engine.kernels().fire(engine.at<float>(in), from.steps, e, first, last);
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

/// Whether no sum of a channel leaves 16 bits, whatever the counts. weight: [channels][count].
bool sums_fit_16_bits(const int8_t* weight, size_t count, int channels, int levels) {
    for (int c = 0; c < channels; ++c) {
        int64_t high = 0, low = 0;
        for (size_t i = 0; i < count; ++i, ++weight) (*weight > 0 ? high : low) += *weight;
        if (high * levels > 32767 || low * levels < -32768) return false;
    }
    return true;
}

/// The largest size of a weight, at least 1.
int largest_of(View<int8_t> weight) {
    int largest = 1;
    for (size_t i = 0; i < weight.size; ++i) largest = std::max(largest, std::abs(int(weight.data[i])));
    return largest;
}

/// An axis of a layer with the sizes of its maps.
Axis over(Axis axis, int size, int out) {
    constexpr int MOST = 1 << 12;
    for (int value : {axis.kernel, axis.stride, axis.dilation, axis.spread})
        expect_same(value >= 1 && value <= 255, "a window is out of range");
    expect_same(axis.pad >= 0 && axis.pad <= MOST, "padding is out of range");
    axis.size = size, axis.out = out;
    return axis;
}

}  // namespace

void Engine::linear(const Linear& layer, View<int16_t> weight, View<float> scale, View<float> bias) {
    expect_same(layer.mode != Mode::Float, "integer weights for a float layer");
    expect(layer.in, Kind::Spikes);
    add_layer(layer, weight, scale, bias);
}

void Engine::byte_linear(const Linear& layer, View<int8_t> weight, View<float> scale, View<float> bias) {
    for (size_t i = 0; i < weight.size; ++i) expect_same(weight.data[i] >= -127, "weights of bytes are -127 or more");
    const bool multiplied = layer.mode == Mode::Dense && layer.levels <= kernels_->dense_levels
                            && layer.levels * largest_of(weight) <= kernels_->dense_product;
    const bool one_each = layer.groups == expect(layer.in, Kind::Spikes).channels && layer.groups == int(scale.size);
    const bool filtered = layer.mode == Mode::Grouped && one_each && layer.y.plain() && layer.x.plain() && kernels_->depthwise_s8
                          && weight.size % scale.size == 0
                          && sums_fit_16_bits(weight.data, weight.size / scale.size, int(scale.size), layer.levels);
    if (layer.mode == Mode::Rows || multiplied || filtered) {
        add_layer(layer, weight, scale, bias);
        return;
    }
    const std::vector<int16_t> words(weight.data, weight.data + weight.size);
    linear(layer, View<int16_t>{words.data(), words.size()}, scale, bias);
}

void Engine::float_linear(const Linear& layer, View<float> weight, View<float> scale, View<float> bias) {
    expect_same(layer.mode == Mode::Float, "float weights for an integer layer");
    expect_same(layer.in >= 0 && layer.in < int(slots_.size()), "a layer reads a map that does not exist");
    expect_same(layer.groups == 1 || !slots_[layer.in].packed(), "a grouped layer reads no packed map");
    add_layer(layer, weight, scale, bias);
}

/// The maps that a layer writes, and what its epilogue takes from them.
void Engine::check_results(const Linear& layer, int height, int width, int channels, Epilogue& e) const {
    auto fits = [&](const Slot& slot) {
        return slot.height == height && slot.width == width && slot.channels == channels;
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
        const Slot& spikes = expect(layer.spikes, Kind::Spikes);
        expect_same(fits(spikes), "the spikes have another shape");
        check_spiking(layer.spiking, Slot{Kind::Real, e.real_steps, height, width, channels, spikes.stride}, spikes);
        e.spike_steps = spikes.steps;
    }
}

template <class Weight>
void Engine::add_layer(const Linear& layer, View<Weight> weight, View<float> scale, View<float> bias) {
    const Slot& in = slots_[layer.in];
    const int result = layer.real >= 0 ? layer.real : layer.spikes, channels = int(scale.size);
    const Slot& out = any(result);
    auto made = std::make_unique<WeightLayer<Weight>>();
    made->layer = layer;
    Window& w = made->window;
    w.y = over(layer.y, in.height, out.height), w.x = over(layer.x, in.width, out.width);
    w.steps = in.steps, w.stride_in = in.stride, w.levels = layer.levels;
    w.taken = layer.mode == Mode::Dense ? in.channels : in.stride;   // what is zero needs no product
    expect_same(layer.levels >= 1 && layer.levels <= 255, "counts go to 255");
    expect_same(layer.groups >= 1 && in.channels % layer.groups == 0 && channels % layer.groups == 0, "groups do not divide the channels");
    expect_same(layer.groups == 1 || layer.mode == Mode::Grouped || layer.mode == Mode::Float, "groups have a mode of their own");
    expect_same(double(in.steps) * w.rows() <= MOST_GATHERED, "too many rows of weights and time steps");
    if (layer.mode == Mode::Rows)
        expect_same(w.rows() < 65535 && layer.levels < 16 && (layer.levels > 1 ? w.steps : (w.steps + 3) / 4) <= ROW_GROUPS,
                    "rows are added for counts below 16 and a bounded number of rows and steps; use dense");
    const size_t taps = size_t(w.y.kernel) * w.x.kernel, depth = in.channels / layer.groups;
    expect_same(weight.size == taps * depth * channels && bias.size == scale.size, "weights, scale and bias disagree");
    Epilogue& e = made->epilogue;
    e.positions = w.positions(), e.stride = out.stride, e.sum_steps = e.real_steps = in.steps, e.neuron = layer.spiking.neuron;
    check_results(layer, out.height, out.width, channels, e);
    made->blocks = (e.stride + BLOCK - 1) / BLOCK, made->channels_in = in.channels, made->channels_out = channels;
    made->scale.assign(e.stride, 0.0f), made->bias.assign(e.stride, 0.0f);
    std::copy(scale.data, scale.data + channels, made->scale.begin());
    std::copy(bias.data, bias.data + channels, made->bias.begin());
    made->group();
    made->pack(weight.data);
    if constexpr (std::is_same_v<Weight, int16_t>)
        w.paired = fits_in_pairs(weight.data, weight.size / channels, channels);
    if constexpr (std::is_same_v<Weight, int8_t>) {
        w.fits16 = sums_fit_16_bits(weight.data, weight.size / channels, channels, layer.levels);
        const int largest = largest_of(weight), together = 127 / largest;
        w.together = together >= 4 ? 4 : together >= 2 ? 2 : 1;
        w.unseen = 32767 / (2 * layer.levels * largest);
    }
    made->reads = {layer.in, layer.residual, layer.spiking.before};
    made->writes = {layer.real, layer.spikes, layer.spiking.after};
    append(std::move(made));
}

void Engine::fire(int in, int out, const Spiking& spiking) {
    const Slot &from = expect(in, Kind::Real), &to = expect(out, Kind::Spikes);
    check_spiking(spiking, from, to);
    expect_same(to.positions() == from.positions(), "spikes of another shape");
    auto made = std::make_unique<Fire>();
    made->in = in, made->out = out, made->spiking = spiking;
    made->reads = {in, spiking.before}, made->writes = {out, spiking.after};
    append(std::move(made));
}

}  // namespace sd
