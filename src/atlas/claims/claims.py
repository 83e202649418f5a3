"""The claims: what is said of these models, which runs a claim is about, and which metrics decide it.

How a claim is decided stands in `atlas.claims.verdicts`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

Direction = Literal["lower", "higher", "closer_to_one", "not_lower", "not_higher", "below", "above", "context"]


class Evidence(NamedTuple):
    """One metric that a claim rests on, and where it should lie.

    Of a pair, the first run's number should be `lower` or `higher` than the second's, `closer_to_one`, or `not_lower`
    or `not_higher` by more than a margin. Of a single run, it should lie `below` or `above` a limit. `context` decides
    nothing.
    """

    metric: str
    direction: Direction
    limit: float = 0.0
    relative_to_classifier: bool = False
    """Is the limit a share of the judge's accuracy on real test images?"""
    margin: float = 0.0
    """Of `not_lower` and `not_higher`: the largest loss that does not count."""
    relative_margin: float = 0.0
    """The same as a share of the second run's number; the larger of the two counts."""
    requires: tuple[str, float] | None = None
    """Another metric and its least value in each run, below which this one is context."""


class Claim(NamedTuple):
    """A sentence that may be wrong."""

    sentence: str
    variant: str
    """What people call the model of the runs that it is about (`atlas.core.settings.variant`)."""
    other_variant: str
    """Of the runs that they are compared with; empty where the claim is about single runs."""
    matched_settings: tuple[str, ...]
    """Settings, besides dataset and seed, in which the two runs of a pair must not differ."""
    evidence: tuple[Evidence, ...]
    latent_dims: tuple[int, int] | None = None
    """Where the two runs differ in the code's size alone: the first's and the second's."""

    @property
    def decisive(self) -> list[str]:
        """The metrics that decide it."""
        return [evidence.metric for evidence in self.evidence if evidence.direction != "context"]

    def runs(self, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
        """Yield the runs, or pairs of runs, that it is about; settings: {run: {setting: value}}, as `Settings.flat`."""
        keys = ("dataset", "seed", *self.matched_settings)
        for run, own in settings.items():
            if own["variant"] != self.variant:
                continue
            if not self.other_variant:
                yield (run,)
            for other_run, other in settings.items():
                if other["variant"] == self.other_variant and run != other_run:
                    latent_dims = (own.get("latent_dim"), other.get("latent_dim"))
                    if all(own.get(key) == other.get(key) for key in keys) and self.latent_dims in (None, latent_dims):
                        yield run, other_run

    def needed_runs(self) -> str:
        """Return in words which runs it needs."""
        if not self.other_variant:
            return self.variant
        models = f"{self.variant} and {self.other_variant}"
        if self.latent_dims:
            models = f"{self.variant} with codes of {self.latent_dims[0]} and {self.latent_dims[1]} dimensions"
        return f"{models} that agree in {', '.join(('dataset', 'seed', *self.matched_settings))}"


LABEL_MARGIN = 0.01
"""Of label accuracy: one sample in a hundred."""
NLL_MARGIN, NLL_RELATIVE_MARGIN = 0.5, 0.001
"""Of a bound on the likelihood, in nats per image, or as a share of it."""
EFFECTIVE = ("effective_samples", 2.0)
"""Below, one sample carries the importance-weighted bound, and the gap is a matter of their number."""

STYLE = (
    Evidence("swap_accuracy", "above", 0.9, relative_to_classifier=True), Evidence("style_kept", "below", 0.5),
    Evidence("style_leak", "below", 0.5), Evidence("style_leak_means", "context"), Evidence("rate", "context"),
)  # fmt: skip

CLAIMS = (
    Claim("CVAE/GAN is sharper than CVAE at the same code size, its labels are no worse", "cvae_gan", "cvae",
          ("latent_dim",), (
              Evidence("kernel", "lower"), Evidence("sharpness", "closer_to_one"),
              Evidence("label_accuracy", "not_lower", margin=LABEL_MARGIN), Evidence("frechet", "context"),
              Evidence("imagenet_kernel", "context"), Evidence("reconstruction_mse", "context"))),
    *(
        Claim(f"A code of 8 dimensions beats one of 2 ({title})", variant, variant, ("likelihood",),
              (Evidence("reconstruction_mse", "lower"), Evidence("kernel", "lower")), latent_dims=(8, 2))
        for variant, title in (("cvae", "CVAE"), ("cvae_gan", "CVAE/GAN"))
    ),
    Claim("An inverse autoregressive flow tightens the bound", "vae_iaf", "vae", ("latent_dim", "likelihood"), (
              Evidence("nelbo", "lower"), Evidence("nll_gap", "lower", requires=EFFECTIVE),
              Evidence("nll", "not_higher", margin=NLL_MARGIN, relative_margin=NLL_RELATIVE_MARGIN, requires=EFFECTIVE),
              Evidence("effective_samples", "context"), Evidence("rate", "context"))),
    Claim("A VAE's codes follow the prior better than an autoencoder's", "vae", "ae", ("latent_dim",), (
              Evidence("prior_gap", "lower"), Evidence("fitted_gap", "context"),
              Evidence("aggregate_variance", "context"), Evidence("kernel", "context"))),
    Claim("The style is kept and the label is changed (CVAE)", "cvae", "", (), STYLE),
    Claim("The style is kept and the label is changed (CVAE/GAN)", "cvae_gan", "", (), STYLE),
    Claim("The class dimensions are the class", "ac_vae", "", (), (
              Evidence("class_accuracy", "above", 0.9, relative_to_classifier=True),
              Evidence("swap_accuracy", "above", 0.9, relative_to_classifier=True),
              Evidence("style_leak", "context"))),
    Claim("A beta above 1 disentangles, and pays in distortion", "beta_vae", "vae", ("latent_dim", "likelihood"), (
              Evidence("mig", "higher"), Evidence("distortion", "higher"), Evidence("active_units", "context"))),
    Claim("Reparameterization lowers the variance of the bound's gradient", "vae", "", (), (
              Evidence("estimator_variance_ratio", "above", 1.0), Evidence("plain_variance_ratio", "context"))),
)  # fmt: skip
