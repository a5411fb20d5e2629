#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>

static PyObject *size(PyObject *self, PyObject *array) {
    return PyLong_FromSsize_t(PyArray_SIZE((PyArrayObject *)array));
}

static PyMethodDef methods[] = {{"size", size, METH_O, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "by_meson_python", NULL, -1, methods};

PyMODINIT_FUNC PyInit_by_meson_python(void) {
    import_array();
    return PyModule_Create(&module);
}
