"""The command line: one module a command, each turning options into one engine call.

Modules here import nothing heavy at their top: numpy, sqlalchemy, matplotlib and tensorflow
come in where a command needs them, so that ``fmnist --help`` answers at once.
"""
