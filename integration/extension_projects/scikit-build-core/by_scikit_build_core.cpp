#include <pybind11/pybind11.h>

PYBIND11_MODULE(by_scikit_build_core, module) {
    module.def("twice", [](int number) { return 2 * number; });
}
