"""The JSON Schema of a drill's report, for programs of others: python -m backup.drills.schema."""

import json

from backup.drills.report import Report


def schema() -> str:
    """The text of docs/drill-report.schema.json."""
    made = Report.model_json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | made, indent=2) + "\n"


if __name__ == "__main__":
    print(schema(), end="")
