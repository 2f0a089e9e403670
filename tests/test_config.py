import os
import stat
import tempfile
from pathlib import Path

import platformdirs
import pytest

from p2phouse.config import (
    HomeUnusable,
    RuntimeUnsafe,
    api_socket,
    home_of,
    make_private,
    runtime_of,
)

NOBODY = 65_534


@pytest.fixture
def set_environment(monkeypatch):
    """Sets variables for this test, None to take one away."""

    def set_all(**variables):
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(value))

    return set_all


def test_the_home_is_the_one_given_then_the_environment_s_then_the_system_s(set_environment):
    set_environment(P2PHOUSE_HOME="/srv/house")
    assert home_of("/tmp/mine") == Path("/tmp/mine")
    assert home_of(None) == Path("/srv/house")
    set_environment(P2PHOUSE_HOME="")
    assert home_of(None) == Path(platformdirs.user_data_dir("p2phouse"))
    assert home_of("") == home_of(None)


def test_a_home_is_one_place_wherever_the_command_is_given(set_environment, tmp_path, monkeypatch):
    set_environment(HOME=tmp_path)
    monkeypatch.chdir(tmp_path)
    assert home_of("house") == home_of("~/house") == tmp_path / "house"


def test_sockets_lie_where_the_person_says_else_where_the_system_keeps_them(
    set_environment, tmp_path
):
    set_environment(P2PHOUSE_RUNTIME_DIR=tmp_path / "run", XDG_RUNTIME_DIR=tmp_path)
    assert runtime_of() == tmp_path / "run"
    set_environment(P2PHOUSE_RUNTIME_DIR=None)
    assert runtime_of() == tmp_path / "p2phouse"
    set_environment(XDG_RUNTIME_DIR=tmp_path / "nowhere")
    assert runtime_of() == Path("/tmp") / f"p2phouse-{os.getuid()}"
    set_environment(XDG_RUNTIME_DIR=None)
    assert runtime_of() == Path("/tmp") / f"p2phouse-{os.getuid()}"


def test_each_home_has_a_socket_of_its_own_and_its_path_is_short(tmp_path):
    homes = [tmp_path / "a", tmp_path / "b", tmp_path / ("x" * 200)]
    sockets = {api_socket(home, tmp_path) for home in homes}
    assert len(sockets) == 3
    assert all(len(each.name) == 25 and each.parent == tmp_path for each in sockets)
    assert api_socket(homes[0], tmp_path) == api_socket(homes[0], tmp_path)


def test_a_private_folder_is_made_with_its_parents_for_us_alone(tmp_path):
    path = tmp_path / "a" / "b"
    before = os.umask(0)
    try:
        make_private(path, HomeUnusable)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    make_private(path, HomeUnusable)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("error", [HomeUnusable, RuntimeUnsafe])
def test_a_folder_in_which_others_may_write_is_refused(tmp_path, mode, error):
    path = tmp_path / "house"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(error, match="others may write in it"):
        make_private(path, error)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of somebody else's")
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    path = tmp_path / "house"
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(RuntimeUnsafe, match="belongs to somebody else"):
        make_private(path, RuntimeUnsafe)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a link of somebody else's")
def test_a_link_that_somebody_else_can_point_elsewhere_is_refused(tmp_path):
    folder, link = tmp_path / "house", tmp_path / "link"
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    make_private(link, HomeUnusable)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(RuntimeUnsafe, match="belongs to somebody else"):
        make_private(link, RuntimeUnsafe)


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "house").write_bytes(b"")
    for path in (tmp_path / "house", tmp_path / "house" / "inner"):
        with pytest.raises(HomeUnusable, match="Choose another with --home DIR"):
            make_private(path, HomeUnusable)


def test_a_path_too_long_for_sockets_is_refused_for_sockets_alone():
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # pytest's own may be too long already
        fits = Path(short) / ("x" * (70 - len(short) - 1))
        assert len(os.fsencode(fits)) == 70
        make_private(fits, RuntimeUnsafe)
        assert len(os.fsencode(api_socket(fits, fits))) < 104  # macOS, the shortest
        long = fits.with_name(fits.name + "x")
        with pytest.raises(RuntimeUnsafe, match="too long for sockets"):
            make_private(long, RuntimeUnsafe)
        make_private(long, HomeUnusable)
