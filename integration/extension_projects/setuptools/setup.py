import numpy as np
from Cython.Build import cythonize
from pybind11.setup_helpers import Pybind11Extension
from setuptools import Extension, setup

headers = [np.get_include()]
total = Extension("by_setuptools", ["by_setuptools.pyx"], include_dirs=headers)
twice = Pybind11Extension("by_setuptools_too", ["by_setuptools_too.cpp"])
setup(ext_modules=[*cythonize([total]), twice])
