// Max pooling in training, channels last. Compiled once per instruction set, as kernels.cpp.
#include <limits>

#include "floats.h"
#include "training.h"

namespace sd::SD_ISA {

namespace {

constexpr int LANES = 16;

/// The places 0 <= first <= i < last < size that window `o` covers.
struct Covered {
    int first, last, start;
    Covered(const Pool& p, int o, int size) : start(o * p.stride - p.padding) {
        first = start < 0 ? 0 : start;
        last = start + p.kernel < size ? start + p.kernel : size;
    }
};

/// Sixteen channels of one window; of equal values the first, as in PyTorch.
template <class T> SD_INLINE void largest(const Pool& p, const T* in, const Covered& rows, const Covered& columns, int channel,
                                          int count, T* out, uint8_t* where) {
    f32x16 best = splat(-std::numeric_limits<float>::infinity());
    f32x16 tap = splat(float((rows.first - rows.start) * p.kernel + columns.first - columns.start));
    for (int y = rows.first; y < rows.last; ++y)
        for (int x = columns.first; x < columns.last; ++x) {
            const f32x16 value = widen(in + (size_t(y) * p.width + x) * p.channels + channel, count);
            const Mask stays = at_least(best, value) | ~at_least(best, best);   // what is not a number wins, and stays
            tap = choose(stays, tap, splat(float((y - rows.start) * p.kernel + x - columns.start)));
            best = choose(stays, best, value);
        }
    narrow(out + channel, best, count);
    const u8x16 taps = bytes_of(convert<i32x16>(tap));
    std::memcpy(where + channel, &taps, count);
}

template <class T> void forward_of(const Pool& p, const T* in, T* out, uint8_t* where) {
    for (int oy = 0; oy < p.out_height; ++oy)
        for (int ox = 0; ox < p.out_width; ++ox) {
            const Covered rows(p, oy, p.height), columns(p, ox, p.width);
            const size_t o = (size_t(oy) * p.out_width + ox) * p.channels;
            int channel = 0;
            for (; channel + LANES <= p.channels; channel += LANES) largest(p, in, rows, columns, channel, LANES, out + o, where + o);
            if (channel < p.channels) largest(p, in, rows, columns, channel, p.channels - channel, out + o, where + o);
        }
}

/// Windows first..last-1 that cover place `i`.
struct Covering {
    int first, last;
    Covering(const Pool& p, int i, int size) {
        const int after = i + p.padding - p.kernel;   // the last place in front of the window that ends at i
        first = after < 0 ? 0 : after / p.stride + 1;
        last = (i + p.padding) / p.stride + 1;
        if (last > size) last = size;
    }
};

/// Sixteen channels of one place: the gradients of the windows whose largest value it was.
template <class T> SD_INLINE void gathered(const Pool& p, const T* grad, const uint8_t* where, int y, int x, const Covering& rows,
                                           const Covering& columns, int channel, int count, T* grad_in) {
    f32x16 sum = splat(0.0f);
    for (int oy = rows.first; oy < rows.last; ++oy)
        for (int ox = columns.first; ox < columns.last; ++ox) {
            const size_t o = (size_t(oy) * p.out_width + ox) * p.channels + channel;
            const int tap = (y + p.padding - oy * p.stride) * p.kernel + x + p.padding - ox * p.stride;
            u8x16 taps = {};
            if (count == LANES) taps = load<u8x16>(where + o);
            else std::memcpy(&taps, where + o, count);
            sum += choose(equal(taps, uint8_t(tap)), widen(grad + o, count), splat(0.0f));
        }
    narrow(grad_in + (size_t(y) * p.width + x) * p.channels + channel, sum, count);
}

template <class T> void backward_of(const Pool& p, const T* grad, const uint8_t* where, T* grad_in) {
    for (int y = 0; y < p.height; ++y)
        for (int x = 0; x < p.width; ++x) {
            const Covering rows(p, y, p.out_height), columns(p, x, p.out_width);
            int channel = 0;
            for (; channel + LANES <= p.channels; channel += LANES) gathered(p, grad, where, y, x, rows, columns, channel, LANES, grad_in);
            if (channel < p.channels) gathered(p, grad, where, y, x, rows, columns, channel, p.channels - channel, grad_in);
        }
}

}  // namespace

const PoolKernels& pool_table() {
    static const PoolKernels kernels{
        [](const Pool& p, const void* in, void* out, uint8_t* where) {
            p.half ? forward_of(p, (const BFloat16*)in, (BFloat16*)out, where) : forward_of(p, (const float*)in, (float*)out, where);
        },
        [](const Pool& p, const void* grad, const uint8_t* where, void* grad_in) {
            p.half ? backward_of(p, (const BFloat16*)grad, where, (BFloat16*)grad_in)
                   : backward_of(p, (const float*)grad, where, (float*)grad_in);
        }};
    return kernels;
}

}  // namespace sd::SD_ISA
