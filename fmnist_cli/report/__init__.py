"""The report: content in, one HTML page or its Markdown twin out.

``blocks`` says what a report consists of; ``html`` and ``markdown`` write it. No command line, no
registry, no training.
"""
