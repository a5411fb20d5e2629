cimport numpy

numpy.import_array()


def total(numpy.ndarray[numpy.int64_t] numbers):
    cdef long found = 0
    for index in range(numbers.shape[0]):
        found += numbers[index]
    return found
