// Pools: the largest value of each window, or its mean.

#include "operations.h"

namespace sd {

namespace {

struct Pool : Operation {
    int in, out;
    bool mean;
    Pooling shape;
    std::vector<Bounds> rows, columns;

    void run(Engine& engine) override {
        const Kernels& k = engine.kernels();
        const bool real = engine.slot(in).kind == Kind::Real;
        Pooling p = shape;
        p.rows = rows.data(), p.columns = columns.data();
        const int lines = p.steps * p.out_height;
        each_tile(engine, lines, tile_size(lines, engine.threads(), 8), [&](int first, int last, int) {
            if (mean && real) k.mean_f32(p, engine.at<float>(in), engine.at<float>(out), first, last);
            else if (mean) k.mean_u8(p, engine.at<uint8_t>(in), engine.at<float>(out), first, last);
            else if (real) k.max_f32(p, engine.at<float>(in), engine.at<float>(out), first, last);
            else k.max_u8(p, engine.at<uint8_t>(in), engine.at<uint8_t>(out), first, last);
        });
    }
};

std::vector<Bounds> bounds(View<int32_t> windows, int size) {
    std::vector<Bounds> found;
    for (size_t i = 0; i + 2 < windows.size; i += 3) {
        const Bounds b{windows.data[i], windows.data[i + 1], windows.data[i + 2]};
        expect_same(0 <= b.first && b.first < b.last && b.last <= size && b.divisor >= 1, "a window leaves its map");
        found.push_back(b);
    }
    return found;
}

}  // namespace

void Engine::pool(int in, int out, View<int32_t> rows, View<int32_t> columns, bool mean) {
    const Slot &from = any(in), &to = expect(out, mean ? Kind::Real : from.kind);
    auto made = std::make_unique<Pool>();
    made->in = in, made->out = out, made->mean = mean;
    made->rows = bounds(rows, from.height), made->columns = bounds(columns, from.width);
    made->shape.steps = from.steps, made->shape.height = from.height, made->shape.width = from.width;
    made->shape.stride = from.stride, made->shape.unit = from.unit;
    made->shape.out_height = to.height, made->shape.out_width = to.width;
    expect_same(to.height == int(made->rows.size()) && to.width == int(made->columns.size()) && to.stride == from.stride
                    && to.steps == from.steps, "the pooled map has another shape");
    made->reads = {in}, made->writes = {out};
    append(std::move(made));
}

void Engine::max_pool(int in, int out, View<int32_t> rows, View<int32_t> columns) { pool(in, out, rows, columns, false); }

void Engine::mean_pool(int in, int out, View<int32_t> rows, View<int32_t> columns) { pool(in, out, rows, columns, true); }

}  // namespace sd
