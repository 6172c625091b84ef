// The attention forms: products of spikes with spikes.
#include <cstring>

#include "operations.h"

namespace sd {

namespace {

bool alike(const Slot& a, const Slot& b) {
    return a.steps == b.steps && a.height == b.height && a.width == b.width && a.channels == b.channels;
}

struct Attention : Operation {
    int q, k, v, out;
    Spiking spiking;
    std::vector<float> scale, bias;

    Attention(int q, int k, int v, int out, const Spiking& spiking, const Slot& result, float factor)
        : q(q), k(k), v(v), out(out), spiking(spiking), scale(result.stride, factor), bias(result.stride, 0.0f) {
        reads = {q, k, v, spiking.before};
        writes = {out, spiking.after};
    }

    /// Of a row of sums, one per channel, that becomes spikes at `positions` places.
    Epilogue epilogue(Engine& engine, uint8_t* spikes, int sum_steps, int positions) const {
        const Slot& to = engine.slot(out);
        Epilogue e;
        e.scale = scale.data(), e.bias = bias.data();
        e.spikes = spikes;
        e.neuron = spiking.neuron;
        e.before = engine.at<const float>(spiking.before), e.after = engine.at<float>(spiking.after);
        e.sum_steps = e.real_steps = sum_steps, e.spike_steps = to.steps;
        e.positions = positions, e.stride = to.stride;
        return e;
    }
};

/// q * fire(sum over positions of k * v), channel by channel.
struct Masked : Attention {
    using Attention::Attention;

    void run(Engine& engine) override {
        const Slot &from = engine.slot(q), &to = engine.slot(out);
        const int blocks = (from.stride + BLOCK - 1) / BLOCK;
        std::vector<int32_t> sums(size_t(from.steps) * blocks * BLOCK);
        std::vector<uint8_t> mask(size_t(to.steps) * from.stride);
        std::vector<int32_t> packed(size_t(from.steps) * from.stride);
        engine.each(from.stride / 32, [&](int i, int) {
            engine.kernels().masked_sum(engine.at<uint8_t>(k), engine.at<uint8_t>(v), from.steps, from.positions(),
                                        from.stride, 32 * i, packed.data());
        });
        for (int t = 0; t < from.steps; ++t)
            std::memcpy(&sums[size_t(t) * blocks * BLOCK], &packed[size_t(t) * from.stride], 4 * size_t(from.stride));
        const Epilogue e = epilogue(engine, mask.data(), from.steps, 1);
        engine.kernels().finish(e, 0, blocks, sums.data());
        const size_t map = size_t(from.positions()) * from.stride;
        each_tile(engine, from.positions(), tile_size(from.positions(), engine.threads(), 256),
                  [&](int first, int last, int) {
                      for (int t = 0; t < to.steps; ++t)
                          engine.kernels().masked(engine.at<uint8_t>(q) + (from.steps > 1 ? t : 0) * map,
                                                  &mask[size_t(t) * from.stride], from.stride,
                                                  engine.at<uint8_t>(out) + t * map, first, last);
                  });
    }
};

/// As `Masked`, with a 3x3 maximum over the plane (position, channel in head) before the sum and after the mask.
struct Pooled : Attention {
    int heads;
    using Attention::Attention;

    static void plane_max(const std::vector<uint8_t>& in, int positions, int channels, int head, uint8_t* out, int stride) {
        for (int p = 0; p < positions; ++p)
            for (int c = 0; c < channels; ++c) {
                const int from = c / head * head;
                uint8_t best = 0;
                for (int y = std::max(p - 1, 0); y <= std::min(p + 1, positions - 1); ++y)
                    for (int x = std::max(c - 1, from); x <= std::min(c + 1, from + head - 1); ++x)
                        best = std::max(best, in[size_t(y) * stride + x]);
                out[size_t(p) * stride + c] = best;
            }
    }

    void run(Engine& engine) override {
        const Slot &from = engine.slot(q), &to = engine.slot(out);
        const int blocks = (from.stride + BLOCK - 1) / BLOCK, head = from.channels / heads, places = from.positions();
        const size_t map = size_t(places) * from.stride;
        std::vector<int32_t> sums(size_t(from.steps) * blocks * BLOCK);
        std::vector<uint8_t> mask(size_t(to.steps) * from.stride);
        engine.each(from.steps, [&](int t, int) {
            std::vector<uint8_t> product(map), pooled(map);
            const uint8_t *keys = engine.at<uint8_t>(k) + t * map, *values = engine.at<uint8_t>(v) + t * map;
            for (size_t i = 0; i < map; ++i) product[i] = keys[i] * values[i];
            plane_max(product, places, from.channels, head, pooled.data(), from.stride);
            for (size_t i = 0; i < map; ++i) sums[size_t(t) * blocks * BLOCK + i % from.stride] += pooled[i];
        });
        const Epilogue e = epilogue(engine, mask.data(), from.steps, 1);
        engine.kernels().finish(e, 0, blocks, sums.data());
        engine.each(to.steps, [&](int t, int) {
            std::vector<uint8_t> product(map);
            engine.kernels().masked(engine.at<uint8_t>(q) + (from.steps > 1 ? t : 0) * map,
                                    &mask[size_t(t) * from.stride], from.stride, product.data(), 0, places);
            uint8_t* result = engine.at<uint8_t>(out) + t * map;
            std::memset(result, 0, map);
            plane_max(product, places, from.channels, head, result, from.stride);
        });
    }
};

/// fire(scale * q (k^T v)) per head; without a neuron the sums times the scale.
struct LinearAttention : Attention {
    int heads;
    std::vector<int32_t> products;   // [steps][heads][dim_k][padded dim_v]
    using Attention::Attention;

