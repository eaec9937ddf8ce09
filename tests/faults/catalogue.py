"""All planted mistakes. Those for "numpy" need no framework but the stand-in and are the short list of `make test`."""

from detection_faults import DETECTION
from loss_faults import LOSS
from model_faults import MODEL
from training_faults import TRAINING

FAULTS = [*MODEL, *LOSS, *DETECTION, *TRAINING]

REASONS: dict[str | tuple[str, str], str] = {  # why a mistake is not caught: by name, or by name and model
    "top-k of the detections over the wrong axis": (
        "the detections are all pairs of 20 queries and 2 classes, so that every label and box is in both lists, with"
        " another score; the message calls the scores wrong"
    ),
    ("threshold of suppression 0.5 for 0.6", "nanodet"): (
        "from released weights both lists are full, 100 detections an image, so that their numbers are equal; the"
        " message says that detections have no partner"
    ),
}
