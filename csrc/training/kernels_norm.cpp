// Batch normalisation in training. Compiled once per instruction set, as kernels.cpp.
#include "channels.h"

namespace sd::SD_ISA {

namespace {

template <class T> void sums_of(const Norm& norm, const T* x, size_t first, size_t last, float* sums) {
    each(norm, first, last, [&](size_t e, int count, size_t column) __attribute__((always_inline)) {
        const f32x16 off = off_mean(norm, widen(x + e, count), column);
        add_both(norm, sums, off, off * off, column, count);
    });
}

template <class T> void forward_of(const Norm& norm, const T* x, T* out, size_t first, size_t last) {
    each(norm, first, last, [&](size_t e, int count, size_t column) __attribute__((always_inline)) {
        narrow(out + e, normed(norm, widen(x + e, count), column), count);
    });
}

template <class T>
void gradient_sums_of(const Norm& norm, const T* x, const T* grad, size_t first, size_t last, float* sums) {
    each(norm, first, last, [&](size_t e, int count, size_t column) __attribute__((always_inline)) {
        const f32x16 dy = widen(grad + e, count), off = off_mean(norm, widen(x + e, count), column);
        add_both(norm, sums, dy, dy * off, column, count);
    });
}

template <class T>
void backward_of(const Norm& norm, const float* slope, const T* x, const T* grad, T* grad_x, size_t first, size_t last) {
    each(norm, first, last, [&](size_t e, int count, size_t column) __attribute__((always_inline)) {
        const f32x16 off = off_mean(norm, widen(x + e, count), column);
        const f32x16 scaled = widen(grad + e, count) * load<f32x16>(norm.scale + column);
        narrow(grad_x + e, scaled + off * load<f32x16>(slope + column) + load<f32x16>(norm.shift + column), count);
    });
}

/// f with x and what follows it as pointers to the elements they are.
template <class F> void typed(bool half, F&& f) { half ? f(BFloat16{}) : f(float{}); }

}  // namespace

const NormKernels& norm_table() {
    static const NormKernels kernels{
        [](const Norm& norm, bool half, const void* x, size_t first, size_t last, float* sums) {
            typed(half, [&](auto t) { using T = decltype(t); sums_of(norm, (const T*)x, first, last, sums); });
        },
        [](const Norm& norm, bool half, const void* x, void* out, size_t first, size_t last) {
            typed(half, [&](auto t) { using T = decltype(t); forward_of(norm, (const T*)x, (T*)out, first, last); });
        },
        [](const Norm& norm, bool half, const void* x, const void* grad, size_t first, size_t last, float* sums) {
            typed(half, [&](auto t) {
                using T = decltype(t);
                gradient_sums_of(norm, (const T*)x, (const T*)grad, first, last, sums);
            });
        },
        [](const Norm& norm, const float* slope, bool half, const void* x, const void* grad, void* grad_x, size_t first,
           size_t last) {
            typed(half, [&](auto t) {
                using T = decltype(t);
                backward_of(norm, slope, (const T*)x, (const T*)grad, (T*)grad_x, first, last);
            });
        }};
    return kernels;
}

}  // namespace sd::SD_ISA
