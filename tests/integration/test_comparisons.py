"""An application of the published comparisons, built and measured as a user would: its answers are what the suite defined."""

import json

from tests.integration.machine import ROOT, only_run, volley

SHORT = {"window": "500ms", "warm_up": "300ms"}


def test_an_application_answers_as_its_campaign_expects(tmp_path):
    """The image is built from configs/; plaintext and JSON are checked before the load and answered under it."""
    values = [word for name, value in SHORT.items() for word in ("--set", f"variables.{name}={value}")]
    campaign = str(ROOT / "configs" / "campaigns" / "json-plaintext.yaml")
    done = volley(
        "run", campaign, "--only", "flask/*", *values, "--set", "repetitions=1", "--out", str(tmp_path), "--json"
    )
    cases = json.loads(done.stdout)["cases"]

    assert [case["case"] for case in cases] == ["flask/plaintext", "flask/json"], done.stderr
    for case in cases:
        assert case["requests"]["ok"] > 0
        assert case["requests"]["http_error"] == 0
        assert not [found for found in case["findings"] if found["code"] == "response-mismatch"]
    assert "response-mismatch" not in (only_run(tmp_path) / "trials.csv").read_text()
