// Python module spikedriven.engine._native.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "dispatch.h"

namespace nb = nanobind;

namespace {

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const sd::Kernels* kernels : sd::runnable_kernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "The compiled engine: kernels for several instruction sets, chosen when the module is loaded.";
  m.def("cpu_features", &sd::cpu_features, "Instruction-set extensions of this CPU; an empty list on other machines than x86.");
  m.def("instruction_sets", &instruction_sets, "Kernels compiled in that this CPU can run, the widest first; the last is 'portable'.");
}
