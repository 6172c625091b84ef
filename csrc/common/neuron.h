// A neuron's constants, for the engine and for training.
#pragma once

namespace sd {

enum class NeuronKind { None, Lif, Integer };

struct Neuron {
    NeuronKind kind = NeuronKind::None;
    float leak = 2;            // tau, by which to divide; or a factor
    float threshold = 1, rest = 0;   // integer neurons count multiples of the threshold
    bool multiply = false;     // leak is a factor
    bool hard_reset = true, decay_input = true;
    float levels = 1;          // integer neurons: counts 0..levels
    bool half_up = false;      // integer neurons: 0.5 -> 1 instead of 0
};

}  // namespace sd
