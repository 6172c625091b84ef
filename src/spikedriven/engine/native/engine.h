// A network as a list of operations on maps, run for one sample at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "parallel.h"

namespace sd {

enum class Kind { Spikes, Real };

/// A map [steps][height][width][channels], stored with `stride` channels.
struct Slot {
    Kind kind;
    int steps, height, width, channels, stride;
    int positions() const { return height * width; }
    size_t values() const { return size_t(steps) * positions() * stride; }
    size_t bytes() const { return values() * (kind == Kind::Real ? 4 : 1); }
};

/// Arrays from outside, with the number of values that they hold.
template <class T> struct View {
    const T* data;
    size_t size;
};

enum class Mode { Rows, Dense, Depthwise, Float };

/// A weight layer with everything that happens to its sums; -1 stands for no slot.
struct Linear {
    int in = -1, residual = -1, real = -1, spikes = -1;
    int kernel_h = 1, kernel_w = 1, step = 1, pad = 0, levels = 1;
    Mode mode = Mode::Rows;
    Neuron neuron;
};

class Engine;

class Operation {
  public:
    virtual ~Operation() = default;
    virtual void run(Engine&) = 0;
    std::vector<int> reads, writes;
};

class Engine {
  public:
    /// isa: name of a kernel table; time_steps: T of spikes that LIF neurons make.
    Engine(const std::string& isa, int time_steps);

    int add_slot(Kind kind, int steps, int height, int width, int channels);

    // Each appends an operation. std::invalid_argument where shapes or slots do not fit.
    void image(int out);
    void linear(const Linear& layer, View<int16_t> weight, View<float> scale, View<float> bias);
    /// As `linear`, with weights of up to 23 bits.
    void wide_linear(const Linear& layer, View<int32_t> weight, View<float> scale, View<float> bias);
    /// As `linear`, on real values (mode Float).
    void float_linear(const Linear& layer, View<float> weight, View<float> scale, View<float> bias);
    void fire(int in, int out, const Neuron& neuron);
    void pool(int in, int out, int kernel, int step, int pad);
    void masked_attention(int q, int k, int v, int out, const Neuron& neuron);
    void pooled_attention(int q, int k, int v, int out, int heads, const Neuron& neuron);
    void linear_attention(int q, int k, int v, int out, int heads, float scale, const Neuron& neuron);
    void space_mean(int in, int out);
    void head(int in, int out, float unit, View<float> weight, View<float> bias);
    void time_mean(int in, int out);
    void sum(int a, int b, int out, float factor);

    /// Operations are complete: plan memory. keep: every map has memory of its own, for `read`.
    void finish(int output, bool keep);
    /// One sample: input [steps][channels][height][width]; threads: how many to use.
    void run(const float* input, int threads);
    /// Memory of a map, and where `output` lies.
    const Slot& slot(int i) const { return slots_.at(i); }
    const void* data(int i) const { return places_.at(i); }
    size_t memory() const { return arena_size_; }
    /// Seconds that each operation took in the last run.
    const std::vector<double>& seconds() const { return seconds_; }

    // For operations.
    const Kernels& kernels() const { return *kernels_; }
    int threads() const { return threads_; }
    /// part(i, thread) for every i < parts, on the threads of this run.
    void each(int parts, const std::function<void(int, int)>& part) const { parallel(threads_, parts, part); }
    const float* input() const { return input_; }
    template <class T> T* at(int slot) { return slot < 0 ? nullptr : reinterpret_cast<T*>(places_[slot]); }
    /// Scratch memory of one thread, at least this many bytes.
    void* scratch(int thread, size_t bytes);
    int time_steps() const { return time_steps_; }

  private:
    template <class Weight>
    void add_layer(const Linear& layer, View<Weight> weight, View<float> scale, View<float> bias);
    void append(std::unique_ptr<Operation> operation);
    const Slot& expect(int slot, Kind kind) const;
    void check_neuron(const Neuron& neuron, const Slot& real, const Slot& spikes) const;

    const Kernels* kernels_;
    int time_steps_;
    std::vector<Slot> slots_;
    std::vector<std::unique_ptr<Operation>> operations_;
    std::vector<char*> places_;
    std::unique_ptr<char[]> arena_;
    size_t arena_size_ = 0;
    std::vector<double> seconds_;
    int threads_ = 1;
    std::vector<std::pair<std::unique_ptr<char[]>, size_t>> scratch_;
    const float* input_ = nullptr;
};

}  // namespace sd
