// Compiled once per instruction set, as kernels.cpp.
#include "floats.h"
#include "training.h"

namespace sd::SD_ISA {

namespace {

constexpr int LANES = 16;

/// Charge, fire and reset of sixteen neurons, with the roundings of `neurons/dynamics.py`.
struct Dynamics {
    const Neuron& neuron;
    f32x16 threshold, rest;
    explicit Dynamics(const Neuron& n) : neuron(n), threshold(splat(n.threshold)), rest(splat(n.rest)) {}

    f32x16 leak(const f32x16& difference) const {
        return neuron.multiply ? difference * neuron.leak : difference / neuron.leak;
    }
    f32x16 from_rest(const f32x16& x) const {
        const f32x16 driven = neuron.decay_input ? leak(x) : x;
        return neuron.rest != 0 ? driven + rest : driven;
    }
    f32x16 above_rest(const f32x16& v) const { return neuron.rest != 0 ? v - rest : v; }
    f32x16 charge(const f32x16& v, const f32x16& x) const {
        if (neuron.decay_input) return v + leak(x - above_rest(v));
        return v - leak(above_rest(v)) + x;
    }
    Mask fires(const f32x16& h) const { return at_least(h, threshold); }
    f32x16 reset(const f32x16& h) const { return choose(fires(h), neuron.hard_reset ? rest : h - threshold, h); }
};

/// Counts of an integer neuron.
SD_INLINE f32x16 counts(const Neuron& n, const f32x16& y) {
    const f32x16 bounded = at_most(not_below(y, splat(0.0f)), splat(n.levels));
    if (!n.half_up) return nearest(bounded);
    const f32x16 up = bounded + 0.5f, round = nearest(up);
    return choose(at_least(up, round), round, round - 1.0f);   // the floor
}

/// Where a range of elements lies in the arrays of its channels. `each` is called as f(element, count, column), with
/// `column` the place in arrays that repeat the channels so that sixteen may be read from any of them.
template <class F> SD_INLINE void each(const Norm& norm, size_t first, size_t last, F&& f) {
    if (norm.channels && norm.plane > 1) {
        for (size_t p = first; p < last; ++p)
            for (size_t i = 0; i < norm.plane; i += LANES)
                f(p * norm.plane + i, int(norm.plane - i < LANES ? norm.plane - i : LANES), p % norm.channels * LANES);
        return;
    }
    size_t column = norm.channels ? first % norm.channels : 0;
    for (size_t e = first; e < last; e += LANES) {
        f(e, int(last - e < LANES ? last - e : LANES), column);
        if (norm.channels)
            for (column += LANES; column >= size_t(norm.channels);) column -= norm.channels;
    }
}

SD_INLINE f32x16 normed(const Norm& norm, const f32x16& x, size_t column) {
    if (!norm.channels) return x;
    return x * load<f32x16>(norm.scale + column) + load<f32x16>(norm.shift + column);
}

SD_INLINE void add_to(float* sums, const f32x16& x, int count) {
    narrow(sums, widen(sums) + (count == LANES ? x : widen((const float*)&x, count)));
}

template <class T> void forward_lif(const Firing& f, size_t first, size_t last) {
    const Dynamics d(f.neuron);
    const f32x16 one = splat(1.0f), zero = splat(0.0f);
    const T* x = static_cast<const T*>(f.x);
    T* spikes = static_cast<T*>(f.spikes);
    each(f.norm, first, last, [&](size_t e, int count, size_t column) {
        f32x16 v = f.before ? widen(f.before + e, count) : zero, y = zero;
        for (int t = 0; t < f.steps; ++t) {
            if (t == 0 || !f.still) y = normed(f.norm, widen(x + t * f.n + e, count), column);
            const f32x16 h = t == 0 && !f.before ? d.from_rest(y) : d.charge(v, y);
            narrow(spikes + t * f.n + e, choose(d.fires(h), one, zero), count);
            v = d.reset(h);
        }
        if (f.after) narrow(f.after + e, v, count);
    });
}

template <class T> void forward_integer(const Firing& f, size_t first, size_t last) {
    const T* x = static_cast<const T*>(f.x);
    T* spikes = static_cast<T*>(f.spikes);
    for (int t = 0; t < f.steps; ++t)
        each(f.norm, first, last, [&](size_t e, int count, size_t column) {
            const f32x16 y = normed(f.norm, widen(x + (f.still ? 0 : t * f.n) + e, count), column);
            narrow(spikes + t * f.n + e, counts(f.neuron, y) / f.divisor, count);
        });
}

template <class T> void forward(const Firing& f, size_t first, size_t last) {
    f.neuron.kind == NeuronKind::Lif ? forward_lif<T>(f, first, last) : forward_integer<T>(f, first, last);
}

SD_INLINE f32x16 surrogate_slope(const Firing& f, const f32x16& u) {
    if (f.surrogate == Surrogate::Sigmoid) {
        const f32x16 e = exponential(u * -f.alpha), s = reciprocal(1.0f + e);
        return f.alpha * (e * s * s);   // s (1 - s), without a difference of nearly equal values
    }
    const f32x16 a = u * (1.57079632679f * f.alpha);
    return (f.alpha / 2) * reciprocal(at_most(1.0f + a * a, splat(1e30f)));
}

/// Time steps whose membranes are kept at once; `backward_lif` needs scratch for more.
constexpr int KEPT = 16;

template <class T> double backward_lif(const Firing& f, size_t first, size_t last, float* sums) {
    const Dynamics d(f.neuron);
    const f32x16 zero = splat(0.0f);
    const T *x = static_cast<const T*>(f.x), *grad_spikes = static_cast<const T*>(f.grad_spikes);
    T* grad_x = static_cast<T*>(f.grad_x);
    f32x16 few[KEPT];
    f32x16* h = f.steps <= KEPT ? few : new f32x16[f.steps];
    double grad_leak = 0;
    each(f.norm, first, last, [&](size_t e, int count, size_t column) {
        const f32x16 before = f.before ? widen(f.before + e, count) : zero;
        f32x16 v = before, y = zero, sum = zero, sum_leak = zero;
        for (int t = 0; t < f.steps; ++t) {
            if (t == 0 || !f.still) y = normed(f.norm, widen(x + t * f.n + e, count), column);
            h[t] = t == 0 && !f.before ? d.from_rest(y) : d.charge(v, y);
            v = d.reset(h[t]);
        }
        f32x16 grad_v = f.grad_after ? widen(f.grad_after + e, count) : zero;
        for (int t = f.steps; t-- > 0;) {
            f32x16 up = grad_spikes ? widen(grad_spikes + t * f.n + e, count) : zero;
            if (!f.detach_reset) up -= grad_v * (f.neuron.hard_reset ? h[t] - d.rest : d.threshold);
            f32x16 grad_h = surrogate_slope(f, h[t] - d.threshold) * up;
            grad_h += f.neuron.hard_reset ? choose(d.fires(h[t]), zero, grad_v) : grad_v;
            const f32x16 leaked = d.leak(grad_h), dy = f.neuron.decay_input ? leaked : grad_h;
            grad_v = grad_h - leaked;
            if (f.learns) {
                const f32x16 v_before = t > 0 ? d.above_rest(d.reset(h[t - 1])) : f.before ? d.above_rest(before) : zero;
                const f32x16 y_t = normed(f.norm, widen(x + (f.still ? 0 : t * f.n) + e, count), column);
                sum_leak += grad_h * ((f.neuron.decay_input ? y_t : zero) - v_before);
            }
            if (f.still) sum += dy;
            else narrow(grad_x + t * f.n + e, dy, count);
            if (f.norm.channels && (!f.still || t == 0)) {
                const f32x16 all = f.still ? sum : dy;
                const f32x16 off = widen(x + (f.still ? 0 : t * f.n) + e, count) - load<f32x16>(f.norm.mean + column);
                add_to(sums + column, all, count);
                add_to(sums + f.norm.width() + column, all * off, count);
            }
        }
        if (f.still) narrow(grad_x + e, sum, count);
        if (f.grad_before) narrow(f.grad_before + e, grad_v, count);
        for (int i = 0; f.learns && i < count; ++i) grad_leak += sum_leak[i];
    });
    if (h != few) delete[] h;
    return grad_leak;
}

template <class T> void backward_integer(const Firing& f, size_t first, size_t last, float* sums) {
    const f32x16 zero = splat(0.0f), top = splat(f.neuron.levels);
    const T *x = static_cast<const T*>(f.x), *grad_spikes = static_cast<const T*>(f.grad_spikes);
    T* grad_x = static_cast<T*>(f.grad_x);
    for (int t = 0; t < (f.still ? 1 : f.steps); ++t)
        each(f.norm, first, last, [&](size_t e, int count, size_t column) {
            const f32x16 raw = widen(x + t * f.n + e, count), y = normed(f.norm, raw, column);
            f32x16 up = widen(grad_spikes + t * f.n + e, count);
            for (int s = 1; f.still && s < f.steps; ++s) up += widen(grad_spikes + s * f.n + e, count);
            const f32x16 passed = up / f.divisor;
            const f32x16 inside = f.inclusive
                ? choose(at_least(y, zero), choose(at_least(top, y), passed, zero), zero)
                : choose(at_least(zero, y), zero, choose(at_least(y, top), zero, passed));
            narrow(grad_x + t * f.n + e, inside, count);
            if (!f.norm.channels) return;
            add_to(sums + column, inside, count);
            add_to(sums + f.norm.width() + column, inside * (raw - load<f32x16>(f.norm.mean + column)), count);
        });
}

template <class T> double backward(const Firing& f, size_t first, size_t last, float* sums) {
    if (f.neuron.kind == NeuronKind::Lif) return backward_lif<T>(f, first, last, sums);
    backward_integer<T>(f, first, last, sums);
    return 0;
}

template <class T> void norm_sums_of(const Norm& norm, const T* x, size_t first, size_t last, float* sums) {
    each(norm, first, last, [&](size_t e, int count, size_t column) {
        const f32x16 off = widen(x + e, count) - load<f32x16>(norm.mean + column);
        add_to(sums + column, off, count);
        add_to(sums + norm.width() + column, off * off, count);
    });
}

void norm_sums(const Norm& norm, bool half, const void* x, size_t first, size_t last, float* sums) {
    half ? norm_sums_of(norm, static_cast<const BFloat16*>(x), first, last, sums)
         : norm_sums_of(norm, static_cast<const float*>(x), first, last, sums);
}

template <class T>
void norm_backward_of(const Norm& norm, const float* slope, const T* x, T* grad, size_t first, size_t last) {
    each(norm, first, last, [&](size_t e, int count, size_t column) {
        const f32x16 off = widen(x + e, count) - load<f32x16>(norm.mean + column);
        const f32x16 scaled = widen(grad + e, count) * load<f32x16>(norm.scale + column);
        narrow(grad + e, scaled + off * load<f32x16>(slope + column) + load<f32x16>(norm.shift + column), count);
    });
}

void norm_backward(const Norm& norm, const float* slope, bool half, const void* x, void* grad, size_t first, size_t last) {
    half ? norm_backward_of(norm, slope, static_cast<const BFloat16*>(x), static_cast<BFloat16*>(grad), first, last)
         : norm_backward_of(norm, slope, static_cast<const float*>(x), static_cast<float*>(grad), first, last);
}

/// Codes of sixteen values; false where one of them is not in the table.
template <class T> SD_INLINE bool codes_of(const T* x, int count, float inverse, const float* values, int top, i32x16& codes) {
    const f32x16 v = widen(x, count);
    const f32x16 whole = nearest(at_most(not_below(v * inverse, splat(0.0f)), splat(float(top))));
    codes = __builtin_convertvector(whole, i32x16);
    f32x16 back;
    for (int i = 0; i < LANES; ++i) back[i] = values[codes[i] & 15];
    const i32x16 differs = (i32x16)back != (i32x16)v;   // as bits, so that -0 and NaN are no values of the table
    int any = 0;
    for (int i = 0; i < count; ++i) any |= differs[i];
    return !any;
}

template <class T>
bool pack_of(const T* x, size_t first, size_t last, int bits, const float* values, float inverse, uint8_t* out) {
    const int top = (1 << bits) - 1;
    for (size_t e = first; e < last; e += LANES) {
        i32x16 codes;
        if (!codes_of(x + e, int(last - e < LANES ? last - e : LANES), inverse, values, top, codes)) return false;
        uint64_t word = 0;
        for (int i = 0; i < LANES; ++i) word |= uint64_t(uint32_t(codes[i])) << (bits * i);
        std::memcpy(out + e / 8 * bits, &word, 2 * bits);
    }
    return true;
}

bool pack(bool half, const void* x, size_t first, size_t last, int bits, const float* values, float inverse, uint8_t* codes) {
    return half ? pack_of(static_cast<const BFloat16*>(x), first, last, bits, values, inverse, codes)
                : pack_of(static_cast<const float*>(x), first, last, bits, values, inverse, codes);
}

template <class T> void unpack_of(const uint8_t* codes, size_t first, size_t last, int bits, const float* values, T* x) {
    const uint64_t mask = (1u << bits) - 1;
    for (size_t e = first; e < last; e += LANES) {
        uint64_t word = 0;
        std::memcpy(&word, codes + e / 8 * bits, 2 * bits);
        f32x16 v;
        for (int i = 0; i < LANES; ++i) v[i] = values[word >> (bits * i) & mask];
        narrow(x + e, v, int(last - e < LANES ? last - e : LANES));
    }
}

void unpack(bool half, const uint8_t* codes, size_t first, size_t last, int bits, const float* values, void* x) {
    half ? unpack_of(codes, first, last, bits, values, static_cast<BFloat16*>(x))
         : unpack_of(codes, first, last, bits, values, static_cast<float*>(x));
}

}  // namespace

const TrainingKernels& training_table() {
    static const TrainingKernels kernels{
        [](const Firing& f, size_t first, size_t last) { f.half ? forward<BFloat16>(f, first, last) : forward<float>(f, first, last); },
        [](const Firing& f, size_t first, size_t last, float* sums) {
            return f.half ? backward<BFloat16>(f, first, last, sums) : backward<float>(f, first, last, sums);
        },
        norm_sums, norm_backward, pack, unpack};
    return kernels;
}

}  // namespace sd::SD_ISA
