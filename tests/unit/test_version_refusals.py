"""Whatever is wrong with a version, it is refused with the reason, and the champion answers on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from swaps_factory import Replica, following
from tampered_versions import SPOILED, Spoil, Workshop


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A home with two real versions in it, and their names."""
    home = tmp_path_factory.mktemp("made")
    shop = Workshop(home)
    return home, shop.make(1), shop.make(2)


@pytest.fixture
def replica(made: tuple[Path, str, str], tmp_path: Path) -> Iterator[Replica]:
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    with following(tmp_path) as follower:
        yield follower


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_spoiled_version_is_refused_with_its_reason_and_the_champion_stays(
    made: tuple[Path, str, str], replica: Replica, spoil: Spoil
) -> None:
    _, sound, other = made
    shop = Workshop(replica.home)
    replica.point(shop.signed(sound, seed=99))
    champion = replica.champion
    announced = spoil(shop, sound, other)
    replica.point(announced)
    assert replica.refusals == [(announced, SPOILED[spoil])]
    assert replica.champion == champion is not None
    assert replica.versions.refused == {SPOILED[spoil]: 1}
    replica.point(other)
    assert replica.champion == other


def test_a_manifest_that_was_signed_but_not_announced_is_refused(
    made: tuple[Path, str, str], replica: Replica
) -> None:
    _, sound, other = made
    shop = Workshop(replica.home)
    replica.point(sound, manifest_sha256={sound: shop.announced(sound)})
    replica.point(other, manifest_sha256={other: shop.announced(sound)})
    assert replica.champion == sound
    assert replica.refusals == [(other, "digest_mismatch")]


def test_a_version_over_the_budget_is_refused_before_any_file_of_it_is_read(
    made: tuple[Path, str, str], replica: Replica
) -> None:
    _, sound, other = made
    replica.point(sound)
    replica.library.budget_bytes = sum(replica.library.sizes.values())
    (Workshop(replica.home).folder(other) / "sequence.onnx").unlink()
    replica.point(other)
    assert replica.champion == sound
    assert replica.refusals == [(other, "over_budget")]
