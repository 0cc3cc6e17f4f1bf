"""Mistakes that a check sees, in place of comparing arrays: by name what is wrong, and a question.

What stands in braces is said by the check.
"""

from __future__ import annotations

_UNITS_EQUAL = "If all units of a layer start equal, what makes them different?"
_SECOND_ARGUMENT = "The second argument of np.random.normal: is it the variance?"
_RENEWED = "Which array is remembered from the first call, and when is it renewed?"
THREE_STEPS = (
    "What are the parameters after three steps by the same gradient, on paper and in the code?"
)
_LOSSES = (
    "How far apart are the two weights whose losses are subtracted, which from which, and of how "
    "many examples is the loss?"
)
_TWO_NUMBERS = "Which two numbers does it compare, and where does each come from?"
_NORM = "Which norm is asked for?"
_WAY_BACK = "In which order do the layers run forward, and which of them does it leave out?"
_BEST_EPOCH = "Is the best epoch that of the largest, or of the smallest value?"

_STEPS = {
    "momentum-unused": "With momentum the step is the plain one: no velocity is kept.",
    "momentum-forgets": "The velocity remembers the last gradient alone.",
    "momentum-complement": "The velocity keeps 1 - alpha of itself, not alpha.",
    "momentum-sign": "The velocity is taken off where it should be added.",
    "momentum-late": "The step goes by the velocity of the step before.",
    "momentum-keeps-all": "The velocity keeps all of itself: alpha is not in it.",
    "momentum-uphill": "With momentum the step goes up the gradient: a sign is wrong.",
    "momentum-without-lr": "With momentum the learning rate is not in the step.",
    "momentum-lr-squared": "With momentum the learning rate is multiplied in twice.",
    "decay-sign": "The weight decay has the wrong sign: the weights grow.",
    "decay-unused": "The weight decay has no effect.",
    "decay-scaled": "The weight decay is {c:.3g} times lambda.",
    "decay-uneven": "The weight decay is {each}.",
}
_DIFFERENCES = {
    "differences-without-2": "Its approximation is twice the gradient.",
    "differences-halved": "Its approximation is half the gradient.",
    "differences-sign": "Its approximation has the wrong sign.",
    "differences-undivided": "The difference of the losses is not divided.",
    "differences-times-step": "The difference of the losses is multiplied by the step.",
    "differences-divided-twice": "The difference of the losses is divided by the step twice.",
    "differences-of-sum": "Its approximation is N times the gradient: its loss is no mean.",
    "differences-of-mean": "Its approximation is the gradient divided by N.",
}

