#include "engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <numeric>
#include <stdexcept>

#include "dispatch.h"

namespace sd {

namespace {

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument("engine: " + why); }

void require(bool holds, const char* why) {
    if (!holds) refuse(why);
}

const Kernels* find_kernels(const std::string& isa) {
    for (const Kernels* kernels : runnable_kernels())
        if (isa.empty() || isa == kernels->name) return kernels;
    refuse("this machine cannot run the kernels \"" + isa + "\"");
}

constexpr size_t ALIGN = 64;

/// Of a run, between two looks at what the world outside wants.
constexpr double SECONDS_BETWEEN = 0.1;

/// Processor time of this thread: other processes do not lengthen it. Time on the wall where there is no such clock.
double thread_seconds() {
#ifdef CLOCK_THREAD_CPUTIME_ID
    timespec now;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0) return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
#endif
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

}  // namespace

Engine::Engine(const std::string& isa, int time_steps) : kernels_(find_kernels(isa)), time_steps_(time_steps) {
    require(time_steps >= 1 && time_steps <= 4096, "the number of time steps must lie in 1..4096");
}

int Engine::add_slot(Kind kind, int steps, int height, int width, int channels, float unit, bool packed) {
    constexpr int LIMIT = 1 << 15;
    for (int size : {steps, height, width, channels}) require(size >= 1 && size <= LIMIT, "a map's size is out of range");
    require(steps == 1 || steps == time_steps_, "a map has one time step, or all of them");
    require(std::isfinite(unit), "a unit must be finite");
    Slot slot{kind, steps, height, width, channels, packed ? channels : (channels + 31) / 32 * 32, unit};
    require(double(slot.steps) * slot.height * slot.width * slot.stride < 2e9, "a map is too large");
    slots_.push_back(slot);
    return int(slots_.size()) - 1;
}

const Slot& Engine::any(int slot) const {
    require(slot >= 0 && slot < int(slots_.size()), "an operation names a map that does not exist");
    require(!slots_[slot].packed(), "only weight layers read a packed map");
    return slots_[slot];
}

const Slot& Engine::expect(int slot, Kind kind) const {
    require(any(slot).kind == kind, "an operation reads or writes a map of another kind");
    return slots_[slot];
}

/// real: what the neuron reads; its membrane has one step of it.
void Engine::check_spiking(const Spiking& spiking, const Slot& real, const Slot& spikes) const {
    const Neuron& neuron = spiking.neuron;
    for (int slot : {spiking.before, spiking.after}) {
        if (slot < 0) continue;
        const Slot& membrane = expect(slot, Kind::Real);
        require(neuron.kind == NeuronKind::Lif && membrane.steps == 1 && membrane.positions() == real.positions()
                    && membrane.stride == real.stride, "a membrane of another shape");
    }
    require(neuron.kind != NeuronKind::None, "spikes without a neuron");
    require(spikes.stride == real.stride, "spikes of another shape");
    require(spikes.steps == (neuron.kind == NeuronKind::Lif ? time_steps_ : real.steps), "spikes of other time steps");
    require(std::isfinite(neuron.leak) && std::isfinite(neuron.threshold) && std::isfinite(neuron.rest),
            "a neuron's constants must be finite");
    require(neuron.levels >= 1 && neuron.levels <= 255, "a neuron counts to at most 255");
}

void Engine::append(std::unique_ptr<Operation> operation) {
    require(places_.empty(), "the program is complete");
    operations_.push_back(std::move(operation));
}

namespace {

/// An operation that is one function of the engine.
struct Call : Operation {
    std::function<void(Engine&)> call;
    explicit Call(std::function<void(Engine&)> call) : call(std::move(call)) {}
    void run(Engine& engine) override { call(engine); }
};

}  // namespace

void Engine::append(std::vector<int> reads, std::vector<int> writes, std::function<void(Engine&)> call) {
    auto made = std::make_unique<Call>(std::move(call));
    made->reads = std::move(reads), made->writes = std::move(writes);
    append(std::move(made));
}

void Engine::finish(const std::vector<int>& outputs, bool keep) {
    const int count = int(slots_.size()), steps = int(operations_.size());
    std::vector<int> born(count, -1), dies(count, -1);
    for (int i = 0; i < steps; ++i) {
        for (int slot : operations_[i]->reads)
            if (slot >= 0) {
                require(born[slot] >= 0, "a map is read before it is written");
                dies[slot] = i;
            }
        for (int slot : operations_[i]->writes)
            if (slot >= 0) {
                require(born[slot] < 0, "a map is written twice");
                born[slot] = dies[slot] = i;
            }
    }
    for (int slot = 0; slot < count; ++slot) require(born[slot] >= 0, "a map is never written");
    for (int output : outputs) {
        require(output >= 0 && output < count, "there is no such output");
        dies[output] = steps;
    }
    const std::vector<size_t> offsets = places(born, dies, keep);
    arena_.reset(new char[arena_size_ + 2 * ALIGN]());
    char* base = reinterpret_cast<char*>(aligned(reinterpret_cast<size_t>(arena_.get())));
    for (size_t offset : offsets) places_.push_back(base + offset);
}

/// A map may lie where no other map lies that lives at the same time. The largest choose first, each the lowest place.
std::vector<size_t> Engine::places(const std::vector<int>& born, const std::vector<int>& dies, bool keep) {
    const int count = int(slots_.size());
    std::vector<size_t> offsets(count, 0);
    std::vector<int> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return slots_[a].bytes() > slots_[b].bytes(); });
    for (int i = 0; i < count; ++i) {
        const int slot = order[i];
        std::vector<std::pair<size_t, size_t>> taken;
        for (int j = 0; j < i; ++j) {
            const int other = order[j];
            if (keep || (born[other] <= dies[slot] && born[slot] <= dies[other]))
                taken.emplace_back(offsets[other], offsets[other] + aligned(slots_[other].bytes()));
        }
        std::sort(taken.begin(), taken.end());
        size_t place = 0;
        for (const auto& [first, last] : taken) {
            if (place + aligned(slots_[slot].bytes()) <= first) break;
            place = std::max(place, last);
        }
        offsets[slot] = place;
        arena_size_ = std::max(arena_size_, place + aligned(slots_[slot].bytes()));
    }
    return offsets;
}

void* Engine::scratch(int thread, size_t bytes) {
    auto& [memory, size] = scratch_.at(thread);
    if (size < bytes + ALIGN) {
        memory.reset(new char[bytes + ALIGN]);   // not initialised: only what is used gets pages
        size = bytes + ALIGN;
    }
    return reinterpret_cast<void*>(aligned(reinterpret_cast<size_t>(memory.get())));
}

void Engine::run(const std::vector<Input>& inputs, int threads, const std::function<void()>& between) {
    require(!places_.empty(), "the program is not complete");
    require(threads >= 1 && threads <= 1024, "the number of threads must lie in 1..1024");
    threads_ = threads;
    scratch_.resize(threads);
    inputs_ = &inputs;
    seconds_.clear();
    using Clock = std::chrono::steady_clock;
    auto looked = Clock::now();
    for (const auto& operation : operations_) {
        const double start = thread_seconds();
        operation->run(*this);
        seconds_.push_back(thread_seconds() - start);
        if (Clock::now() - looked > std::chrono::duration<double>(SECONDS_BETWEEN)) between(), looked = Clock::now();
    }
}

}  // namespace sd
