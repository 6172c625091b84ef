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

/// A map [steps][height][width][channels], stored with `stride` channels: a multiple of 32, the last ones zero where
/// values are real, or as many as there are if it is packed. unit: worth of one count.
struct Slot {
    Kind kind;
    int steps, height, width, channels, stride;
    float unit = 1;
    bool packed() const { return stride % 32 != 0; }
    int positions() const { return height * width; }
    size_t values() const { return size_t(steps) * positions() * stride; }
    size_t bytes() const { return values() * (kind == Kind::Real ? 4 : 1); }
};

/// Arrays from outside, with the number of values that they hold.
template <class T> struct View {
    const T* data;
    size_t size;
};

/// A map from outside, [steps][height][width][channels] with these distances between entries.
struct Input {
    const float* data;
    int64_t strides[4];
};

/// A neuron that makes spikes; before, after: slots of its membrane, -1 for none.
struct Spiking {
    Neuron neuron;
    int before = -1, after = -1;
};

enum class Mode { Rows, Dense, Grouped, Float };

/// A weight layer with everything that happens to its sums; -1 stands for no slot.
struct Linear {
    int in = -1, residual = -1, real = -1, spikes = -1;
    Axis y, x;   // their sizes and numbers of windows are those of the maps
    int levels = 1, groups = 1;
    Mode mode = Mode::Rows;
    Spiking spiking;
};

enum class Pair { Sum, Product, Quotient };

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

    /// packed: for a map from outside that only weight layers read, without padding between its channels.
    int add_slot(Kind kind, int steps, int height, int width, int channels, float unit, bool packed);

    // Each appends an operation. std::invalid_argument where shapes or slots do not fit.
    /// The next of the inputs of `run`.
    void image(int out);
    void constant(int out, View<float> value);
    void linear(const Linear& layer, View<int16_t> weight, View<float> scale, View<float> bias);
    /// As `linear`, with weights of -127..127.
    void byte_linear(const Linear& layer, View<int8_t> weight, View<float> scale, View<float> bias);
    /// As `linear`, on real values or the values of counts (mode Float).
    void float_linear(const Linear& layer, View<float> weight, View<float> scale, View<float> bias);
    void fire(int in, int out, const Spiking& spiking);
    /// rows, columns: [out][3], as `Bounds`.
    void max_pool(int in, int out, View<int32_t> rows, View<int32_t> columns);
    void mean_pool(int in, int out, View<int32_t> rows, View<int32_t> columns);
    void masked_attention(int q, int k, int v, int out, const Spiking& spiking);
    void pooled_attention(int q, int k, int v, int out, int heads, const Spiking& spiking);
    void linear_attention(int q, int k, int v, int out, int heads, float scale, const Spiking& spiking);
    void head(int in, int out, View<float> weight, View<float> bias);
    void time_mean(int in, int out);
    void pair(Pair how, int a, int b, int out, float factor);
    void relu(int in, int out);
    void affine(int in, int out, View<float> scale, View<float> shift);
    void pick(int in, int out, View<int32_t> steps, View<int32_t> rows, View<int32_t> columns, View<int32_t> channels);
    void rearrange(int in, int out, View<int32_t> index);
    /// axis: 0 steps, 1 height, 2 width, 3 channels.
    void concat(const std::vector<int>& parts, int out, int axis);
    /// rows, columns and their weights: [out][2].
    void resize(int in, int out, View<int32_t> rows, View<float> row_weights, View<int32_t> columns,
                View<float> column_weights);

    /// Operations are complete: plan memory. keep: every map has memory of its own, for `read`.
    void finish(const std::vector<int>& outputs, bool keep);
    /// One sample. threads: how many to use; between: called from time to time, what it throws ends the run.
    void run(const std::vector<Input>& inputs, int threads, const std::function<void()>& between);
    /// Memory of a map.
    const Slot& slot(int i) const { return slots_.at(i); }
    const void* data(int i) const { return places_.at(i); }
    /// The inputs in their order.
    size_t input_count() const { return images_.size(); }
    const Slot& input_slot(size_t i) const { return slots_.at(images_.at(i)); }
    size_t memory() const { return arena_size_; }
    /// Seconds of processor time that each operation of the last run took on the thread that called it.
    const std::vector<double>& seconds() const { return seconds_; }

    // For operations.
    const Kernels& kernels() const { return *kernels_; }
    int threads() const { return threads_; }
    /// part(i, thread) for every i < parts, on the threads of this run.
    void each(int parts, const std::function<void(int, int)>& part) const { parallel(threads_, parts, part); }
    const Input& input(int index) const { return inputs_->at(index); }
    template <class T> T* at(int slot) { return slot < 0 ? nullptr : reinterpret_cast<T*>(places_[slot]); }
    /// Scratch memory of one thread, at least this many bytes.
    void* scratch(int thread, size_t bytes);
    int time_steps() const { return time_steps_; }

  private:
    template <class Weight>
    void add_layer(const Linear& layer, View<Weight> weight, View<float> scale, View<float> bias);
    void check_results(const Linear& layer, int height, int width, int channels, Epilogue& e) const;
    void pool(int in, int out, View<int32_t> rows, View<int32_t> columns, bool mean);
    void append(std::unique_ptr<Operation> operation);
    void append(std::vector<int> reads, std::vector<int> writes, std::function<void(Engine&)> call);
    const Slot& any(int slot) const;
    const Slot& expect(int slot, Kind kind) const;
    void check_spiking(const Spiking& spiking, const Slot& real, const Slot& spikes) const;
    std::vector<size_t> places(const std::vector<int>& born, const std::vector<int>& dies, bool keep);

    const Kernels* kernels_;
    int time_steps_;
    std::vector<Slot> slots_;
    std::vector<int> images_;   // slots of the inputs
    std::vector<std::unique_ptr<Operation>> operations_;
    std::vector<char*> places_;
    std::unique_ptr<char[]> arena_;
    size_t arena_size_ = 0;
    std::vector<double> seconds_;
    int threads_ = 1;
    std::vector<std::pair<std::unique_ptr<char[]>, size_t>> scratch_;
    const std::vector<Input>* inputs_ = nullptr;
};

}  // namespace sd
