// What the bindings of the training operators share: arrays that come through DLPack, flat and in one order, and how
// ranges of them go to the threads.
#pragma once

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <stdexcept>

#include "dispatch.h"
#include "parallel.h"
#include "training.h"

namespace sd::bindings {

namespace nb = nanobind;

using Array = nb::ndarray<nb::ndim<1>, nb::c_contig, nb::device::cpu>;   // float32 or bfloat16
using Floats = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

inline constexpr size_t GRAIN = 16384;   // elements that are worth a thread's attention
inline constexpr size_t PARTS = 256;

inline bool is_half(const Array& array) {
    if (array.dtype() == nb::dtype<float>()) return false;
    if (array.dtype().code == uint8_t(nb::dlpack::dtype_code::Bfloat) && array.dtype().bits == 16) return true;
    throw std::invalid_argument("training operators take float32 or bfloat16");
}

template <class A> auto pointer(const std::optional<A>& array) { return array ? array->data() : nullptr; }

inline void expect(bool fits) {
    if (!fits) throw std::invalid_argument("training operators: the arrays' sizes do not fit together");
}

/// Channels of a norm and its arrays, each spread as the kernels read them.
struct Channels {
    sd::Norm norm;
    std::vector<std::vector<float>> arrays;

    Channels(int channels, size_t plane) { norm.channels = channels, norm.plane = plane; }
    const float* spread(const Floats& values) {
        expect(values.size() == size_t(norm.channels));
        std::vector<float> wide(norm.width());
        for (size_t i = 0; i < wide.size(); ++i) wide[i] = values.data()[norm.channel(i)];
        arrays.push_back(std::move(wide));
        return arrays.back().data();
    }
};

/// f(first, last, part) over all elements; returns how many parts there were. The cut depends on the size alone.
template <class F> int split(size_t elements, int threads, F&& f) {
    const size_t parts = std::clamp<size_t>(elements / GRAIN, 1, PARTS), line = 64;
    const size_t each = (elements + parts * line - 1) / (parts * line) * line;
    sd::parallel(threads, int(parts), [&](int i, int) {
        const size_t first = std::min(elements, each * i), last = std::min(elements, first + each);
        if (first < last) f(first, last, i);
    });
    return int(parts);
}

/// Like `split`, where each part adds to sums of its own; they are added up in order, whatever the threads did.
template <class F> void split_sums(const Channels& c, size_t elements, int threads, const std::optional<Doubles>& out, F&& f) {
    const size_t width = c.norm.channels ? 2 * c.norm.width() : 0;
    std::vector<float> sums(PARTS * width);
    const int parts = split(elements, threads,
                            [&](size_t first, size_t last, int i) { f(first, last, i, sums.data() + i * width); });
    if (!out) return;
    expect(out->size() == size_t(2 * c.norm.channels));
    std::vector<double> columns(width);
    for (int i = 0; i < parts; ++i)
        for (size_t j = 0; j < width; ++j) columns[j] += sums[i * width + j];
    std::fill_n(out->data(), out->size(), 0.0);
    for (size_t j = 0; j < width; ++j)
        out->data()[j / c.norm.width() * c.norm.channels + c.norm.channel(j % c.norm.width())] += columns[j];
}

/// Which of the tables that run here is used: 0 is the widest. For tests.
inline std::atomic<size_t> chosen{0};

template <class Table> const Table& table_of(std::vector<const Table*> (*runnable)()) {
    static const std::vector<const Table*> tables = runnable();
    return *tables[chosen];
}

}  // namespace sd::bindings
