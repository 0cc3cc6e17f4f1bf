"""Code that a user wrote, checked, graded and trained.

The judge and the judged are apart: ``operations`` (and ``network``) run a user's code and know no
right answer, in a process that ``subject`` starts and ``guard`` restrains; ``examine`` asks, and
compares with the engine's textbook layers. ``mistakes`` has what each known mistake would have
given; ``diagnosis`` finds the one that agrees.

Nothing is imported here: the process of the user's code must not hold the judge.
"""
