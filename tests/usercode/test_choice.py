"""The choice of the best model, read from a file's text."""

from __future__ import annotations

import pytest

from fmnist_cli.usercode.locate import wrong_choice
from fmnist_cli.usercode.structure import parsed

LOOP = """\
def main():
    best = -1.0
    for epoch in range(10):
        val_acc = accuracy(model, Xval, Yval)
        test_acc = accuracy(model, Xtest, Ytest)
        history.append((val_acc, test_acc))
        if val_acc > best:
            best = val_acc
    chosen = int(np.argmax([row[0] for row in history]))
"""


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("", "", None),
        ("if val_acc > best:", "if best < val_acc:", None),
        ("if val_acc > best:", "if test_acc > best:", "loop-best-by-test"),
        ("if val_acc > best:", "if val_acc < best:", "loop-best-is-worst"),
        ("            best = val_acc", "            kept = val_acc", "loop-best-not-kept"),
        ("[row[0] for", "[row[1] for", "loop-best-by-test"),
        ("np.argmax(", "np.argmin(", "loop-best-is-worst"),
        ("int(np.argmax([row[0] for row in history]))",
         "max(range(10), key=lambda e: history[e][1])", "loop-best-by-test"),
        ("int(np.argmax([row[0] for row in history]))", "np.argmax(scores, axis=1)", None),
        ("    best = -1.0", "    best_loss = np.inf", None),
        ("if val_acc > best:", "if epoch > 3 and val_acc >= best:", None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_choice_is_named(old: str, new: str, mistake: str | None) -> None:
    assert old in LOOP
    found = wrong_choice(parsed(LOOP.replace(old, new, 1)))
    assert (found.mistake if found else None) == mistake
    if found is not None:
        assert found.line is not None
        assert 1 <= found.line <= LOOP.count("\n")
