"""Alert rules, judged by Prometheus' own promtool."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path


def alerts(promtool: str, rules: Path, folder: Path, series: Mapping[str, str], minute: int) -> set[str]:
    """Those that fire at that minute."""
    names = [*dict.fromkeys(re.findall(r'\balert"?: "?(\w+)', rules.read_text()))]
    test = {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []} for name in names],
    }
    (folder / "test.yml").write_text(json.dumps({"rule_files": [str(rules)], "tests": [test]}))
    words = [promtool, "test", "rules", "test.yml"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    fired = {*re.findall(r"^\s*alertname: (\w+), time:", done.stdout + done.stderr, re.MULTILINE)}
    assert fired <= {*names}
    assert bool(fired) == bool(done.returncode), done.stdout + done.stderr
    return fired
