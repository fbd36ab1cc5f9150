"""The command line: the tree of commands in `tree`, what a run of it does in `program`.

Importing this package loads nothing; every command is loaded when it is called.
"""
