"""An application of the published comparisons, built and measured as a user would: its answers are what the suite defined."""

import json

from tests.integration.machine import ROOT, only_run, volley

SHORT = {"window": "500ms", "warm_up": "300ms"}


def test_an_application_answers_as_its_campaign_expects(tmp_path):
    """The image is built from configs/; its JSON is checked before the load and answered under it."""
    values = [word for name, value in SHORT.items() for word in ("--set", f"variables.{name}={value}")]
    campaign = str(ROOT / "configs" / "campaigns" / "json-plaintext.yaml")
    done = volley(
        "run", campaign, "--only", "flask/json", *values, "--set", "repetitions=1", "--out", str(tmp_path), "--json"
    )
    (case,) = json.loads(done.stdout)["cases"]

    assert case["case"] == "flask/json", done.stderr
    assert case["requests"]["ok"] > 0
    assert case["requests"]["http_error"] == 0
    assert "response-mismatch" not in (only_run(tmp_path) / "trials.csv").read_text()
