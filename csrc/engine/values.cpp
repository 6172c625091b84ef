// Maps from outside and constants, and arithmetic on the values of maps, entry by entry.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "operations.h"

namespace sd {

namespace {

/// How one operand of a pair is read in the shape of the result.
struct Operand {
    int map;
    Slot slot;
    int repeat;   // results per channel of the operand

    Operand(int map, const Slot& slot, const Slot& out) : map(map), slot(slot), repeat(out.channels / slot.channels) {
        auto spreads = [](int size, int whole) { return size == 1 || size == whole; };
        expect_same(spreads(slot.steps, out.steps) && spreads(slot.height, out.height) && spreads(slot.width, out.width)
                        && repeat * slot.channels == out.channels, "the operands of a pair have different shapes");
    }

    /// The channels of one position of the result: in the map itself, or put into `row`.
    template <class T> const T* row(Engine& engine, int t, int y, int x, T* row) const {
        const size_t position = place(slot, slot.steps > 1 ? t : 0, slot.height > 1 ? y : 0, slot.width > 1 ? x : 0);
        const T* from = read(engine, map, slot, position, row);
        if (repeat == 1) return from;
        for (int c = slot.channels; c-- > 0;) std::fill_n(row + c * repeat, repeat, from[c]);   // from the end: may be `row`
        return row;
    }
};

/// result = f(a, b) for every entry, in numbers of type T.
template <class T, class F>
void pair_up(Engine& engine, const Operand& a, const Operand& b, int out, F f) {
    const Slot to = engine.slot(out);
    engine.each(to.steps * to.height, [&](int line, int) {
        std::vector<T> first(to.stride), second(to.stride);
        for (int x = 0; x < to.width; ++x) {
            const int t = line / to.height, y = line % to.height;
            const T *p = a.row(engine, t, y, x, first.data()), *q = b.row(engine, t, y, x, second.data());
            T* result = engine.at<T>(out) + place(to, t, y, x);
            for (int c = 0; c < to.channels; ++c) result[c] = f(p[c], q[c]);
            std::fill(result + to.channels, result + to.stride, T(0));
        }
    });
}

/// result[c] = f(x[c], c) for every position of a map of real values, or of values of counts.
template <class F> void map_over(Engine& engine, int in, int out, F f) {
    const Slot from = engine.slot(in), to = engine.slot(out);
    engine.each(to.steps * to.height, [&](int line, int) {
        std::vector<float> row(to.stride);
        for (int i = line * to.width; i < (line + 1) * to.width; ++i) {
            const float* x = read(engine, in, from, size_t(i) * from.stride, row.data());
            float* result = engine.at<float>(out) + size_t(i) * to.stride;
            for (int c = 0; c < to.channels; ++c) result[c] = f(x[c], c);
            std::fill(result + to.channels, result + to.stride, 0.0f);
        }
    });
}

bool alike(const Slot& a, const Slot& b) {
    return a.steps == b.steps && a.height == b.height && a.width == b.width && a.channels == b.channels;
}

}  // namespace

void Engine::image(int out) {
    expect_same(out >= 0 && out < int(slots_.size()) && slots_[out].kind == Kind::Real, "there is no such input");
    const Slot to = slots_[out];
    const int index = int(images_.size());
    images_.push_back(out);
    append({}, {out}, [=](Engine& engine) {
        const Input& from = engine.input(index);
        engine.each(to.steps * to.height, [&](int line, int) {
            const float* row = from.data + line / to.height * from.strides[0] + line % to.height * from.strides[1];
            float* result = engine.at<float>(out) + size_t(line) * to.width * to.stride;
            for (int x = 0; x < to.width; ++x, row += from.strides[2], result += to.stride) {
                for (int c = 0; c < to.channels; ++c) result[c] = row[c * from.strides[3]];
                std::fill(result + to.channels, result + to.stride, 0.0f);
            }
        });
    });
}

void Engine::constant(int out, View<float> value) {
    const Slot to = expect(out, Kind::Real);
    expect_same(to.steps == 1 && value.size == size_t(to.positions()) * to.channels, "a constant has another shape");
    std::vector<float> stored(to.values(), 0.0f);
    for (size_t i = 0; i < value.size; ++i) stored[i / to.channels * to.stride + i % to.channels] = value.data[i];
    append({}, {out}, [=, stored = std::move(stored)](Engine& engine) {
        std::copy(stored.begin(), stored.end(), engine.at<float>(out));
    });
}

void Engine::pair(Pair how, int a, int b, int out, float factor) {
    const Slot& to = any(out);
    const Operand first(a, any(a), to), second(b, any(b), to);
    const bool counts = to.kind == Kind::Spikes;
    expect_same(!counts || (first.slot.kind == Kind::Spikes && second.slot.kind == Kind::Spikes), "counts of real values");
    append({a, b}, {out}, [=](Engine& engine) {
        using Byte = uint8_t;
        if (how == Pair::Quotient) pair_up<float>(engine, first, second, out, [](float x, float y) { return x / y; });
        else if (how == Pair::Product && counts) pair_up<Byte>(engine, first, second, out, [](Byte x, Byte y) { return Byte(x * y); });
        else if (how == Pair::Product) pair_up<float>(engine, first, second, out, [](float x, float y) { return x * y; });
        else if (counts) pair_up<Byte>(engine, first, second, out, [](Byte x, Byte y) { return Byte(x + y); });
        else pair_up<float>(engine, first, second, out, [factor](float x, float y) { return (x + y) * factor; });
    });
}

void Engine::relu(int in, int out) {
    expect_same(alike(expect(in, Kind::Real), expect(out, Kind::Real)), "the result has another shape");
    append({in}, {out}, [=](Engine& engine) {
        map_over(engine, in, out, [](float x, int) { return x < 0 ? 0.0f : x; });   // NaN stays
    });
}

void Engine::affine(int in, int out, View<float> scale, View<float> shift) {
    const Slot to = expect(out, Kind::Real);
    expect_same(alike(any(in), to), "the result has another shape");
    expect_same(scale.size == size_t(to.channels) && shift.size == scale.size, "scale and shift do not fit");
    std::vector<float> factors(scale.data, scale.data + scale.size), summands(shift.data, shift.data + shift.size);
    append({in}, {out}, [=](Engine& engine) {
        map_over(engine, in, out, [&](float x, int c) { return x * factors[c] + summands[c]; });
    });
}

}  // namespace sd
