#include "dispatch.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

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
  // not known by this name to every compiler
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1)) found.emplace_back("avxvnni");
  return found;
}
#elif defined(__aarch64__) && defined(__linux__)
std::vector<std::string> detect() {
  constexpr unsigned long DOT_PRODUCTS = 1ul << 20;   // HWCAP_ASIMDDP
  return getauxval(AT_HWCAP) & DOT_PRODUCTS ? std::vector<std::string>{"asimddp"} : std::vector<std::string>{};
}
#elif defined(__aarch64__) && defined(__APPLE__)
std::vector<std::string> detect() { return {"asimddp"}; }   // all of them
#else
std::vector<std::string> detect() { return {}; }
#endif

// The features that each set of flags in CMakeLists.txt assumes.
bool cpu_has(const std::vector<const char*>& wanted) {
  const std::vector<std::string> found = cpu_features();
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](const char* name) { return std::find(found.begin(), found.end(), name) != found.end(); });
}

// Instruction sets, the widest first, and what they assume.
struct Set {
  const char* name;
  std::vector<const char*> features;
};
const Set SETS[] = {
    {"avx512", {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni", "avx512vbmi", "avx512vbmi2"}},
    {"avx512bw", {"avx512f", "avx512bw", "avx512vl", "avx512dq"}},
    {"avxvnni", {"avx2", "avxvnni"}},
    {"avx2", {"avx2"}},
    {"dotprod", {"asimddp"}},
    {"portable", {}},
};

std::string names() {
  std::string all;
  for (const Set& set : SETS) all += (all.empty() ? "" : ", ") + std::string(set.name);
  return all;
}

// Place in SETS of the widest set that SPIKEDRIVEN_ISA allows; without it, of the widest there is.
size_t widest_allowed() {
  const char* wanted = std::getenv("SPIKEDRIVEN_ISA");
  if (!wanted || !*wanted) return 0;
  for (size_t i = 0; i < std::size(SETS); ++i)
    if (std::string(wanted) == SETS[i].name) return i;
  throw std::invalid_argument("SPIKEDRIVEN_ISA is \"" + std::string(wanted) + "\"; it can be one of " + names());
}

// Of one table per instruction set, null where it was not compiled, those that can run here and are allowed.
template <class Table> std::vector<const Table*> runnable(std::initializer_list<const Table*> compiled) {
  static const size_t allowed = widest_allowed();
  std::vector<const Table*> tables;
  const Set* set = SETS;
  for (const Table* table : compiled) {
    if (table && size_t(set - SETS) >= allowed && cpu_has(set->features)) tables.push_back(table);
    ++set;
  }
  return tables;
}

#ifdef SD_HAS_AVX512
#define SD_AVX512(table) &avx512::table()
#else
#define SD_AVX512(table) nullptr
#endif
#ifdef SD_HAS_AVX512BW
#define SD_AVX512BW(table) &avx512bw::table()
#else
#define SD_AVX512BW(table) nullptr
#endif
#ifdef SD_HAS_AVXVNNI
#define SD_AVXVNNI(table) &avxvnni::table()
#else
#define SD_AVXVNNI(table) nullptr
#endif
#ifdef SD_HAS_AVX2
#define SD_AVX2(table) &avx2::table()
#else
#define SD_AVX2(table) nullptr
#endif
#ifdef SD_HAS_DOTPROD
#define SD_DOTPROD(table) &dotprod::table()
#else
#define SD_DOTPROD(table) nullptr
#endif

// Training has kernels for three sets; elsewhere those of the next narrower one. So a set has one place in all lists.
#ifdef SD_HAS_AVX512BW
#define SD_TRAINING_AVX512BW(table) SD_AVX2(table)
#else
#define SD_TRAINING_AVX512BW(table) nullptr
#endif
#ifdef SD_HAS_AVXVNNI
#define SD_TRAINING_AVXVNNI(table) SD_AVX2(table)
#else
#define SD_TRAINING_AVXVNNI(table) nullptr
#endif
#ifdef SD_HAS_DOTPROD
#define SD_TRAINING_DOTPROD(table) &portable::table()
#else
#define SD_TRAINING_DOTPROD(table) nullptr
#endif
#define SD_TRAINING(Table, table)                                                                          \
  runnable<Table>({SD_AVX512(table), SD_TRAINING_AVX512BW(table), SD_TRAINING_AVXVNNI(table), SD_AVX2(table), \
                   SD_TRAINING_DOTPROD(table), &portable::table()})

}  // namespace

std::vector<std::string> cpu_features() {
  static const std::vector<std::string> found = detect();
  return found;
}

std::vector<const Kernels*> runnable_kernels() {
  return runnable<Kernels>({SD_AVX512(table), SD_AVX512BW(table), SD_AVXVNNI(table), SD_AVX2(table), SD_DOTPROD(table),
                            &portable::table()});
}

std::vector<const TrainingKernels*> runnable_training_kernels() { return SD_TRAINING(TrainingKernels, training_table); }

std::vector<const NormKernels*> runnable_norm_kernels() { return SD_TRAINING(NormKernels, norm_table); }

std::vector<const PoolKernels*> runnable_pool_kernels() { return SD_TRAINING(PoolKernels, pool_table); }

std::vector<const DepthwiseKernels*> runnable_depthwise_kernels() { return SD_TRAINING(DepthwiseKernels, depthwise_table); }

}  // namespace sd
