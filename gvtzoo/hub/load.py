"""A model by its name, path, or address: `gvtzoo.load`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gvtzoo.bioimageio.package import is_foreign, open_foreign
from gvtzoo.hub.registry import find_model
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.run_folder import is_run, read_run_config, run_network
from gvtzoo.prediction.lazy_network import LazyNetwork
from gvtzoo.prediction.model import Model

if TYPE_CHECKING:
    from gvtzoo.bioimageio.model import BioimageioModel


def load(name: str | Path, *, trust: bool = False) -> Model | BioimageioModel:
    """A model by name or path.

    Parameters
    ----------
    name : str or path
        A model package (zip file, folder, or its ``rdf.yaml``), a training's run folder, or one of
        the names that `gvtzoo.hub.registry.find_model` knows.
    trust : bool
        Whether code may run that a package of others brings along.

    Returns
    -------
    Model, or BioimageioModel for a BioImage.IO package that gvtzoo did not make

    Raises
    ------
    GvtzooError
        When there is no such model, or it cannot be used.

    Examples
    --------
    >>> import gvtzoo
    >>> gvtzoo.load("gvtnet-denoising-nuclei").config.task
    'denoising'
    """
    path = find_model(name)
    if is_run(path) or not is_foreign(path):
        return load_own(path)
    from gvtzoo.bioimageio.model import BioimageioModel

    return BioimageioModel(open_foreign(path), trust=trust)


def load_own(name: str | Path) -> Model:
    """A model that gvtzoo made, by name or path as of `load`.

    Raises
    ------
    GvtzooError
        When there is no such model, it cannot be used, or gvtzoo did not make it.
    """
    path = find_model(name)
    if is_run(path):
        config = read_run_config(path)
        return Model(run_network(path, config), config, config.metadata.id)
    package = open_package(path)
    return Model(LazyNetwork.of_package(package), package.config, package.config.metadata.id)
