"""How much two frameworks may differ, and why. The only place where the ladder's tolerances stand.

float32 keeps 24 bits: u = 2^-24 = 6e-8 per operation. A sum of n terms that is ordered differently ends about sqrt(n) u
apart relative to its terms, so one convolution or linear layer (n up to 5000) differs by some 1e-6, and a network of a
hundred of them by some 1e-5. A wrong epsilon, padding or layout differs by 1e-4 and more.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Tolerance:
    """`limit` on the relative L2 difference of a tensor, or on the relative or absolute difference of a number.

    `peak` bounds a tensor's largest absolute difference, relative to its largest absolute value: one wrong border
    pixel hardly shows in an L2 norm.
    """

    limit: float
    reason: str
    peak: float | None = None

    def widened(self, limits: Iterable[float], peaks: Iterable[float] = ()) -> "Tolerance":
        """With limits at least a few times (`drift`) what the first framework differs from itself by."""
        factor = TOLERANCES["drift"].limit
        peak = None if self.peak is None else max([self.peak, *(factor * p for p in peaks)])
        return replace(self, limit=max([self.limit, *(factor * value for value in limits)]), peak=peak)


MINIMUM_BATCHES = 5  # of which a median over batches says something: two with a kink do not decide it

EXACT = "The same NumPy code and the same bytes on both sides: nothing is rounded twice."

TOLERANCES = {
    "configuration": Tolerance(0, EXACT),
    "batches": Tolerance(0, EXACT),
    "weights": Tolerance(0, "Weights are copied, never computed with."),
    "module": Tolerance(
        5e-6,
        "One module without modules inside, given the same input: one sum of at most a few thousand terms.",
        peak=1e-4,
    ),
    "block": Tolerance(
        5e-5,
        "A module with others inside, given the same input: up to a hundred layers, and sampling at computed places.",
        peak=1e-3,
    ),
    "layer": Tolerance(
        5e-5, "Any depth of the network from the same images: rounding of up to a hundred layers adds up.", peak=1e-3
    ),
    "output": Tolerance(5e-5, "As a layer at full depth.", peak=1e-3),
    "query tie": Tolerance(
        2e-5, "Scores of two positions that a full-depth rounding error can exchange, relative to the largest score."
    ),
    "score": Tolerance(1e-4, "Absolute; a probability moves by a quarter of its logit's rounding error at most."),
    "box": Tolerance(1e-4, "Share of the longer image side; coordinates are sigmoids of logits of full depth."),
    "detections": Tolerance(
        0.01, "Share of detections without a partner: at a tie in the scores either one may be cut off."
    ),
    "loss": Tolerance(1e-4, "Relative; a sum over queries of functions of outputs of full depth."),
    "matches": Tolerance(0, "Queries assigned differently: an assignment has no rounding, except at equal costs."),
    "matches of other batches": Tolerance(
        0.01, "Share of pairs assigned differently, over all batches: some have two candidates of equal cost."
    ),
    "drift": Tolerance(
        5,
        "Times what the first framework differs from itself by, on the same batches: in float64, and after the last bit"
        " of every weight was changed. Gradients and what follows from them may differ by that, where it is more than"
        " the tolerance in this table: a ReLU whose input is within rounding of zero switches on in one run and not in"
        " the other. Five times, because such events are few and chance decides how many there are.",
    ),
    "gradient": Tolerance(
        3e-4,
        "A hundred layers forward and back: the median over the batches, of every parameter; or five times the drift of"
        " that parameter. In clean runs rounding moves a parameter by at most 8e-4, and most by 1e-5 to 1e-4.",
        peak=3e-3,
    ),
    "gradient median": Tolerance(
        1e-5, "The median over parameters of their medians over batches; or five times the drift of rounding."
    ),
    "gradient on one batch": Tolerance(
        0.1,
        "Of one parameter on one batch: more than a single unit does that switches on in one framework only (4.2e-2 was"
        " seen); or five times the worst drift of rounding. What changes at one epoch only shows here.",
        peak=1.0,
    ),
    "kink": Tolerance(
        1e-2,
        "An element of a gradient that differs by more, relative to itself or to its tensor's root mean square,"
        " whichever is larger, is taken to be moved by a kink.",
    ),
    "kinked share": Tolerance(
        0.02,
        "Largest share of such elements over all batches. Rounding alone moved 0.01 % of them for RT-DETR and 0.2 % for"
        " NanoDet-Plus (7 batches each); a gradient 4 % too large on two of five batches moves about a fifth.",
    ),
    "zero gradient": Tolerance(
        1e-6,
        "Norm relative to the largest: what is zero on paper (a bias before BatchNorm, the key bias of attention) is"
        " the rounding left over from larger terms, and of no direction.",
    ),
    "step": Tolerance(
        1e-6,
        "Change of a parameter or of its average, from one state with the same gradients: a few operations on every"
        " element. One rounding of the parameter is added. Norm and clipping factor, from what float64 gives.",
    ),
    "moment": Tolerance(1e-6, "Moments of the optimiser after that step.", peak=1e-5),
    "buffer": Tolerance(5e-5, "Running statistics of one forward pass from the same state: as a layer.", peak=1e-3),
    "counter": Tolerance(0, "Batches that BatchNorm has counted, from one state: whole numbers."),
    "distance ratio": Tolerance(
        2,
        "Times the first framework's distance from float64. Either distance counts as `peak` at least, half a unit of"
        " float32.",
        peak=2.0**-24,
    ),
    "learning rate": Tolerance(0, EXACT),
    "anchor": Tolerance(
        1e-4,
        "Relative difference of one loss at any step of the trajectory that both frameworks take from the same weights;"
        " or five times what the last bit of every weight does to that loss.",
    ),
    "anchor median": Tolerance(1e-6, "The same, the median over the anchors; of the drift, too, the median."),
    "anchor gradient": Tolerance(
        3e-4, "Of the sketch of one parameter's gradient, the median over the anchors; or five times its own drift."
    ),
    "anchor update": Tolerance(
        1e-3,
        "Of the sketch of one parameter's update, likewise. Adam makes full-size steps of what is only rounding in the"
        " gradient, so that an update differs by more than its gradient.",
    ),
    "left out": Tolerance(
        0.2,
        "Share of the elements of updates whose gradient has been nothing but rounding so far, the median over the"
        " anchors; parameters that are so altogether are not counted. In clean runs up to 1.5 % over a hundred steps,"
        " 6.5 % over three, 12 % after one, where many units have not been reached yet. More says that the moments"
        " are not those of a training.",
    ),
    "repeat": Tolerance(1e-6, "Relative: the first framework's loss at an anchor and in its own run, one program."),
    "lean": Tolerance(
        1e-5,
        "Signed mean over the anchors, relative, of loss and of update along the gradient, where 0 is outside"
        " the interval of 95 %.",
    ),
    "trajectory": Tolerance(
        1e-3, "Relative loss difference of the free runs, as long as the first framework repeats itself that well."
    ),
    "shadow": Tolerance(
        3,
        "Times the difference between the first framework and itself after one bit of every weight was changed. Adam"
        " moves parameters whose gradient is only rounding as far as any other, and matches flip, so that two runs of"
        " the same code part within a few steps; two frameworks cannot stay closer than that.",
    ),
    "shadow at rounding": Tolerance(1e-6, "Relative loss difference up to which the shadow is only rounding away."),
    "shadow slack": Tolerance(5, "Steps: when a chaotic difference breaks out is chance."),
    "least AP50": Tolerance(0.10, "Below that almost nothing is detected, and equal numbers say nothing."),
    "AP": Tolerance(
        1e-3, "0.1 AP points: rounding exchanges detections of nearly equal scores or moves one over an IoU threshold."
    ),
}
