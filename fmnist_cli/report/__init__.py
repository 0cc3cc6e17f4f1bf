"""The report: what it consists of and trains, and one HTML page or its Markdown twin out.

``blocks`` says what a page consists of; ``html`` and ``markdown`` write it, and know nothing of
registries and training. ``parts`` and ``work`` are the report of the assignment.
"""
