"""Programs that are sent to a machine with each connection and run by its own Python 3.10 or newer.

They are files of the standard library only, and import nothing of this package, which is not there.
``serving`` is sent along with each of the others and runs in one namespace with it.
"""
