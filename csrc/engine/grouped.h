// Convolutions in groups of channels: any window, on counts or real values, sixteen output channels at a time.
#pragma once

#include "epilogue.h"

namespace sd::SD_ISA {

SD_INLINE i32x16 sixteen(const uint8_t* in) { return convert<i32x16>(load<u8x16>(in)); }
SD_INLINE f32x16 sixteen(const float* in) { return load<f32x16>(in); }

/// The inputs number i of sixteen outputs, at one place. first: of each output the first input.
template <class Vector, class In> SD_INLINE Vector inputs_of(const In* in, const int* first, int i) {
    Element<Vector> values[16];
    for (int lane = 0; lane < 16; ++lane) values[lane] = in[first[lane] + i];
    return load<Vector>(values);
}

/// Sums of sixteen outputs from `column` on, of the window that begins at y0, x0 of one time step.
template <class Vector, class In, class Weight>
SD_INLINE Vector grouped_sums(const Window& w, const In* in, const Weight* weights, int stride, int y0, int x0, int column) {
    Vector sum = {};
    for (int ky = 0; ky < w.y.kernel; ++ky)
        for (int kx = 0; kx < w.x.kernel; ++kx) {
            const int y = w.y.place(y0, ky), x = w.x.place(x0, kx);
            if (y < 0 || x < 0) continue;
            const In* place = in + (size_t(y) * w.x.size + x) * w.stride_in;
            const Weight* tap = weights + size_t(ky * w.x.kernel + kx) * w.depth * stride + column;
            if (w.own_channel) sum = sum + sixteen(place + column) * load<Vector>(tap);
            else
                for (int i = 0; i < w.depth; ++i)
                    sum = sum + inputs_of<Vector>(place, w.first_in + column, i) * load<Vector>(tap + size_t(i) * stride);
        }
    return sum;
}

/// scratch: [steps][BLOCK] sums.
template <class Vector, class In, class Weight>
static void grouped(const Window& w, const In* in, const Weight* weights, const Epilogue& e, int first, int last,
                    void* scratch) {
    auto* acc = static_cast<Weight*>(scratch);
    for (int p = first; p < last; ++p)
        for (int block = 0; block * BLOCK < e.stride; ++block) {
            for (int t = 0; t < w.steps; ++t)
                for (int c = 0; c < BLOCK && block * BLOCK + c < e.stride; c += 16)
                    store(acc + t * BLOCK + c, grouped_sums<Vector>(w, in + t * w.map(), weights, e.stride, w.start_y(p),
                                                                    w.start_x(p), block * BLOCK + c));
            finish_block(e, p, block, acc, BLOCK);
        }
}

static void grouped_u8(const Window& w, const uint8_t* in, const int32_t* weights, const Epilogue& e, int first, int last,
                       void* scratch) {
    grouped<i32x16>(w, in, weights, e, first, last, scratch);
}

static void grouped_f32(const Window& w, const float* in, const float* weights, const Epilogue& e, int first, int last,
                        void* scratch) {
    grouped<f32x16>(w, in, weights, e, first, last, scratch);
}

}  // namespace sd::SD_ISA
