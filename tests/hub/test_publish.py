"""Publishing with huggingface_hub's own client, on a Hub on loopback."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.publish import prepare, upload
from gvtzoo.packages.config import PackageConfig
from gvtzoo.recipes.metadata import Author


def contents(hub, revision: str = "main") -> dict[str, bytes]:
    """What `alice/tiny` holds, but for what every repository starts with."""
    repository = hub.repositories["alice/tiny"]
    files = repository.commits[repository.resolve(revision)]
    return {path: file.content for path, file in files.items() if path != ".gitattributes"}


def test_the_layout(publication, package):
    with zipfile.ZipFile(package) as archive:
        packed = {f"package/{name}": archive.read(name) for name in archive.namelist()}
    description = packed["package/rdf.yaml"]
    others = {name: file for name, file in publication.files.items() if name not in packed}
    assert publication.files.items() >= packed.items()
    assert set(others) == {
        "README.md",
        "config.json",
        "model.safetensors",
        "images/cover.png",
        "package/bioimageio.yaml",
    }
    assert others["package/bioimageio.yaml"] == description
    assert others["model.safetensors"] == packed["package/weights.safetensors"]
    assert others["images/cover.png"] == packed["package/cover.png"]


def test_the_config_is_the_packages(publication, configured):
    config = json.loads(publication.files["config.json"])
    assert PackageConfig.model_validate(config) == configured()


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"cite": ()}, "no citation"),
        ({"data": ()}, "no training data"),
        ({"authors": (Author(name="unknown"),)}, "no authors"),
        ({"license": ""}, "no licence"),
    ],
)
def test_what_is_not_described_is_not_published(
    changes, missing, configured, described, packaged, tmp_path
):
    path = packaged(tmp_path / "poor.zip", configured(metadata=described(**changes)))
    with pytest.raises(GvtzooError, match=f"not ready to be published: it has {missing}"):
        prepare(path, "alice/tiny")


def test_what_is_not_measured_is_not_published(configured, packaged, tmp_path):
    path = packaged(tmp_path / "poor.zip", configured(metrics=()))
    with pytest.raises(GvtzooError, match=r"no metrics \(--metrics\)"):
        prepare(path, "alice/tiny")


def test_a_package_that_fails_a_check_is_not_published(package, tmp_path):
    path = tmp_path / "nested.zip"
    path.write_bytes(package.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("folder/file.txt", "")
    with pytest.raises(GvtzooError, match=r"flat folder: folder/file\.txt"):
        prepare(path, "alice/tiny")


@pytest.mark.parametrize("repository", ["tiny", "alice/tiny@1.0.0"])
def test_the_repositorys_name_is_checked_first(package, repository):
    with pytest.raises(GvtzooError, match=repository):
        prepare(package, repository)


def test_a_dry_run_shows_address_files_and_card_and_asks_nobody(hub, package, publication):
    command = ["publish", str(package), "alice/tiny", "--dry-run"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    address, *lines = result.stdout.partition("\n\n")[0].splitlines()
    assert address == f"{hub.address}/alice/tiny"
    assert result.stdout.endswith(f"\n\n{publication.files['README.md'].decode()}")
    listed = [line.split() for line in lines]
    sizes = {name: int(size.replace(",", "")) for size, name, *_ in listed[:-1]}
    assert sizes == {name: len(content) for name, content in publication.files.items()}
    assert int(listed[-1][0].replace(",", "")) == sum(sizes.values())
    assert hub.requests == []


def test_one_commit_and_both_tags(hub, publication):
    assert upload(publication) == f"{hub.address}/alice/tiny"
    repository = hub.repositories["alice/tiny"]
    assert contents(hub) == publication.files
    assert len(repository.commits) == 2  # the first is the Hub's own
    assert repository.tags == dict.fromkeys(("1.0.0", "v1.0.0"), repository.branches["main"])
    assert not repository.private


def test_the_loader_of_bioimageio_finds_the_version(published, elsewhere):
    code = (
        "from bioimageio.spec import load_model_description\n"
        "model = load_model_description('huggingface/alice/tiny/1.0.0')\n"
        "print(model.id, model.version)"
    )
    pattern = f"{published.address}/{{repo_id}}/resolve/{{branch}}/package/bioimageio.yaml"
    done = elsewhere("-c", code, BIOIMAGEIO_HUGGINGFACE_HTTP_PATTERN=pattern)
    assert done.stdout == "tiny-model 1.0.0\n"


def test_the_same_version_is_refused(published, newer):
    before = dict(published.repositories["alice/tiny"].commits)
    with pytest.raises(GvtzooError, match=r"has a version 1\.0\.0 already"):
        upload(replace(newer, version="1.0.0"))
    assert published.repositories["alice/tiny"].commits == before


def test_a_new_version_is_a_commit_and_tags(published, publication, newer):
    upload(newer)
    repository = published.repositories["alice/tiny"]
    assert contents(published) == contents(published, "v1.1.0") == newer.files
    assert contents(published, "1.0.0") == publication.files
    assert set(repository.tags) == {"1.0.0", "v1.0.0", "1.1.0", "v1.1.0"}
    assert len(repository.commits) == 3


def test_what_others_put_beside_the_model_stays(published, newer):
    repository = published.repositories["alice/tiny"]
    files = repository.commits[repository.branches["main"]]
    repository.commit("main", {**files, "notebook.ipynb": files["config.json"]})
    upload(newer)
    assert contents(published).keys() == {*newer.files, "notebook.ipynb"}


@pytest.mark.parametrize(
    "fault",
    [
        {"pattern": "PUT /lfs-upload", "status": 403},
        {"pattern": "POST .*/commit/", "status": 500},
        {"pattern": "POST .*/commit/", "status": 500, "after": True},
        {"pattern": "POST .*/tag/", "status": 500},
        {"pattern": "POST .*/tag/", "status": 500, "after": True},
    ],
    ids=["upload", "commit", "commit's answer", "tag", "tag's answer"],
)
def test_an_interrupted_publication_is_completed_by_another_try(hub, publication, fault):
    hub.fail(**fault)
    with pytest.raises(GvtzooError):
        upload(publication)
    upload(publication)
    repository = hub.repositories["alice/tiny"]
    assert contents(hub) == publication.files
    assert len(repository.commits) == 2
    assert repository.tags == dict.fromkeys(("1.0.0", "v1.0.0"), repository.branches["main"])


def test_another_model_does_not_complete_an_interrupted_publication(published, newer):
    del published.repositories["alice/tiny"].tags["v1.0.0"]
    with pytest.raises(GvtzooError, match=r"has a version 1\.0\.0 already"):
        upload(replace(newer, version="1.0.0"))
    assert "v1.0.0" not in published.repositories["alice/tiny"].tags


def test_two_who_publish_at_once(hub, publication):
    def meanwhile() -> None:
        repository = hub.repositories["alice/tiny"]
        repository.commit("main", {})

    hub.fail("POST .*/commit/", before=meanwhile)
    with pytest.raises(GvtzooError, match="changed by somebody else"):
        upload(publication)


def test_a_private_repository(hub, publication):
    upload(publication, private=True)
    assert hub.repositories["alice/tiny"].private


def test_a_public_repository_is_not_taken_for_a_private_one(published, newer):
    with pytest.raises(GvtzooError, match="exists and is public"):
        upload(newer, private=True)
    assert "1.1.0" not in published.repositories["alice/tiny"].tags


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "needs an account.*hf auth login"),
        ("hf_old", "does not accept the token"),
        ("hf_bob", "gives no right"),
    ],
)
def test_who_may_not_publish(hub, publication, monkeypatch, token, message):
    monkeypatch.delenv("HF_TOKEN")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(GvtzooError, match=message) as caught:
        upload(publication)
    assert "\n" not in str(caught.value)
    assert hub.repositories == {}


def test_an_organization_of_ones_own(hub, publication):
    upload(replace(publication, repository="lab/tiny"))
    assert "1.0.0" in hub.repositories["lab/tiny"].tags


def test_a_card_that_the_hub_does_not_accept(hub, publication):
    files = {**publication.files, "README.md": b"---\nlicense: nonsense\n---\n"}
    with pytest.raises(GvtzooError, match='"license" must be one of') as caught:
        upload(replace(publication, files=files))
    assert "\n" not in str(caught.value)


AS_USERS_OF_THE_HUB = """
from gvtzoo.networks import GVTNet

network = GVTNet.from_pretrained("alice/tiny", revision="1.0.0")
network.push_to_hub("alice/network")
again = GVTNet.from_pretrained("alice/network")
assert all(map(lambda a, b: (a == b).all(), network.parameters(), again.parameters()))
print("equal", len(list(again.parameters())))
"""


def test_its_network_alone(published, elsewhere):
    done = elsewhere("-c", AS_USERS_OF_THE_HUB, HF_TOKEN="hf_alice")
    assert "equal" in done.stdout, done.stderr
    assert (
        "config.json"
        in published.repositories["alice/network"].commits[
            published.repositories["alice/network"].resolve("main")
        ]
    )
