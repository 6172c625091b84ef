// Loops over independent parts on the threads that PyTorch uses, where PyTorch is loaded.
#pragma once

#include <functional>

namespace sd {

/// part(i) for every i < parts on up to `threads` threads; returns when all are done, throws what a part threw.
void parallel(int threads, int parts, const std::function<void(int)>& part);

}  // namespace sd