SEEN: dict[str, tuple[str, str]] = {
    # the initial parameters
    "init-W-transposed": ("W must have the shape {must}. Received: {came}.",
        "Which sizes does linear_layer(input_D, output_D) get, and which shape must W have?"),
    "init-b-shape": ("b must have the shape {must}. Received: {came}.",
        "How many biases does a layer with H outputs have?"),
    "init-shared": ("All layers share one dictionary of parameters.",
        "Does params belong to the class, or to each layer?"),
    "init-shared-gradient": ("All layers share one dictionary of gradients.",
        "Does gradient belong to the class, or to each layer?"),
    "init-gradient-is-parameter": ("The gradient of {name} is the array {name} itself: to fill the "
        "one overwrites the other.", "How many arrays are made for a parameter and its gradient?"),
    "init-zero": ("All weights start at 0.", _UNITS_EQUAL),
    "init-constant": ("All weights start at {mean:g}.", _UNITS_EQUAL),
    "init-repeated": ("The weights repeat one row or one column.", _UNITS_EQUAL),
    "init-uniform": ("The weights are uniform, from {least:.3g} to {most:.3g}.",
        "Which distribution does the assignment ask for?"),
    "init-absolute": ("No weight is negative.",
        "Which signs do the draws of a normal distribution have?"),
    "init-mean": ("The weights have the mean {mean:.3g}.",
        "What are the arguments of the normal distribution, in which order?"),
    "init-variance-for-std": ("The weights have the standard deviation {std:.3g}: 0.1 is taken for "
        "the variance, or squared.", _SECOND_ARGUMENT),
    "init-std-one": ("The weights are from a standard normal distribution.",
        "What scales a standard normal to the standard deviation that is asked for?"),
    "init-std": ("The weights have the standard deviation {std:.3g}, not {must:g}.",
        "Which standard deviation does the assignment ask for?"),
    "init-same-draw": ("Two layers start with the same weights.",
        "Where is the seed set: once, or whenever a layer is made?"),
    "init-b-std": ("b has the standard deviation {b_std:.3g}, not {must:g}.",
        "Which distribution do the biases start from?"),
    "init-b-zero": ("The biases start at 0.", "How does the assignment initialise b?"),
    # the layers
    "params-not-used": ("The output stays the same when params change.",
        "Which arrays does forward multiply by: those in params, or others made from them once?"),
    **{f"in-place-{name}": (f"{name} is overwritten.",
                            f"Who else uses the array {name} after this call, and what does it "
                            "find there?") for name in ("X", "grad", "x", "dlogits")},
    **{f"pass-changes-{name}": (f"{name} is changed before the update.",
                                "Whose task is it to change the parameters?") for name in "Wb"},
    "gradient-accumulates": ("{times}{name} of the first batch is added to the second one's.",
        "What is in gradient when the next batch comes, and who empties it?"),
    "gradient-stale": ("{name} of a second batch is made with {of} of the first one.", _RENEWED),
    "mask-stale": ("relu's mask is left from an earlier batch.",
        "When is the mask made, and for which X?"),
    # the gradient descent
    "update-into-gradient": ("The new {names} are kept as the gradient.",
        "In which dictionary does a layer keep its parameters, and in which their gradients?"),
    "update-default-shared": ("A default argument is filled: all calls share it.",
        "When is a default value made: at each call, or once?"),
    **{mistake: (what, THREE_STEPS) for mistake, what in _STEPS.items()},
    # the loss, and the way of the gradient back
    "mean-missing": ("The 1/N of the loss's mean does not arrive.",
        "The loss is a mean: where is the division by N, and where else?"),
    "mean-twice": ("1/N is applied twice.",
        "The loss is a mean: where is the division by N, and where else?"),
    "softmax-overflow": ("exp overflows for large logits.",
        "Does the softmax change when the same number is taken off every logit?"),
    "pass-order": ("The backward pass begins with {layer}.", "Which layer's gradient can be known "
        "first: that of the one next to the loss, or of the one next to the images?"),
    "pass-wrong-input": ("The backward pass of {layer} is given {given} as X.",
        "What went into {layer} on the way forward?"),
    "pass-arguments-exchanged": ("The backward pass of {layer} gets its two arguments exchanged.",
        "Which comes first: the layer's input, or the gradient?"),
    "pass-wrong-gradient": ("The backward pass of {layer} is given {given} as its gradient.",
        "Which layer comes after {layer}, and what did its backward pass return?"),
    "pass-relu-skipped": ("The gradient goes round {left} on its way back to {layer}.", _WAY_BACK),
    "pass-layer-skipped": ("The gradient goes round {left} on its way back to {layer}.", _WAY_BACK),
    "pass-layer-missing": ("The backward pass leaves out {layer}.",
        "Through which layers did the forward pass go?"),
    "pass-first-layer-missing": ("The backward pass leaves out {layer}, the first.",
        "Where does the backward pass end?"),
    "pass-last-layer-missing": ("The backward pass leaves out {layer}, the last.",
        "Where does the backward pass begin?"),
    # main
    "loop-other-images": ("What went forward before a backward pass are {what} images.",
        "Which images went through the layers last, and whose gradient is it?"),
    "loop-weights-replaced": ("Between two updates the weights become others.",
        "What changes the weights beside the update, or how often is the model made?"),
    "loop-update-repeated": ("An update comes without a backward pass before it.",
        "In which of the loops are the weights to change?"),
    "loop-updates-missing": ("Several batches pass before the weights change.",
        "How many updates are due in an epoch?"),
    "loop-late-gradient": ("Each update goes by the gradient of the batch before.",
        "In which order do the backward pass and the update come?"),
    "loop-labels-misplaced": ("The images of a batch have other images' labels.",
        "By which indices are the images taken, and by which the labels?"),
    "loop-same-batch": ("Every update has the same batch.", "Which images has the second batch?"),
    "loop-batches-overlap": ("Each batch shares all its images but one with the next.",
        "By how much does the beginning of a batch move on?"),
    "loop-same-order": ("Every epoch has the images in the same order.",
        "When is the order of the images drawn, and how often?"),
    "loop-images-left-out": ("Each epoch ends before its last batch.",
        "Where does the loop over the batches end?"),
    "loop-accuracy-of-other-set": ("{name} is the accuracy on the {other} images.",
        "Which images go into that evaluation?"),
    "loop-accuracy-wrong": ("{name} is {value:.4g}; of these images {right:.4g} are right.",
        "Which predictions meet which labels, and by what is their number divided?"),
    "loop-best-not-kept": ("{best} never changes in the loop: every epoch is compared with its "
        "first value.", "What should {best} be in the epoch after a better one?"),
    "loop-best-by-test": ("The best model is chosen by the test images.",
        "Which images are there to choose by, and what do the others still tell then?"),
    "loop-best-is-worst": ("The model of the {which} is kept.", _BEST_EPOCH),
    # the checkers
    "checker-changes-weights": ("It leaves a weight changed.",
        "After the two losses, what is the weight?"),
    "checker-moves-nothing": ("Its two losses are equal: the loss does not move while it runs.",
        "Is the array that it moves the one that the loss is computed from?"),
    **{mistake: (what, _LOSSES) for mistake, what in _DIFFERENCES.items()},
    "checker-blind": ("{accepted}", _TWO_NUMBERS),
    "checker-partial": ("{accepted}",
        "Which parameters does it look at, and what becomes of the result of each?"),
    "checker-one-entry": ("It looks at one entry of each parameter, although it loops over the "
        "entries.", "Which entry is it in the second round of the loop, if there is one?"),
    "checker-one-row": ("It only looks at one {line} of {name}.",
        "From which range are the entries' two indices?"),
    "magnitude-plain-sum": ("The entries are summed with their signs.",
        "What does an L1 norm do with a negative entry?"),
    "magnitude-mean": ("It is a mean of the absolute values.", "Is the L1 norm a mean or a sum?"),
    "magnitude-l2": ("It is the L2 norm.", _NORM),
    "magnitude-matrix-norm": ("It is the matrix norm: the largest column sum.",
        "What does np.linalg.norm(W, 1) give for a matrix?"),
    "magnitude-maximum": ("It is the largest entry.", _NORM),
    "magnitude-one-batch": ("The norm on {which} examples is not there.",
        "Are the two numbers kept in two variables?"),
    # any array, or network
    "integer-array": ("{name} has whole numbers only.",
        "Which dtype has the array that the numbers are written to?"),
    "low-precision": ("{name} is right to about {digits:.0f} digits only.",
        "Which dtype do the arrays have on the way?"),
    "clipped": ("{name} is cut off at {top:.3g}.", "Is a large gradient wrong, or just large?"),
}  # fmt: skip
