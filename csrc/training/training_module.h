// The part of the Python module that training uses.
#pragma once

#include <nanobind/nanobind.h>

void bind_training(nanobind::module_& m);
void bind_training_layers(nanobind::module_& m);
