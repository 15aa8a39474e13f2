"""Alert rules, judged by Prometheus' own promtool."""

import json
import re
import subprocess
from pathlib import Path


def alerts(promtool: str, rules: Path, folder: Path, series: dict[str, str], minute: int) -> set[str]:
    """Those that fire at that minute."""
    fired = set()
    for name in re.findall(r"alert: (\w+)", rules.read_text()):
        test = {
            "interval": "1m",
            "input_series": [{"series": one, "values": values} for one, values in series.items()],
            "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []}],
        }
        (folder / "test.yml").write_text(json.dumps({"rule_files": [str(rules)], "tests": [test]}))
        words = [promtool, "test", "rules", "test.yml"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            assert name in done.stdout + done.stderr
            fired.add(name)
    return fired
