// The mean over time and the classifier: a few real numbers, in float32 and in a fixed order.

#include "operations.h"

namespace sd {

void Engine::head(int in, int out, View<float> weight, View<float> bias) {
    const Slot from = any(in), to = expect(out, Kind::Real);
    const bool real = from.kind == Kind::Real;
    expect_same(from.positions() == 1 && to.positions() == 1 && to.steps == from.steps, "a classifier reads one position");
    expect_same(weight.size == size_t(from.channels) * to.channels && bias.size == size_t(to.channels), "the classifier's weights do not fit");
    // [in][out], so that each input adds its row
    std::vector<float> rows(size_t(from.channels) * to.stride, 0.0f), start(bias.data, bias.data + bias.size);
    start.resize(to.stride, 0.0f);
    for (int o = 0; o < to.channels; ++o)
        for (int i = 0; i < from.channels; ++i) rows[size_t(i) * to.stride + o] = weight.data[size_t(o) * from.channels + i];
    append({in}, {out}, [=](Engine& engine) {
        for (int t = 0; t < from.steps; ++t) {
            float* sum = engine.at<float>(out) + size_t(t) * to.stride;
            for (int o = 0; o < to.stride; ++o) sum[o] = 0;
            for (int i = 0; i < from.channels; ++i) {
                const size_t place = size_t(t) * from.stride + i;
                const float x = real ? engine.at<const float>(in)[place] : float(engine.at<const uint8_t>(in)[place]) * from.unit;
                for (int o = 0; o < to.stride; ++o) sum[o] += x * rows[size_t(i) * to.stride + o];
            }
            for (int o = 0; o < to.stride; ++o) sum[o] += start[o];
        }
    });
}

void Engine::time_mean(int in, int out) {
    const Slot from = expect(in, Kind::Real), to = expect(out, Kind::Real);
    expect_same(to.steps == 1 && to.positions() == from.positions() && to.stride == from.stride, "a mean over time has another shape");
    append({in}, {out}, [=](Engine& engine) {
        const size_t map = size_t(from.positions()) * from.stride;
        const float* x = engine.at<const float>(in);
        float* mean = engine.at<float>(out);
        for (size_t i = 0; i < map; ++i) {
            float sum = 0;
            for (int t = 0; t < from.steps; ++t) sum += x[t * map + i];
            mean[i] = sum / float(from.steps);
        }
    });
}

}  // namespace sd