    void run(Engine& engine) override {
        const Slot &keys = engine.slot(k), &values = engine.slot(v);
        const int dim_k = keys.channels / heads, dim_v = values.channels / heads, places = keys.positions();
        const size_t size = size_t(dim_k) * padded16(dim_v);
        products.resize(size * heads * keys.steps);
        engine.each(keys.steps * heads, [&](int i, int thread) {
            const int t = i / heads, head = i % heads;
            engine.kernels().key_value(engine.at<uint8_t>(k) + size_t(t) * places * keys.stride + head * dim_k,
                                       engine.at<uint8_t>(v) + size_t(t) * places * values.stride + head * dim_v, places,
                                       keys.stride, values.stride, dim_k, dim_v, &products[i * size],
                                       engine.scratch(thread, 4 * size_t(places + 1) / 2 * (padded16(dim_v) + dim_k)));
        });
        const int blocks = (values.stride + BLOCK - 1) / BLOCK, width = blocks * BLOCK;
        const bool fires = engine.slot(out).kind == Kind::Spikes;
        Epilogue e = epilogue(engine, fires ? engine.at<uint8_t>(out) : nullptr, keys.steps, places);
        if (!fires) e.real = engine.at<float>(out);
        each_tile(engine, places, tile_size(places, engine.threads(), 64), [&](int first, int last, int thread) {
            const size_t sums = size_t(keys.steps) * width;
            int32_t* acc = static_cast<int32_t*>(engine.scratch(thread, 4 * sums + 2 * size_t(dim_k)));
            auto* fired = reinterpret_cast<uint16_t*>(acc + sums);
            std::memset(acc, 0, 4 * size_t(keys.steps) * width);
            for (int p = first; p < last; ++p) {
                for (int t = 0; t < keys.steps; ++t)
                    for (int head = 0; head < heads; ++head)
                        engine.kernels().query(
                            engine.at<uint8_t>(q) + (size_t(t) * places + p) * keys.stride + head * dim_k,
                            &products[(size_t(t) * heads + head) * size], dim_k, dim_v, acc + t * width + head * dim_v,
                            fired);
                engine.kernels().finish(e, p, blocks, acc);
            }
        });
    }
};

/// What the neurons of mask-and-add attention read: sums over all positions.
Slot summed(Slot slot) {
    slot.height = slot.width = 1;
    return slot;
}

}  // namespace

void Engine::masked_attention(int q, int k, int v, int out, const Spiking& spiking) {
    const Slot &a = expect(q, Kind::Spikes), &b = expect(k, Kind::Spikes), &c = expect(v, Kind::Spikes);
    const Slot& to = expect(out, Kind::Spikes);
    expect_same(alike(a, b) && alike(b, c), "q, k and v must have one shape");
    check_spiking(spiking, summed(a), to);
    expect_same(to.positions() == a.positions(), "spikes of another shape");
    append(std::make_unique<Masked>(q, k, v, out, spiking, to, 1.0f));
}

void Engine::pooled_attention(int q, int k, int v, int out, int heads, const Spiking& spiking) {
    const Slot &a = expect(q, Kind::Spikes), &b = expect(k, Kind::Spikes), &c = expect(v, Kind::Spikes);
    const Slot& to = expect(out, Kind::Spikes);
    expect_same(alike(a, b) && alike(b, c), "q, k and v must have one shape");
    expect_same(heads >= 1 && a.channels % heads == 0, "heads must divide the channels");
    check_spiking(spiking, summed(a), to);
    expect_same(to.positions() == a.positions(), "spikes of another shape");
    auto made = std::make_unique<Pooled>(q, k, v, out, spiking, to, 1.0f);
    made->heads = heads;
    append(std::move(made));
}

void Engine::linear_attention(int q, int k, int v, int out, int heads, float scale, const Spiking& spiking) {
    const Slot &a = expect(q, Kind::Spikes), &b = expect(k, Kind::Spikes), &c = expect(v, Kind::Spikes);
    const bool fires = spiking.neuron.kind != NeuronKind::None;
    const Slot& to = expect(out, fires ? Kind::Spikes : Kind::Real);
    expect_same(alike(a, b) && c.steps == a.steps && c.positions() == a.positions(), "q, k and v do not fit");
    expect_same(heads >= 1 && a.channels % heads == 0 && c.channels % heads == 0, "heads must divide the channels");
    if (fires) check_spiking(spiking, c, to);
    else expect_same(to.steps == c.steps && to.stride == c.stride && spiking.before < 0 && spiking.after < 0, "values of another shape");
    expect_same(to.positions() == c.positions(), "spikes of another shape");
    expect_same(double(a.steps) * a.channels * padded16(c.channels / heads) <= 1 << 28, "the product of k and v is too large");
    auto made = std::make_unique<LinearAttention>(q, k, v, out, spiking, to, scale);
    made->heads = heads;
    append(std::move(made));
}

}  // namespace sd
