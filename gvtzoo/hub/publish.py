"""Publishing a package on Hugging Face: one commit, and two tags for its version.

README.md            the card
config.json          what the package says of itself to gvtzoo
model.safetensors    the weights
images/cover.png
package/             the BioImage.IO package, unpacked

The layout is that of bioimageio.spec, so that its loader finds the package: it asks for the tag
``v1.0.0`` and for ``bioimageio.yaml``, where Fiji knows ``rdf.yaml`` only. Both are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.card import model_card
from gvtzoo.hub.huggingface import (
    DESCRIPTION,
    PACKAGE_FOLDER,
    explained,
    git_hash,
    hub,
    split_name,
)
from gvtzoo.packages.checks import check_package
from gvtzoo.packages.reader import ModelPackage, open_package
from gvtzoo.packages.writer import RDF, SAFETENSORS
from gvtzoo.recipes.metadata import UNKNOWN

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

OWN_FOLDERS = (f"{PACKAGE_FOLDER}/", "images/")


@dataclass(frozen=True)
class Publication:
    """What is uploaded.

    Attributes
    ----------
    repository : str
        ``ORG/NAME``.
    version : str
        Of the model, ``1.0.0``.
    files : mapping of str to bytes
        By path in the repository.
    """

    repository: str
    version: str
    files: Mapping[str, bytes]

    @property
    def address(self) -> str:
        """Where it is to be found."""
        return f"{hub().endpoint}/{self.repository}"

    @property
    def card(self) -> str:
        """The text that the Hub shows."""
        return self.files["README.md"].decode()


def publish(package: str | Path, repository: str, *, private: bool = False) -> str:
    """Check a package and publish it on Hugging Face, where anyone loads it by ``ORG/NAME``.

    When it was interrupted, the same call completes it.

    Parameters
    ----------
    package : path
    repository : str
        ``ORG/NAME``, which is created where there is none; the version is the package's.
    private : bool
        Whether a new repository is private.

    Returns
    -------
    str
        The repository's address.

    Raises
    ------
    GvtzooError
        When the package is not ready (`prepare`), or the Hub refuses (`upload`).

    Examples
    --------
    >>> import gvtzoo
    >>> gvtzoo.publish("model.zip", "ORG/NAME")  # doctest: +SKIP
    'https://huggingface.co/ORG/NAME'
    """
    return upload(prepare(package, repository), private=private)


def prepare(path: str | Path, repository: str) -> Publication:
    """Check a package, and lay out its repository. Nothing is uploaded.

    Parameters
    ----------
    path : path
        Of the package.
    repository : str
        ``ORG/NAME``; the version is the package's.

    Returns
    -------
    Publication
        What `upload` uploads.

    Raises
    ------
    GvtzooError
        When a check of `check_package` fails, or documentation, cover, licence, authors,
        citation, data or metrics are not given.
    """
    name, revision = split_name(repository)
    if revision is not None:
        raise GvtzooError(
            f"{repository}: the version is that of the package: leave out @{revision}"
        )
    package = open_package(path)
    missing = list(_missing(package))
    if missing:
        raise GvtzooError(
            f"{path} is not ready to be published: it has {'; '.join(missing)} (`gvtzoo package` "
            "takes what a run folder does not say)"
        )
    failed = [result for result in check_package(path) if not result.passed]
    if failed:
        raise GvtzooError(
            f"{path} is not ready to be published: {failed[0].name}: {failed[0].detail} "
            f"(`gvtzoo test {path}` shows all checks)"
        )
    return Publication(name, package.config.metadata.version, dict(_files(package, name)))


def _missing(package: ModelPackage) -> Iterator[str]:
    rdf, metadata, names = package.rdf, package.config.metadata, package.names()
    if rdf.get("documentation") not in names:
        yield "no documentation"
    if not rdf.get("covers") or rdf["covers"][0] not in names:
        yield "no cover picture"
    if not rdf.get("license"):
        yield "no licence (--license)"
    if UNKNOWN in metadata.authors:
        yield "no authors (--author)"
    if not metadata.cite:
        yield "no citation"
    if not metadata.data:
        yield "no training data named (--data-name)"
    if not any(row.values for row in package.config.metrics):
        yield "no metrics (--metrics)"


def _files(package: ModelPackage, repository: str) -> Iterator[tuple[str, bytes]]:
    cover = package.rdf["covers"][0]
    picture = f"images/cover{PurePosixPath(cover).suffix}"
    card = model_card(package.config, repository, tags=package.rdf.get("tags", ()), picture=picture)
    yield "README.md", card.encode()
    yield "config.json", f"{package.config.model_dump_json(indent=1)}\n".encode()
    yield "model.safetensors", package.read(SAFETENSORS)
    yield picture, package.read(cover)
    yield f"{PACKAGE_FOLDER}/{DESCRIPTION}", package.read(RDF)
    for name in package.names():
        yield f"{PACKAGE_FOLDER}/{name}", package.read(name)


def upload(publication: Publication, *, private: bool = False) -> str:
    """Create the repository where there is none, commit the files, tag the commit.

    When it was interrupted, the same call completes it.

    Parameters
    ----------
    publication : Publication
    private : bool
        Whether a new repository is private.

    Returns
    -------
    str
        The repository's address.

    Raises
    ------
    GvtzooError
        When the version is there already, or the Hub refuses.
    """
    repository = publication.repository
    api = hub()
    with explained(repository):
        api.whoami()
        api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise GvtzooError(
                f"{repository} exists and is public: make it private in its settings, or publish "
                "without --private"
            )
        refs = api.list_repo_refs(repository)
        wanted = (publication.version, f"v{publication.version}")
        tags = {tag.name: tag.target_commit for tag in refs.tags if tag.name in wanted}
        if tags:
            commit = _interrupted(api, publication, tags)
        else:
            heads = [ref.target_commit for ref in refs.branches if ref.name == "main"]
            commit = _commit(api, publication, heads[0] if heads else None)
        for tag in wanted:
            if tag not in tags:
                api.create_tag(repository, tag=tag, revision=commit)
    return publication.address


def _interrupted(api: HfApi, publication: Publication, tags: Mapping[str, str]) -> str:
    """The commit of a version that lacks one of its tags, and is otherwise this one."""
    commit = next(iter(tags.values()))
    if len(tags) == 1 and _holds(api, publication, commit):
        return commit
    raise GvtzooError(
        f"{publication.repository} has a version {publication.version} already: give the package "
        "a higher one"
    )


def _holds(api: HfApi, publication: Publication, commit: str) -> bool:
    """Whether a commit has the very files of a publication."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(publication.repository, recursive=True, revision=commit)
    there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    return all(
        path in there and _is_same(there[path], content)
        for path, content in publication.files.items()
    )


def _is_same(file: RepoFile, content: bytes) -> bool:
    if file.lfs is not None:
        return file.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return file.blob_id == git_hash(content)


def _commit(api: HfApi, publication: Publication, parent: str | None) -> str:
    """Commit the files, and remove those of an older version; the commit's name.

    What is there already is not sent again, and when that is everything there is no new commit:
    then the newest one is an interrupted publication's.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repository, files = publication.repository, publication.files
    stale = [
        path
        for path in api.list_repo_files(repository)
        if path.startswith(OWN_FOLDERS) and path not in files
    ]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationDelete(path) for path in stale),
        *(CommitOperationAdd(path, content) for path, content in files.items()),
    ]
    done = api.create_commit(
        repository,
        operations,
        commit_message=f"Version {publication.version}",
        parent_commit=parent,
    )
    return done.oid
