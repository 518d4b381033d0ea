"""The paper's networks with Hugging Face's methods: `from_pretrained`, `push_to_hub`.

The networks themselves (`gvtzoo.networks.gvtnet`, `gvtzoo.networks.projection`) import PyTorch
only, since packages carry their code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks import gvtnet, projection
from gvtzoo.networks.config import NetworkConfig

CARD = {
    "library_name": "gvtzoo",
    "pipeline_tag": "image-to-image",
    "paper_url": "https://doi.org/10.1038/s42256-020-00283-x",
}

HUB_OPTIONS = (
    "revision",
    "cache_dir",
    "force_download",
    "local_files_only",
    "token",
    "map_location",
)


class OnTheHub(PyTorchModelHubMixin):
    """Networks on Hugging Face: alone, or as a part of a model of ``gvtzoo publish``."""

    architecture: str

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        **options: Any,
    ) -> Self:
        """A network with its weights, from Hugging Face or a folder.

        Normalization and all else of a model is left behind: `gvtzoo.load` takes it along.

        Parameters
        ----------
        pretrained_model_name_or_path : str or path
            ``ORG/NAME``, of `push_to_hub` or ``gvtzoo publish``; or a folder of `save_pretrained`.
        revision : str, optional
            A branch, tag (such as ``"1.0.0"``) or commit.
        **options
            As huggingface_hub's: token, cache_dir, force_download, local_files_only,
            map_location; for a network that is alone, its arguments, too.

        Returns
        -------
        GVTNet
            In evaluation mode.

        Raises
        ------
        GvtzooError
            When the model's network is of another kind.

        Examples
        --------
        >>> from gvtzoo import GVTNet
        >>> network = GVTNet.from_pretrained("ORG/NAME")  # doctest: +SKIP
        """
        return super().from_pretrained(pretrained_model_name_or_path, revision=revision, **options)

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, **options: Any) -> str:
        """Put the network alone on Hugging Face, from where `from_pretrained` takes it.

        A model that predicts images, and opens in other programs, is published by
        `gvtzoo.publish`.

        Parameters
        ----------
        repo_id : str
            ``ORG/NAME``, which is created where there is none.
        private : bool, optional
            Whether a new repository is private.
        **options
            As huggingface_hub's: commit_message, token, branch, create_pr, model_card_kwargs.

        Returns
        -------
        str
            The commit's address.

        Examples
        --------
        >>> from gvtzoo import GVTNet
        >>> GVTNet(dimensions=2, features=8).push_to_hub("ORG/NAME")  # doctest: +SKIP
        """
        return super().push_to_hub(repo_id, private=private, **options)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, config: dict[str, Any] | None = None, **settings: Any
    ) -> Self:
        network = (config or {}).get("network")  # of a model, which has more
        if network is not None:
            found = network.get("architecture")
            if found != cls.architecture:
                raise GvtzooError(
                    f"{model_id} holds a network of the kind {found!r}, not {cls.architecture!r}: "
                    f"take gvtzoo.load({model_id!r}).network"
                )
            hub = {key: value for key, value in settings.items() if key in HUB_OPTIONS}
            settings = hub | NetworkConfig.model_validate(network).arguments()
        return super()._from_pretrained(model_id=model_id, strict=True, **settings)


class GVTNet(gvtnet.GVTNet, OnTheHub, **CARD):
    __doc__ = gvtnet.GVTNet.__doc__
    architecture = "gvtnet"


class ProjectionGVTNet(projection.ProjectionGVTNet, OnTheHub, **CARD):
    __doc__ = projection.ProjectionGVTNet.__doc__
    architecture = "projection"
