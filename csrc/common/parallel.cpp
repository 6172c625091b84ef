#include "parallel.h"

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#if __has_include(<dlfcn.h>)
#include <dlfcn.h>
#include <unistd.h>
#endif

#include "threads.h"

namespace sd {

namespace {

/// Entry of the OpenMP runtime that runs f(data) once on each thread (the ABI of GCC, which LLVM's runtime offers too).
using OpenMP = void (*)(void (*f)(void*), void* data, unsigned threads, unsigned flags);

#if __has_include(<dlfcn.h>)
/// Known before anything can fork: in a child, whoever ran first, OpenMP's threads may be missing.
const pid_t LOADED_BY = getpid();
#endif

/// PyTorch brings an OpenMP runtime whose threads go on spinning for a while after each operator. Threads of our own
/// beside them would share the cores with the spinning, so theirs are used, found by name since nothing is linked.
/// Null where there is none; in a process made by fork, in which GNU's runtime waits for threads that are not there; and
/// for more threads than there are cores, since that runtime ends the process if the system refuses one.
OpenMP openmp(int threads) {
#if __has_include(<dlfcn.h>)
    static const OpenMP found = reinterpret_cast<OpenMP>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    static const int cores = int(std::thread::hardware_concurrency());
    return threads <= cores && getpid() == LOADED_BY ? found : nullptr;
#else
    return nullptr;
#endif
}

/// The threads of our own that wait for this thread's loops.
Threads& own(int size) {
    static thread_local std::unique_ptr<Threads> threads;
    if (!threads || threads->size() != size) threads = std::make_unique<Threads>(size);
    return *threads;
}

struct Loop {
    const std::function<void(int, int)>& part;
    const int parts;
    std::atomic<int> threads{0}, next{0};
    std::mutex mutex;
    std::exception_ptr error;

    void take() noexcept {
        const int thread = threads++;
        try {
            for (int i = next++; i < parts; i = next++) part(i, thread);
        } catch (...) {
            const std::lock_guard lock(mutex);
            error = std::current_exception();
            next = parts;
        }
    }
};

}  // namespace

void parallel(int threads, int parts, const std::function<void(int, int)>& part) {
    if (threads <= 1 || parts <= 1) {
        for (int i = 0; i < parts; ++i) part(i, 0);
    } else if (const OpenMP run = openmp(threads)) {
        Loop loop{part, parts, {}, {}, {}, {}};
        run([](void* data) { static_cast<Loop*>(data)->take(); }, &loop, unsigned(threads < parts ? threads : parts), 0);
        if (loop.error) std::rethrow_exception(loop.error);
    } else {
        own(threads).each(parts, part);
    }
}

}  // namespace sd
