#include "threads.h"

namespace sd {

namespace {

/// Looks at the condition for about the time between two layers before the thread goes to sleep.
constexpr int SPINS = 4000;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

Threads::Threads(int size) {
    for (int i = 1; i < size; ++i) workers_.emplace_back([this, i] { work(i); });
}

Threads::~Threads() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
        ++round_;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void Threads::each(int parts, const std::function<void(int, int)>& part) {
    if (parts <= 1 || workers_.empty()) {
        for (int i = 0; i < parts; ++i) part(i, 0);
        return;
    }
    part_ = &part;
    parts_ = parts;
    next_ = 0;
    busy_ = int(workers_.size());
    {
        const std::lock_guard lock(mutex_);
        ++round_;
    }
    wake_.notify_all();
    take(0);
    while (busy_.load() > 0) pause();
}

void Threads::take(int thread) {
    for (int i = next_++; i < parts_; i = next_++) (*part_)(i, thread);
}

void Threads::work(int thread) {
    uint64_t seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS && round_.load() == seen; ++spin) pause();
        if (round_.load() == seen) {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return round_.load() != seen; });
        }
        seen = round_.load();
        if (stop_) return;
        take(thread);
        --busy_;
    }
}

}  // namespace sd
