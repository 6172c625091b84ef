// What this CPU can run.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"
#include "training.h"

namespace sd {

// Names of the instruction-set extensions that the CPU and the operating system offer, of those that are asked for here.
std::vector<std::string> cpu_features();

// The kernel tables compiled in that this CPU can run, the widest first; the last is always the portable one. The environment
// variable SPIKEDRIVEN_ISA (avx512, avx512bw, avxvnni, avx2, dotprod, portable), read once, leaves out the sets wider than the one it names.
std::vector<const Kernels*> runnable_kernels();

// The same of the training kernels.
std::vector<const TrainingKernels*> runnable_training_kernels();
std::vector<const NormKernels*> runnable_norm_kernels();
std::vector<const PoolKernels*> runnable_pool_kernels();
std::vector<const DepthwiseKernels*> runnable_depthwise_kernels();

}  // namespace sd
