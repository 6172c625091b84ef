// One time step of sixteen neurons: the only place where compiled code charges, fires, resets and counts.
//
// Every operation rounds as the readable neurons do (neurons/dynamics.py, neurons/integer.py), so that all give one result.
#pragma once

#include "floats.h"
#include "neuron.h"

namespace sd::SD_ISA {

/// Charge, fire and reset of LIF neurons.
struct Dynamics {
    Neuron neuron;
    f32x16 threshold, rest;
    explicit Dynamics(const Neuron& n) : neuron(n), threshold(splat(n.threshold)), rest(splat(n.rest)) {}

    f32x16 leak(const f32x16& difference) const {
        return neuron.multiply ? difference * neuron.leak : difference / neuron.leak;
    }
    f32x16 above_rest(const f32x16& v) const { return neuron.rest != 0 ? v - rest : v; }
    /// The charged membrane of a neuron at rest.
    f32x16 from_rest(const f32x16& x) const {
        const f32x16 driven = neuron.decay_input ? leak(x) : x;
        return neuron.rest != 0 ? driven + rest : driven;
    }
    f32x16 charge(const f32x16& v, const f32x16& x) const {
        if (neuron.decay_input) return v + leak(x - above_rest(v));
        return v - leak(above_rest(v)) + x;
    }
    Mask fires(const f32x16& h) const { return at_least(h, threshold); }
    f32x16 reset(const f32x16& h) const { return choose(fires(h), neuron.hard_reset ? rest : h - threshold, h); }
};

/// Counts 0..levels of integer neurons. KEEPS_NAN: of NaN comes NaN; else 0.
template <bool KEEPS_NAN> SD_INLINE f32x16 counts(const Neuron& n, const f32x16& y) {
    const f32x16 x = n.threshold == 1 ? y : y / n.threshold, zero = splat(0.0f);
    const f32x16 bounded = at_most(KEEPS_NAN ? not_below(x, zero) : choose(at_least(x, zero), x, zero), splat(n.levels));
    if (!n.half_up) return nearest(bounded);
    const f32x16 up = bounded + 0.5f;
    if (!KEEPS_NAN) return convert<f32x16>(convert<i32x16>(up));   // cut off: the floor, faster than below
    const f32x16 round = nearest(up);
    return choose(at_least(up, round), round, round - 1.0f);   // the floor
}

}  // namespace sd::SD_ISA
