#include <pybind11/pybind11.h>

PYBIND11_MODULE(by_setuptools_too, module) {
    module.def("twice", [](int number) { return 2 * number; });
}
