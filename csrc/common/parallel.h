// Loops over independent parts on the threads that PyTorch uses, where PyTorch is loaded.
#pragma once

#include <functional>

namespace sd {

/// part(i, thread) for every i < parts on up to `threads` threads; returns when all are done, throws what a part threw.
/// thread < threads differs between parts that run at the same time. std::system_error where the system gives no threads.
void parallel(int threads, int parts, const std::function<void(int, int)>& part);

}  // namespace sd
