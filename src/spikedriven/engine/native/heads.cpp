// Means, sums and the classifier: a few real numbers, in float32 and in a fixed order.
#include <functional>
#include <stdexcept>

#include "operations.h"

namespace sd {

namespace {

void expect_same(bool same, const char* what) {
    if (!same) throw std::invalid_argument(std::string("engine: ") + what);
}

/// An operation that is one function of the engine.
struct Call : Operation {
    std::function<void(Engine&)> call;
    Call(std::vector<int> read, int written, std::function<void(Engine&)> call) : call(std::move(call)) {
        reads = std::move(read);
        writes = {written};
    }
    void run(Engine& engine) override { call(engine); }
};

}  // namespace

void Engine::space_mean(int in, int out) {
    const Slot from = expect(in, Kind::Real), to = expect(out, Kind::Real);
    expect_same(to.positions() == 1 && to.steps == from.steps && to.stride == from.stride, "a mean has one position");
    append(std::make_unique<Call>(std::vector{in}, out, [=](Engine& engine) {
        for (int t = 0; t < from.steps; ++t) {
            float* mean = engine.at<float>(out) + size_t(t) * from.stride;
            const float* x = engine.at<const float>(in) + size_t(t) * from.positions() * from.stride;
            for (int c = 0; c < from.stride; ++c) mean[c] = 0;
            for (int p = 0; p < from.positions(); ++p)
                for (int c = 0; c < from.stride; ++c) mean[c] += x[size_t(p) * from.stride + c];
            for (int c = 0; c < from.stride; ++c) mean[c] /= float(from.positions());
        }
    }));
}

void Engine::head(int in, int out, float unit, View<float> weight, View<float> bias) {
    const bool real = in >= 0 && in < int(slots_.size()) && slots_[in].kind == Kind::Real;
    const Slot from = expect(in, real ? Kind::Real : Kind::Spikes), to = expect(out, Kind::Real);
    expect_same(from.positions() == 1 && to.positions() == 1 && to.steps == from.steps, "a classifier reads one position");
    expect_same(weight.size == size_t(from.channels) * to.channels && bias.size == size_t(to.channels), "the classifier's weights do not fit");
    // [in][out], so that each input adds its row
    std::vector<float> rows(size_t(from.channels) * to.stride, 0.0f), start(bias.data, bias.data + bias.size);
    start.resize(to.stride, 0.0f);
    for (int o = 0; o < to.channels; ++o)
        for (int i = 0; i < from.channels; ++i) rows[size_t(i) * to.stride + o] = weight.data[size_t(o) * from.channels + i];
    append(std::make_unique<Call>(std::vector{in}, out, [=](Engine& engine) {
        for (int t = 0; t < from.steps; ++t) {
            float* sum = engine.at<float>(out) + size_t(t) * to.stride;
            for (int o = 0; o < to.stride; ++o) sum[o] = 0;
            for (int i = 0; i < from.channels; ++i) {
                const size_t place = size_t(t) * from.stride + i;
                const float x = real ? engine.at<const float>(in)[place] : float(engine.at<const uint8_t>(in)[place]) * unit;
                for (int o = 0; o < to.stride; ++o) sum[o] += x * rows[size_t(i) * to.stride + o];
            }
            for (int o = 0; o < to.stride; ++o) sum[o] += start[o];
        }
    }));
}

void Engine::time_mean(int in, int out) {
    const Slot from = expect(in, Kind::Real), to = expect(out, Kind::Real);
    expect_same(to.steps == 1 && to.positions() == from.positions() && to.stride == from.stride, "a mean over time has another shape");
    append(std::make_unique<Call>(std::vector{in}, out, [=](Engine& engine) {
        const size_t map = size_t(from.positions()) * from.stride;
        const float* x = engine.at<const float>(in);
        float* mean = engine.at<float>(out);
        for (size_t i = 0; i < map; ++i) {
            float sum = 0;
            for (int t = 0; t < from.steps; ++t) sum += x[t * map + i];
            mean[i] = sum / float(from.steps);
        }
    }));
}

void Engine::sum(int a, int b, int out, float factor) {
    const Slot first = expect(a, Kind::Real), second = expect(b, Kind::Real), to = expect(out, Kind::Real);
    expect_same(to.steps == std::max(first.steps, second.steps) && first.positions() == second.positions()
                    && to.positions() == first.positions() && first.stride == second.stride && to.stride == first.stride,
                "the summands have different shapes");
    append(std::make_unique<Call>(std::vector{a, b}, out, [=](Engine& engine) {
        const size_t map = size_t(to.positions()) * to.stride;
        each_tile(engine, to.positions(), tile_size(to.positions(), engine.threads(), 256), [&](int from, int last, int) {
            for (int t = 0; t < to.steps; ++t) {
                const float* x = engine.at<const float>(a) + (first.steps > 1 ? t : 0) * map;
                const float* y = engine.at<const float>(b) + (second.steps > 1 ? t : 0) * map;
                float* z = engine.at<float>(out) + t * map;
                for (size_t i = size_t(from) * to.stride; i < size_t(last) * to.stride; ++i) z[i] = (x[i] + y[i]) * factor;
            }
        });
    }));
}

}  // namespace sd
