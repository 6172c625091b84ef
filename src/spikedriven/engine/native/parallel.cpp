#include "parallel.h"

#include <atomic>
#include <exception>
#include <mutex>
#if __has_include(<dlfcn.h>)
#include <dlfcn.h>
#endif

#include "threads.h"

namespace sd {

namespace {

/// Entry of the OpenMP runtime that runs f(data) once on each thread (the ABI of GCC, which LLVM's runtime offers too).
using OpenMP = void (*)(void (*f)(void*), void* data, unsigned threads, unsigned flags);

/// PyTorch brings an OpenMP runtime whose threads go on spinning for a while after each operator. Threads of our own
/// beside them would share the cores with the spinning, so theirs are used, found by name since nothing is linked.
OpenMP openmp() {
#if __has_include(<dlfcn.h>)
    static const OpenMP found = reinterpret_cast<OpenMP>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    return found;
#else
    return nullptr;
#endif
}

struct Loop {
    const std::function<void(int)>& part;
    const int parts;
    std::atomic<int> next{0};
    std::mutex mutex;
    std::exception_ptr error;

    void take() noexcept {
        try {
            for (int i = next++; i < parts; i = next++) part(i);
        } catch (...) {
            const std::lock_guard lock(mutex);
            error = std::current_exception();
            next = parts;
        }
    }
};

}  // namespace

void parallel(int threads, int parts, const std::function<void(int)>& part) {
    Loop loop{part, parts, {}, {}, {}};
    const int used = threads < parts ? threads : parts;
    if (used <= 1) {
        loop.take();
    } else if (openmp()) {
        openmp()([](void* data) { static_cast<Loop*>(data)->take(); }, &loop, unsigned(used), 0);
    } else {
        Threads(used).each(used, [&](int, int) { loop.take(); });
    }
    if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace sd
