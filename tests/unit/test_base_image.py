"""What deploy/base-image.sh copies into the image that every build starts from."""

import re
import subprocess

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "deploy" / "base-image.sh"


@pytest.mark.process
def test_no_password_of_an_index_is_copied():
    """User and password leave every URL, and comments; everything else stays."""
    function = re.search(r"^without_passwords\(\) \{.*\}$", SCRIPT.read_text(), re.MULTILINE)[0]
    given = (
        "[global]\n# old: https://me:pl4nted@index.example/simple\n; pl4nted\n"
        "index-url = https://me:pl4n@ted@index.example/simple/\n"
        "extra-index-url =\n    https://token-pl4nted@other.example:8443/x\n    https://plain.example/@scope/y\n"
        "trusted-host = index.example\n"
    )

    done = subprocess.run(
        ["bash", "-c", f"{function}; without_passwords"], input=given, capture_output=True, text=True, check=True
    )

    assert done.stdout == (
        "[global]\nindex-url = https://index.example/simple/\n"
        "extra-index-url =\n    https://other.example:8443/x\n    https://plain.example/@scope/y\n"
        "trusted-host = index.example\n"
    )


def test_the_script_copies_it_in_no_other_way():
    """Nothing but the filter reads the file into the image."""
    uses = [line.strip() for line in SCRIPT.read_text().splitlines() if "/etc/pip.conf" in line]

    assert [line for line in uses if "$root" in line] == ['without_passwords </etc/pip.conf >"$root/fs/etc/pip.conf"']
