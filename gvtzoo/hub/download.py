"""`gvtzoo.download`: a model's package on this computer."""

from __future__ import annotations

from pathlib import Path

from gvtzoo.hub.registry import absent_entry, find_model


def download(model: str | Path, *, client: bool = False, assume_yes: bool = False) -> Path:
    """The package of a model, fetched where it is not here yet.

    The paper's published models come from the authors' repository, under its licence, and become
    packages in the models folder; those of Hugging Face and bioimage.io lie in a cache.

    Parameters
    ----------
    model : str or path
        As `gvtzoo.load` takes it.
    client : bool
        The package for ilastik, QuPath and others that cut images.
    assume_yes : bool
        Do not ask, on a terminal, before a published model is fetched.

    Returns
    -------
    Path
        Of a zip or folder.

    Raises
    ------
    GvtzooError
        When there is no such model, or it does not arrive.

    Examples
    --------
    >>> import gvtzoo
    >>> gvtzoo.download("gvtnet-denoising-nuclei").name
    'model.zip'
    """
    if client:
        from gvtzoo.hub.client import client_package

        return client_package(str(model), overwrite=True)
    absent = absent_entry(str(model))
    if absent is None:
        return find_model(model)
    from gvtzoo.hub.fetch import obtain

    return obtain(absent, assume_yes=assume_yes)
