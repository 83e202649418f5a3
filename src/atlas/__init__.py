"""Latent Atlas: a family of generative models, trained, drawn and measured in the same way.

`atlas.load("mnist_cvae_gan_8")` gives a trained run, ready to encode, decode, sample and transfer styles.
"""

TYPE_CHECKING = False  # typing's own would be an import; type checkers know the name
if TYPE_CHECKING:
    from os import PathLike

    from atlas.inference.pretrained import PretrainedModel


def load(run: str, source: "str | PathLike[str]" = ".", device: str = "cpu") -> "PretrainedModel":
    """Return the trained model of a run.

    Args:
        run: a name under `runs` in params.yaml, such as "mnist_cvae_gan_8", or a run's folder, as `dvc get` leaves it.
        source: a checkout's folder, or the Git address of one. What is not in its outputs/models is fetched from its
            DVC remote, once, into the folder ATLAS_CACHE (~/.cache/latent-atlas if that is not set).
        device: where it computes, as torch names it: "cpu", "cuda", ...

    Raises:
        atlas.core.files.AtlasError: if there is no such source or run, or the run is not trained or cannot be fetched.
    """
    # Only here: the stages import atlas, and most of them require neither torch nor DVC.
    from atlas.inference import pretrained

    return pretrained.load(run, source, device)
