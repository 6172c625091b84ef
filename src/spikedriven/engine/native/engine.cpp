#include "engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
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

size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

}  // namespace

Engine::Engine(const std::string& isa, int time_steps) : kernels_(find_kernels(isa)), time_steps_(time_steps) {
    require(time_steps >= 1 && time_steps <= 4096, "the number of time steps must lie in 1..4096");
}

int Engine::add_slot(Kind kind, int steps, int height, int width, int channels) {
    constexpr int LIMIT = 1 << 15;
    for (int size : {steps, height, width, channels}) require(size >= 1 && size <= LIMIT, "a map's size is out of range");
    require(steps == 1 || steps == time_steps_, "a map has one time step, or all of them");
    Slot slot{kind, steps, height, width, channels, channels};
    if (!slots_.empty()) slot.stride = (channels + 31) / 32 * 32;   // the image stays packed
    require(double(slot.steps) * slot.height * slot.width * slot.stride < 2e9, "a map is too large");
    slots_.push_back(slot);
    return int(slots_.size()) - 1;
}

const Slot& Engine::expect(int slot, Kind kind) const {
    require(slot >= 0 && slot < int(slots_.size()), "an operation names a map that does not exist");
    require(slots_[slot].kind == kind, "an operation reads or writes a map of another kind");
    return slots_[slot];
}

void Engine::check_neuron(const Neuron& neuron, const Slot& real, const Slot& spikes) const {
    require(neuron.kind != NeuronKind::None, "spikes without a neuron");
    require(spikes.positions() == real.positions() && spikes.stride == real.stride, "spikes of another shape");
    require(spikes.steps == (neuron.kind == NeuronKind::Lif ? time_steps_ : real.steps), "spikes of other time steps");
    require(std::isfinite(neuron.leak) && std::isfinite(neuron.threshold) && std::isfinite(neuron.rest),
            "a neuron's constants must be finite");
    require(neuron.levels >= 1 && neuron.levels <= 255, "a neuron counts to at most 255");
}

void Engine::append(std::unique_ptr<Operation> operation) {
    require(places_.empty(), "the program is complete");
    operations_.push_back(std::move(operation));
}

void Engine::finish(int output, bool keep) {
    require(output >= 0 && output < int(slots_.size()), "there is no such output");
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
    dies[output] = steps;
    // First fit: a map may lie where no other map lies that lives at the same time.
    std::vector<size_t> offsets(count, 0);
    for (int slot = 0; slot < count; ++slot) {
        std::vector<std::pair<size_t, size_t>> taken;
        for (int other = 0; other < slot; ++other)
            if (keep || (born[other] <= dies[slot] && born[slot] <= dies[other]))
                taken.emplace_back(offsets[other], offsets[other] + aligned(slots_[other].bytes()));
        std::sort(taken.begin(), taken.end());
        size_t place = 0;
        for (const auto& [first, last] : taken) {
            if (place + aligned(slots_[slot].bytes()) <= first) break;
            place = std::max(place, last);
        }
        offsets[slot] = place;
        arena_size_ = std::max(arena_size_, place + aligned(slots_[slot].bytes()));
    }
    arena_.reset(new char[arena_size_ + 2 * ALIGN]());
    char* base = reinterpret_cast<char*>(aligned(reinterpret_cast<size_t>(arena_.get())));
    for (size_t offset : offsets) places_.push_back(base + offset);
}

void* Engine::scratch(int thread, size_t bytes) {
    auto& [memory, size] = scratch_.at(thread);
    if (size < bytes + ALIGN) {
        memory.reset(new char[bytes + ALIGN]);   // not initialised: only what is used gets pages
        size = bytes + ALIGN;
    }
    return reinterpret_cast<void*>(aligned(reinterpret_cast<size_t>(memory.get())));
}

void Engine::run(const float* input, int threads) {
    require(!places_.empty(), "the program is not complete");
    require(threads >= 1 && threads <= 1024, "the number of threads must lie in 1..1024");
    threads_ = threads;
    scratch_.resize(threads);
    input_ = input;
    seconds_.clear();
    for (const auto& operation : operations_) {
        const auto start = std::chrono::steady_clock::now();
        operation->run(*this);
        seconds_.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
}

}  // namespace sd
