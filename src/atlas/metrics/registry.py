"""Registry of metrics: name in the metrics files, title, unit, better direction, meaning, digits to show."""

from typing import Literal, NamedTuple

SUFFIXES = ("_low", "_high", "_n", "_k")
"""What may be written beside a metric: the ends of its 95 % interval, its number of images, its samples an image."""


class Metric(NamedTuple):
    """One metric of a run."""

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher", ""]
    description: str
    digits: int
    headline: bool = False
    """Is it one of the few that the table of docs/results.md shows?"""


METRICS: dict[str, Metric] = {metric.name: metric for metric in (
    Metric("nelbo", "-ELBO", "nats/image", "lower", "negative evidence lower bound on test images, one posterior "
            "sample an image (Kingma and Welling 2014). Models of grey or binary pixels are all measured on one seeded "
            "binarization of the test images, a true likelihood; the others on the images themselves", 2, True),
    Metric("nll", "NLL bound", "nats/image", "lower", "importance-weighted bound on the negative log-likelihood, with "
            "many posterior samples an image (Burda et al. 2016): the -ELBO of all test images less the mean gap of "
            "some of them (difference estimator); pixels as for the -ELBO", 2, True),
    Metric("nll_gap", "-ELBO less NLL", "nats/image", "lower", "how much the importance-weighted bound gains on the "
            "-ELBO at the same images and codes: what the posterior's shape costs, or the part of it that so many "
            "samples recover. It grows with their number", 2),
    Metric("effective_samples", "effective samples", "samples", "higher", "how many of the samples' weights carry the "
            "importance-weighted bound, (sum w)^2 / sum w^2 (Kong 1992). Near 1 a single sample does, and the gap "
            "tells the number of samples rather than the posterior's shape: below 2, gap and bound decide no claim", 1),
    Metric("distortion", "distortion", "nats/image", "lower", "the part of the -ELBO that measures reconstruction", 2),
    Metric("rate", "rate", "nats/image", "", "what the code costs: KL(q(z|x) || p(z)), a part of the -ELBO where "
            "there is one. A rate near zero is a code that says nothing", 2, True),
    Metric("active_units", "active units", "dimensions", "", "dimensions whose encoded mean varies by more than 0.01 "
            "between test images (Burda et al. 2016, section 5.1)", 0),
    Metric("grey_nelbo", "grey cross-entropy", "nats/image", "lower", "the -ELBO with grey values as they are, of "
            "models trained so: a cross-entropy and no likelihood, not comparable to the -ELBO", 2),
    Metric("reparameterized_variance", "gradient variance", "nats^2", "lower", "variance, from draw to draw, of the "
            "reparameterized estimate of the bound's gradient by the posterior's mean and log-variance, at the trained "
            "model; the mean over dimensions (Kingma and Welling 2014, section 2.4)", 3),
    Metric("score_variance", "score function's", "nats^2", "lower", "the same of the score-function estimate "
            "(Williams 1992), at the same draws", 0),
    Metric("baseline_variance", "with a baseline", "nats^2", "lower", "the same of the score-function estimate with "
            "the mean over the other draws as its baseline (leave-one-out; Mnih and Rezende 2016), without which an "
            "offset of the bound counts as variance", 2),
    Metric("estimator_variance_ratio", "variance ratio", "ratio", "", "gradient variance of the score function with "
            "its baseline over the reparameterized one: above 1, reparameterization pays", 1),
    Metric("plain_variance_ratio", "ratio, no baseline", "ratio", "", "the same ratio of the score function without a "
            "baseline: mostly how far the bound is from zero", 0),
    Metric("bits_per_dim", "bits/dim", "bits", "lower", "the -ELBO per pixel and channel in bits, where the "
            "likelihood is one of 8-bit pixels; a single Gaussian reaches 4.70 on CIFAR-10", 3, True),
    Metric("reconstruction_mse", "reconstruction", "per pixel", "lower", "mean squared error of test images "
            "reconstructed from their code, pixels in [0, 1]; where there is no encoder, from the code that a search "
            "finds (Creswell and Bharath 2018), on fewer images: as much the budget of the search as the generator's "
            "range. A model that predicts the class is not told it",
            6, True),
    Metric("reconstruction_features", "in features", "ratio", "lower", "Euclidean distance between a test image and "
            "its reconstruction in the judge's features, over that between two test images: 1 is as far as another "
            "image", 3),
    Metric("frechet", "Frechet", "", "lower", "Frechet distance (Heusel et al. 2017) between test images and as many "
            "samples in the features of this project's own classifier, the judge; not comparable to published FIDs. "
            "Its interval is of the distance at this number of images, which is too large by about the floor", 2, True),
    Metric("frechet_floor", "its floor", "", "lower", "the same distance between validation images, which the judge "
            "has not seen, and test images: what perfect looks like at this number of images (of twice as many, about "
            "half)", 2, True),
    Metric("kernel", "kernel", "", "lower", "unbiased squared kernel distance (Binkowski et al. 2018) in the judge's "
            "features, polynomial of degree 3; zero on average where the two are alike, whatever the sample size", 2),
    Metric("kernel_floor", "kernel's floor", "", "lower", "the same distance between validation images and test "
            "images", 2),
    Metric("imagenet_kernel", "ImageNet kernel", "", "lower", "the same kernel distance in the features of a network "
            "that this project did not train, EfficientNet-Lite0 of ImageNet (Tan and Le 2019); an optional extra: "
            "it would show a model that only fits the judge's features", 3),
    Metric("imagenet_kernel_floor", "its floor", "", "lower", "the same distance between training images and test "
            "images", 3),
    Metric("precision", "precision", "share", "higher", "share of samples no farther from some test image than "
            "that image's 5th nearest neighbor, in the judge's features (Kynkaanniemi et al. 2019). Rewards blur, "
            "which lies between real images in these features", 3),
    Metric("recall", "recall", "share", "higher", "share of test images no farther from some sample than "
            "that sample's 5th nearest neighbor (Kynkaanniemi et al. 2019)", 3),
    Metric("density", "density", "ratio", "higher", "in how many test images' balls (each reaching to its image's 5th "
            "nearest neighbor) a sample lies, over 5 (Naeem et al. 2020): 1 is as dense as test images lie. Rewards "
            "blur, as precision does", 3),
    Metric("coverage", "coverage", "share", "higher", "share of test images in whose ball some sample lies (Naeem et "
            "al. 2020): varied samples cover them all", 3, True),
    Metric("prior_confidence", "confidence", "share", "higher", "share of decodings of N(0, I) that the judge "
            "classifies with high confidence (0.95 unless the settings say otherwise)", 3),
    Metric("label_accuracy", "label accuracy", "share", "higher", "how often the judge predicts the requested label "
            "for a sample", 4, True),
    Metric("label_accuracy_worst", "worst class", "share", "higher", "label accuracy of the class that has the least",
            4),
    Metric("swap_accuracy", "swap accuracy", "share", "higher", "encode a test image with its label, decode with "
            "another: how often the judge predicts the other one, over all ordered pairs of labels. Where the class "
            "has its own dimensions of the code, those alone are swapped", 4, True),
    Metric("style_kept", "style moved", "ratio", "lower", "distance between the code of an image and that of its "
            "transfer, re-encoded with the new label, over that between the codes of two images: 0 is the same style, "
            "1 another one", 3),
    Metric("style_leak", "style leak", "share", "lower", "how often the best of three probes (linear, a small MLP, "
            "5 nearest neighbors; fitted to the codes of up to 20,000 training images) predicts the label from a test "
            "image's code, sampled from the posterior: what the decoder can see of it. Chance is one over the number "
            "of classes; read it beside the rate, since an empty code leaks nothing", 3, True),
    Metric("style_leak_means", "leak of means", "share", "lower", "the same of the posterior's means, in units of each "
            "dimension's spread: what the encoder could tell, also where the posterior's noise hides it from the "
            "decoder", 3),
    Metric("prior_gap", "prior gap", "", "lower", "kernel distance, in the judge's features, between decodings of "
            "codes from the prior N(0, I) and of sampled codes of test images (the model's own reconstructions): what "
            "is lost because the codes do not follow the prior, the decoder's blur aside", 2),
    Metric("fitted_gap", "fitted gap", "", "lower", "the same with codes from a Gaussian that was fitted, after the "
            "training, to sampled codes of training images, instead of the prior", 2),
    Metric("aggregate_variance", "code variance", "", "", "variance of the sampled codes of all test images together, "
            "mean over dimensions: 1 where they follow the prior; larger, and the prior samples only their middle", 2),
    Metric("class_accuracy", "own accuracy", "share", "higher", "how often the label that the model itself predicts "
            "for a test image is right", 4),
    Metric("mig", "MIG", "", "higher", "mutual information gap (Chen et al. 2018) of the code's dimensions against "
            "slant, stroke width, height and width measured in the image, mean over the four: 1 is one dimension "
            "for each", 3),
    Metric("label_purity", "label purity", "share", "", "share of a test code's 10 nearest test codes that have its "
            "label: how far the code sorts classes", 3),
    Metric("sharpness", "sharpness", "ratio", "", "mean squared Laplacian of samples over that of test images: 1 is "
            "right, below is blurred; noise can fake it", 2, True),
)}  # fmt: skip


def is_registered(name: str) -> bool:
    """Is this the name of a metric, or of what may be written beside one?"""
    return name in METRICS or any(name.removesuffix(end) in METRICS for end in SUFFIXES if name.endswith(end))
