// Compiled once per instruction set, as kernels.cpp.

#include "channels.h"

namespace sd::SD_ISA {

namespace {

/// Most networks' choices, as constants: of one source the compiler makes a loop without the others' branches.
SD_INLINE bool is_usual(const Firing& f) {
    const Neuron& n = f.neuron;
    return n.multiply && n.decay_input && n.hard_reset && n.rest == 0 && !f.before && !f.still && f.detach_reset
           && !f.learns && !f.grad_after && f.surrogate == Surrogate::Sigmoid;
}
template <bool USUAL, int STEPS> SD_INLINE Firing with_constants(Firing f) {
    if (USUAL) {
        f.neuron.multiply = f.neuron.decay_input = f.neuron.hard_reset = f.detach_reset = true;
        f.neuron.rest = 0, f.before = f.grad_after = nullptr, f.still = f.learns = false;
        f.surrogate = Surrogate::Sigmoid;
    }
    if (STEPS) f.steps = STEPS;
    return f;
}

template <class T, bool USUAL, int STEPS> void forward_lif(const Firing& given, size_t first, size_t last) {
    const Firing f = with_constants<USUAL, STEPS>(given);
    const Dynamics d(f.neuron);
    const T* x = static_cast<const T*>(f.x);
    T* spikes = static_cast<T*>(f.spikes);
    each(f.norm, first, last, [&](size_t e, int count, size_t column) __attribute__((always_inline)) {
        f32x16 v = f.before ? widen(f.before + e, count) : splat(0.0f), y = splat(0.0f);
        #pragma GCC unroll 4
        for (int t = 0; t < f.steps; ++t) {
            if (t == 0 || !f.still) y = normed(f.norm, widen(x + t * f.n + e, count), column);
            const f32x16 h = t == 0 && !f.before ? d.from_rest(y) : d.charge(v, y);
            put_ones(spikes + t * f.n + e, d.fires(h), count);
            v = d.reset(h);
        }
        if (f.after) narrow(f.after + e, v, count);
    });
}

template <class T> void forward_integer(const Firing& f, size_t first, size_t last) {
    const T* x = static_cast<const T*>(f.x);
    T* spikes = static_cast<T*>(f.spikes);
    for (int t = 0; t < f.steps; ++t)
        each(f.norm, first, last, [&](size_t e, int count, size_t column) __attribute__((always_inline)) {
            const f32x16 y = normed(f.norm, widen(x + (f.still ? 0 : t * f.n) + e, count), column);
            narrow(spikes + t * f.n + e, counts<true>(f.neuron, y) / f.divisor, count);
        });
}

template <class T> void forward(const Firing& f, size_t first, size_t last) {
    if (f.neuron.kind != NeuronKind::Lif) return forward_integer<T>(f, first, last);
    if (!is_usual(f)) return forward_lif<T, false, 0>(f, first, last);
    f.steps == 4 ? forward_lif<T, true, 4>(f, first, last) : forward_lif<T, true, 0>(f, first, last);
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

/// The charged membranes of sixteen neurons at each step.
template <class T>
SD_INLINE void charge_again(const Firing& f, const Dynamics& d, const T* x, f32x16 v, int count, size_t column, f32x16* h) {
    f32x16 y = v;
    #pragma GCC unroll 4
    for (int t = 0; t < f.steps; ++t) {
        if (t == 0 || !f.still) y = normed(f.norm, widen(x + t * f.n, count), column);
        h[t] = t == 0 && !f.before ? d.from_rest(y) : d.charge(v, y);
        v = d.reset(h[t]);
    }
}

template <class T, bool USUAL, int STEPS>
double backward_lif(const Firing& given, size_t first, size_t last, float* sums) {
    const Firing f = with_constants<USUAL, STEPS>(given);
    const Dynamics d(f.neuron);
    const f32x16 zero = splat(0.0f);
    const T *x = static_cast<const T*>(f.x), *grad_spikes = static_cast<const T*>(f.grad_spikes);
    T* grad_x = static_cast<T*>(f.grad_x);
    f32x16 few[STEPS ? STEPS : KEPT];
    f32x16* h = f.steps <= KEPT ? few : new f32x16[f.steps];
    double grad_leak = 0;
    each(f.norm, first, last, [&](size_t e, int count, size_t column) __attribute__((always_inline)) {
        const f32x16 before = f.before ? widen(f.before + e, count) : zero;
        charge_again(f, d, x + e, before, count, column, h);
        f32x16 sum = zero, sum_off = zero, sum_leak = zero;
        f32x16 grad_v = f.grad_after ? widen(f.grad_after + e, count) : zero;
        #pragma GCC unroll 4
        for (int t = f.steps - 1; t >= 0; --t) {
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
            sum += dy;
            if (f.still) continue;
            narrow(grad_x + t * f.n + e, dy, count);
            if (f.norm.channels) sum_off += dy * off_mean(f.norm, widen(x + t * f.n + e, count), column);
        }
        if (f.still) {
            narrow(grad_x + e, sum, count);
            if (f.norm.channels) sum_off = sum * off_mean(f.norm, widen(x + e, count), column);
        }
        if (f.norm.channels) add_both(f.norm, sums, sum, sum_off, column, count);
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
        each(f.norm, first, last, [&](size_t e, int count, size_t column) __attribute__((always_inline)) {
            const f32x16 raw = widen(x + t * f.n + e, count), y = normed(f.norm, raw, column);
            f32x16 up = widen(grad_spikes + t * f.n + e, count);
            for (int s = 1; f.still && s < f.steps; ++s) up += widen(grad_spikes + s * f.n + e, count);
            const f32x16 passed = up / f.divisor;
            const f32x16 inside = f.inclusive
                ? choose(at_least(y, zero), choose(at_least(top, y), passed, zero), zero)
                : choose(at_least(zero, y), zero, choose(at_least(y, top), zero, passed));
            narrow(grad_x + t * f.n + e, inside, count);
            if (f.norm.channels) add_both(f.norm, sums, inside, inside * off_mean(f.norm, raw, column), column, count);
        });
}

template <class T> double backward(const Firing& f, size_t first, size_t last, float* sums) {
    if (f.neuron.kind != NeuronKind::Lif) {
        backward_integer<T>(f, first, last, sums);
        return 0;
    }
    if (!is_usual(f)) return backward_lif<T, false, 0>(f, first, last, sums);
    return f.steps == 4 ? backward_lif<T, true, 4>(f, first, last, sums) : backward_lif<T, true, 0>(f, first, last, sums);
}

/// Sixteen values as one bit each; false where one of them is neither of the two. As bits, so that -0 is not 0.
struct Bits {
    static constexpr int BYTES = 2;
    const f32x16 zero, one;
    Bits(const float* values, float) : zero(splat(values[0])), one(splat(values[1])) {}
    bool pack(const f32x16& v, uint32_t lanes, uint8_t* out) const {
        const uint32_t ones = bits_of(same_bits(v, one)) & lanes, zeros = bits_of(same_bits(v, zero));
        const uint16_t word = uint16_t(ones);
        std::memcpy(out, &word, BYTES);
        return ((ones | zeros) & lanes) == lanes;
    }
    f32x16 unpack(const uint8_t* in) const {
        uint16_t word;
        std::memcpy(&word, in, BYTES);
        return choose(mask_of(word), one, zero);
    }
};

/// Sixteen values as half bytes.
struct Nibbles {
    static constexpr int BYTES = 8;
    const f32x16 table;
    const float inverse;
    Nibbles(const float* values, float i) : table(load<f32x16>(values)), inverse(i) {}
    bool pack(const f32x16& v, uint32_t lanes, uint8_t* out) const {
        const f32x16 whole = nearest(at_most(not_below(v * inverse, splat(0.0f)), splat(15.0f)));
        const i32x16 codes = convert<i32x16>(choose(at_least(v, v), whole, splat(0.0f)));
        const u16x8 pairs = (u16x8)bytes_of(codes);
        const u8x8 packed = convert<u8x8>((pairs | pairs >> 4) & 255);
        std::memcpy(out, &packed, BYTES);
        return (bits_of(same_bits(look_up(table, codes), v)) & lanes) == lanes;
    }
    f32x16 unpack(const uint8_t* in) const {
        const u16x8 pairs = convert<u16x8>(load<u8x8>(in));
        const u8x16 codes = (u8x16)((pairs | pairs << 4) & 0x0f0f);
        return look_up(table, convert<i32x16>(codes));
    }
};

template <class Codes, class T>
bool pack_as(const T* x, size_t first, size_t last, const float* values, float inverse, uint8_t* out) {
    const Codes codes(values, inverse);
    for (size_t e = first; e < last; e += LANES) {
        const int count = int(last - e < LANES ? last - e : LANES);
        if (!codes.pack(widen(x + e, count), (1u << count) - 1, out + e / LANES * Codes::BYTES)) return false;
    }
    return true;
}

template <class T>
bool pack_of(const T* x, size_t first, size_t last, int bits, const float* values, float inverse, uint8_t* out) {
    return bits == 1 ? pack_as<Bits>(x, first, last, values, inverse, out) : pack_as<Nibbles>(x, first, last, values, inverse, out);
}

bool pack(bool half, const void* x, size_t first, size_t last, int bits, const float* values, float inverse, uint8_t* codes) {
    return half ? pack_of(static_cast<const BFloat16*>(x), first, last, bits, values, inverse, codes)
                : pack_of(static_cast<const float*>(x), first, last, bits, values, inverse, codes);
}

template <class Codes, class T> void unpack_as(const uint8_t* in, size_t first, size_t last, const float* values, T* x) {
    const Codes codes(values, 0);
    for (size_t e = first; e < last; e += LANES)
        narrow(x + e, codes.unpack(in + e / LANES * Codes::BYTES), int(last - e < LANES ? last - e : LANES));
}

template <class T> void unpack_of(const uint8_t* codes, size_t first, size_t last, int bits, const float* values, T* x) {
    bits == 1 ? unpack_as<Bits>(codes, first, last, values, x) : unpack_as<Nibbles>(codes, first, last, values, x);
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
        pack, unpack};
    return kernels;
}

}  // namespace sd::SD_ISA
