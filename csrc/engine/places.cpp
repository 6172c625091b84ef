// Operations that move entries: slices, exchanges of axes, joined maps, and resizing.
#include <algorithm>
#include <cstring>

#include "operations.h"

namespace sd {

namespace {

/// Places of an axis, each within its size.
std::vector<int> places_of(View<int32_t> index, int size, int count) {
    expect_same(index.size == size_t(count), "a map has another size than the places that are named");
    for (size_t i = 0; i < index.size; ++i)
        expect_same(index.data[i] >= 0 && index.data[i] < size, "a place lies outside its map");
    return std::vector<int>(index.data, index.data + index.size);
}

bool one_run(const std::vector<int>& index) {
    for (size_t i = 1; i < index.size(); ++i)
        if (index[i] != index[0] + int(i)) return false;
    return true;
}

struct Picked {
    std::vector<int> steps, rows, columns, channels;
    bool run;   // channels lie side by side
};

template <class T> void pick_row(Engine& engine, const Picked& p, int in, int out, int t, int y) {
    const Slot &from = engine.slot(in), &to = engine.slot(out);
    for (int x = 0; x < to.width; ++x) {
        const T* source = engine.at<T>(in) + place(from, p.steps[t], p.rows[y], p.columns[x]);
        T* result = engine.at<T>(out) + place(to, t, y, x);
        if (p.run) std::memcpy(result, source + p.channels[0], sizeof(T) * to.channels);
        else
            for (int c = 0; c < to.channels; ++c) result[c] = source[p.channels[c]];
        std::fill(result + to.channels, result + to.stride, T(0));
    }
}

/// offsets: of each entry of one step of the result, in the source as it is stored.
template <class T> void rearrange_row(Engine& engine, const std::vector<size_t>& offsets, int in, int out, int t, int y) {
    const Slot &from = engine.slot(in), &to = engine.slot(out);
    const T* source = engine.at<T>(in) + size_t(t) * from.positions() * from.stride;
    for (int x = 0; x < to.width; ++x) {
        const size_t* offset = &offsets[(size_t(y) * to.width + x) * to.channels];
        T* result = engine.at<T>(out) + place(to, t, y, x);
        for (int c = 0; c < to.channels; ++c) result[c] = source[offset[c]];
        std::fill(result + to.channels, result + to.stride, T(0));
    }
}

/// Where a part of a joined map begins.
struct Joint {
    int map, at[4];
};

template <class T> void join_row(Engine& engine, const Joint& part, int out, int t, int y) {
    const Slot &from = engine.slot(part.map), &to = engine.slot(out);
    std::vector<T> row(from.stride);
    for (int x = 0; x < from.width; ++x) {
        const T* source = read(engine, part.map, from, place(from, from.steps > 1 ? t : 0, y, x), row.data());
        T* result = engine.at<T>(out) + place(to, t + part.at[0], y + part.at[1], x + part.at[2]);
        std::memcpy(result + part.at[3], source, sizeof(T) * from.channels);
        const int end = part.at[3] + from.channels;
        if (end == to.channels) std::fill(result + end, result + to.stride, T(0));
    }
}

/// Two places and their weights, for each entry of an axis.
struct Taps {
    std::vector<int> places;
    std::vector<float> weights;

