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
    "drift": Tolerance(
        5,
        "Times what the first framework differs from itself by, on the same batches: in float64, and after the last bit"
        " of every weight was changed. Gradients and what follows from them may differ by that, where it is more than"
        " the tolerance in this table: a ReLU whose input is within rounding of zero switches on in one run and not in"
        " the other. Five times, because such events are few and chance decides how many there are.",
    ),
    "gradient": Tolerance(
        1e-3, "A hundred layers forward and back, on every batch; or five times the drift of rounding.", peak=1e-2
    ),
    "gradient median": Tolerance(
        1e-5, "The median over parameters, on the batch where it is smallest; or five times the drift of rounding."
    ),
    "gradient cosine": Tolerance(1e-5, "1 - cosine: half the square of the relative difference, with room for scale."),
    "zero gradient": Tolerance(
        1e-6,
        "Norm relative to the largest: what is zero on paper (a bias before BatchNorm, the key bias of attention) is"
        " the rounding left over from larger terms, and of no direction.",
    ),
    "step": Tolerance(1e-3, "Relative, gradient norm and clipping factor of an optimiser step: as the gradients."),
    "delta": Tolerance(
        1e-2,
        "Change of a parameter, over elements whose gradient both frameworks know to 1 %. Of the others Adam makes"
        " full-size steps of undetermined sign, so they are counted and not compared.",
        peak=1e-1,
    ),
    "determined": Tolerance(1e-2, "Largest relative difference of a gradient's element that counts as known."),
    "buffer": Tolerance(5e-5, "Running statistics of one forward pass from the same state: as a layer.", peak=1e-3),
    "learning rate": Tolerance(0, EXACT),
    "anchor": Tolerance(
        1e-3, "Relative loss difference at any step of the trajectory that both frameworks take from the same weights."
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
    "shadow slack": Tolerance(5, "Steps: when a chaotic difference breaks out is chance."),
    "AP": Tolerance(
        1e-3, "0.1 AP points: rounding exchanges detections of nearly equal scores or moves one over an IoU threshold."
    ),
}
