"""Implementations that are right but for one term of the contract, each a file as a user would write it.

The brackets in a file's first line hold what the reason has to say.
"""
