"""Binaries: what the extension modules, libraries and programs of a wheel ask for.

A binary can name folders that it wants its libraries from, relative to its own:
``$ORIGIN/../../nvjitlink/lib``. The system's loader takes the path that the binary was
opened by for that, and every ``..`` in it leaves the folder that is really there, not
the link to it. So a library of another wheel is found from a real folder of links, and
not through a link to a folder of a store. Which folders of a wheel that matters for says
:func:`commonwheel.binaries.outside.look_outside`.

Nothing that a file says is trusted: what makes no sense is not a binary. Mach-O and PE
are read as they are written down; on macOS and Windows nothing of this was tried.
"""