    Taps(View<int32_t> index, View<float> weight, int size, int count)
        : places(places_of(index, size, 2 * count)), weights(weight.data, weight.data + weight.size) {
        expect_same(weight.size == index.size, "places and weights disagree");
    }
};

void resize_row(Engine& engine, const Taps& rows, const Taps& columns, int in, int out, int t, int y) {
    const Slot &from = engine.slot(in), &to = engine.slot(out);
    std::vector<float> buffers[4];
    for (auto& buffer : buffers) buffer.resize(from.stride);
    const float h0 = rows.weights[2 * y], h1 = rows.weights[2 * y + 1];
    for (int x = 0; x < to.width; ++x) {
        const float w0 = columns.weights[2 * x], w1 = columns.weights[2 * x + 1];
        auto corner = [&](int down, int across) {
            const size_t position = place(from, t, rows.places[2 * y + down], columns.places[2 * x + across]);
            return read(engine, in, from, position, buffers[2 * down + across].data());
        };
        const float *a = corner(0, 0), *b = corner(0, 1), *c = corner(1, 0), *d = corner(1, 1);
        float* result = engine.at<float>(out) + place(to, t, y, x);
        for (int i = 0; i < to.channels; ++i) result[i] = (a[i] * w0 + b[i] * w1) * h0 + (c[i] * w0 + d[i] * w1) * h1;
        std::fill(result + to.channels, result + to.stride, 0.0f);
    }
}

/// line(t, y) for every row of a map.
template <class Line> void each_line(Engine& engine, int steps, int height, Line line) {
    engine.each(steps * height, [&](int i, int) { line(i / height, i % height); });
}

}  // namespace

void Engine::pick(int in, int out, View<int32_t> steps, View<int32_t> rows, View<int32_t> columns, View<int32_t> channels) {
    const Slot from = any(in), to = expect(out, from.kind);
    Picked p{places_of(steps, from.steps, to.steps), places_of(rows, from.height, to.height),
             places_of(columns, from.width, to.width), places_of(channels, from.channels, to.channels), false};
    p.run = one_run(p.channels);
    append({in}, {out}, [=, p = std::move(p)](Engine& engine) {
        each_line(engine, to.steps, to.height, [&](int t, int y) {
            if (to.kind == Kind::Real) pick_row<float>(engine, p, in, out, t, y);
            else pick_row<uint8_t>(engine, p, in, out, t, y);
        });
    });
}

void Engine::rearrange(int in, int out, View<int32_t> index) {
    const Slot from = any(in), to = expect(out, from.kind);
    const int size = from.positions() * from.channels;
    std::vector<size_t> offsets;
    for (int flat : places_of(index, size, to.positions() * to.channels))
        offsets.push_back(size_t(flat / from.channels) * from.stride + flat % from.channels);
    expect_same(from.steps == to.steps, "the result has other time steps");
    append({in}, {out}, [=, offsets = std::move(offsets)](Engine& engine) {
        each_line(engine, to.steps, to.height, [&](int t, int y) {
            if (to.kind == Kind::Real) rearrange_row<float>(engine, offsets, in, out, t, y);
            else rearrange_row<uint8_t>(engine, offsets, in, out, t, y);
        });
    });
}

void Engine::concat(const std::vector<int>& parts, int out, int axis) {
    const Slot to = any(out);
    expect_same(axis >= 0 && axis < 4, "there is no such axis");
    const int whole[4] = {to.steps, to.height, to.width, to.channels};
    std::vector<Joint> joints;
    int end = 0;
    for (int part : parts) {
        const Slot& from = any(part);
        const int own[4] = {from.steps, from.height, from.width, from.channels};
        for (int i = 0; i < 4; ++i)
            expect_same(i == axis || own[i] == whole[i] || (i == 0 && own[0] == 1), "the parts have different shapes");
        expect_same(to.kind == Kind::Real || from.kind == Kind::Spikes, "real values do not join counts");
        expect_same(axis || from.steps == 1, "maps that are joined along time have one step each");
        Joint joint{part, {0, 0, 0, 0}};
        joint.at[axis] = end;
        end += own[axis];
        joints.push_back(joint);
    }
    expect_same(end == whole[axis], "the joined map has another size");
    append(parts, {out}, [=, joints = std::move(joints)](Engine& engine) {
        for (const Joint& part : joints) {
            const int steps = axis ? to.steps : 1;
            each_line(engine, steps, engine.slot(part.map).height, [&](int t, int y) {
                if (to.kind == Kind::Real) join_row<float>(engine, part, out, t, y);
                else join_row<uint8_t>(engine, part, out, t, y);
            });
        }
    });
}

void Engine::resize(int in, int out, View<int32_t> rows, View<float> row_weights, View<int32_t> columns,
                    View<float> column_weights) {
    const Slot from = any(in), to = expect(out, Kind::Real);
    expect_same(from.steps == to.steps && from.channels == to.channels, "the result has other steps or channels");
    const Taps down(rows, row_weights, from.height, to.height), across(columns, column_weights, from.width, to.width);
    append({in}, {out}, [=](Engine& engine) {
        each_line(engine, to.steps, to.height, [&](int t, int y) { resize_row(engine, down, across, in, out, t, y); });
    });
}

}  // namespace sd
