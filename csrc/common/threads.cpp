#include "threads.h"

#include <new>
#include <utility>
#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

namespace sd {

namespace {

/// Looks at the condition for about the time between two layers before the thread goes to sleep.
constexpr int SPINS = 4000;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

inline long this_process() {
#if __has_include(<unistd.h>)
    return long(getpid());
#else
    return 0;   // nothing forks there
#endif
}

}  // namespace

Threads::Threads(int size) { start(size); }

Threads::~Threads() {
    if (forked()) forget();
    stop();
}

bool Threads::forked() const { return process_ != this_process(); }

/// In a process made by fork there are no workers: their handles are left as they are, and what they may hold is new.
void Threads::forget() {
    new std::vector<std::thread>(std::move(workers_));
    new (&mutex_) std::mutex;
    new (&wake_) std::condition_variable;
    workers_.clear();
    round_ = 0;   // new workers count from here
}

void Threads::start(int size) {
    process_ = this_process();
    try {
        for (int i = 1; i < size; ++i) workers_.emplace_back([this, i] { work(i); });
    } catch (...) {
        stop();
        throw;
    }
}

void Threads::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
        ++round_;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
}

void Threads::each(int parts, const std::function<void(int, int)>& part) {
    if (parts <= 1 || workers_.empty()) {
        for (int i = 0; i < parts; ++i) part(i, 0);
        return;
    }
    if (forked()) {
        const int threads = size();
        forget();
        start(threads);
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
    for (int spin = 0; busy_.load() > 0; ++spin) spin < SPINS ? pause() : std::this_thread::yield();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Threads::take(int thread) {
    try {
        for (int i = next_++; i < parts_; i = next_++) (*part_)(i, thread);
    } catch (...) {
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
        next_ = parts_;
    }
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
