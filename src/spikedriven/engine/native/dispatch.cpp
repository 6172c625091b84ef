#include "dispatch.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <stdexcept>

namespace sd {

namespace {

#if defined(__x86_64__) || defined(__i386__)
// The builtin wants a literal, hence a macro; it also asks the operating system whether it saves the wide registers.
#define SD_FEATURE(name) \
  if (__builtin_cpu_supports(name)) found.emplace_back(name)

std::vector<std::string> detect() {
  std::vector<std::string> found;
  __builtin_cpu_init();
  SD_FEATURE("sse4.2");
  SD_FEATURE("popcnt");
  SD_FEATURE("avx");
  SD_FEATURE("avx2");
  SD_FEATURE("fma");
  SD_FEATURE("bmi2");
  SD_FEATURE("avx512f");
  SD_FEATURE("avx512bw");
  SD_FEATURE("avx512vl");
  SD_FEATURE("avx512dq");
  SD_FEATURE("avx512vnni");
  SD_FEATURE("avx512vbmi");
  SD_FEATURE("avx512vbmi2");
  return found;
}
#else
std::vector<std::string> detect() { return {}; }
#endif

// The features that each set of flags in CMakeLists.txt assumes.
bool cpu_has(std::initializer_list<const char*> wanted) {
  const std::vector<std::string> found = cpu_features();
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](const char* name) { return std::find(found.begin(), found.end(), name) != found.end(); });
}

// Instruction sets, the widest first.
constexpr const char* NAMES[] = {"avx512", "avx2", "portable"};

// Place in NAMES of the widest set that SPIKEDRIVEN_ISA allows; without it, of the widest there is.
size_t widest_allowed() {
  const char* wanted = std::getenv("SPIKEDRIVEN_ISA");
  if (!wanted || !*wanted) return 0;
  for (size_t i = 0; i < std::size(NAMES); ++i)
    if (std::string(wanted) == NAMES[i]) return i;
  throw std::invalid_argument("SPIKEDRIVEN_ISA is \"" + std::string(wanted) + "\"; it can be avx512, avx2 or portable");
}

// One table per instruction set, of those that were compiled, can run here and are allowed.
template <class Table> std::vector<const Table*> runnable(const Table* avx512, const Table* avx2, const Table* portable) {
  static const size_t allowed = widest_allowed();
  std::vector<const Table*> tables;
  if (avx512 && allowed <= 0 && cpu_has({"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni", "avx512vbmi", "avx512vbmi2"}))
    tables.push_back(avx512);
  if (avx2 && allowed <= 1 && cpu_has({"avx2"})) tables.push_back(avx2);
  tables.push_back(portable);
  return tables;
}

#ifdef SD_HAS_AVX512
#define SD_AVX512(table) &avx512::table()
#else
#define SD_AVX512(table) nullptr
#endif
#ifdef SD_HAS_AVX2
#define SD_AVX2(table) &avx2::table()
#else
#define SD_AVX2(table) nullptr
#endif

}  // namespace

std::vector<std::string> cpu_features() {
  static const std::vector<std::string> found = detect();
  return found;
}

std::vector<const Kernels*> runnable_kernels() { return runnable<Kernels>(SD_AVX512(table), SD_AVX2(table), &portable::table()); }

std::vector<const TrainingKernels*> runnable_training_kernels() {
  return runnable<TrainingKernels>(SD_AVX512(training_table), SD_AVX2(training_table), &portable::training_table());
}

std::vector<const NormKernels*> runnable_norm_kernels() {
  return runnable<NormKernels>(SD_AVX512(norm_table), SD_AVX2(norm_table), &portable::norm_table());
}

std::vector<const PoolKernels*> runnable_pool_kernels() {
  return runnable<PoolKernels>(SD_AVX512(pool_table), SD_AVX2(pool_table), &portable::pool_table());
}

std::vector<const DepthwiseKernels*> runnable_depthwise_kernels() {
  return runnable<DepthwiseKernels>(SD_AVX512(depthwise_table), SD_AVX2(depthwise_table), &portable::depthwise_table());
}

}  // namespace sd
