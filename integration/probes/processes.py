"""Call functions of a distribution in processes, threads and after pickling."""

import json
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from labour import work

CPYTHON = sys.implementation.name == "cpython"


def in_processes(method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=work.send, args=(queue, 4))
    process.start()
    found = [*queue.get(), process.join(), process.exitcode]
    with context.Pool(2) as pool:
        found += pool.map(work.double, range(3))
        found += [pool.apply(work.where)]
        found += [vars(pool.apply(work.move, (work.Point(1, 2),)))]
    if CPYTHON:  # PyPy 7.3.11 has an executor that cannot start processes
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            found += executor.map(work.double, range(3))
    return found


def main():
    methods = multiprocessing.get_all_start_methods()
    found = {method: in_processes(method) for method in methods}
    with ThreadPoolExecutor(2) as executor:
        found["threads"] = list(executor.map(work.double, range(3)))
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    pickled = [pickle.dumps([work.Point(1, 2), work.double], each) for each in protocols]
    found["pickle"] = [list(map(list, pickled))]
    found["unpickled"] = [vars(pickle.loads(each)[0]) for each in pickled]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
