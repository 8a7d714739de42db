"""docs/integrations: each piece is what its tool reads, and names nothing that we do not have."""

import json
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from ruamel.yaml import YAML

from mutewatch.judge import RULES
from mutewatch.records import Finding, Sent, Verdict
from mutewatch.report.payload import SAMPLE
from mutewatch.sinks.ecs import ecs_record
from mutewatch.sinks.eve import SIGNATURES, eve_record
from mutewatch.sinks.export import redacted
from mutewatch.store import Store
from tests.needs import tool
from tests.test_addons_metrics import DOCUMENTED
from tests.test_sinks_siem import findings, flagged

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "integrations"
TEXT = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
ALERTS = FOLDER / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((FOLDER / "grafana" / "mutewatch.json").read_text(encoding="utf-8"))
PIECES = sorted(path for path in FOLDER.rglob("*") if path.is_file())


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def paths_in(record: dict[str, Any], above: str = "") -> set[str]:
    """Every field of a record as a SIEM names it: alert.context.mutewatch.client."""
    found = set()
    for name, value in record.items():
        found |= paths_in(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}"}
    return found


@pytest.mark.parametrize("path", [p for p in PIECES if p.suffix == ".yml"], ids=lambda path: path.name)
def test_every_yaml_file_is_one(path: Path) -> None:
    assert yaml(path)


@pytest.mark.parametrize("path", [p for p in PIECES if p.suffix == ".toml"], ids=lambda path: path.name)
def test_every_toml_file_is_one(path: Path) -> None:
    assert tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_document_names_every_piece_and_no_other() -> None:
    named = set(re.findall(r"\(integrations/([\w./-]+)\)", TEXT))
    assert named == {str(path.relative_to(FOLDER)) for path in PIECES}


@pytest.mark.parametrize(("heading", "record"), [("EVE", eve_record), ("ECS", ecs_record)])
def test_the_document_names_every_field(heading: str, record: Any) -> None:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0] + TEXT.split("## Own fields\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"`([@\w.]+)`", section))
    written = {name for finding in findings() for name in paths_in(record(redacted(finding, with_guesses=True)))}
    own = re.compile(r"^(alert\.context\.)?mutewatch\.")
    assert {own.sub("", name) for name in written} - documented == set()


def test_the_document_names_every_signature_id() -> None:
    rows = dict(re.findall(r"^\| (9100\d{3}) \| `([\w-]+)`", TEXT, re.MULTILINE))
    assert rows == {str(number): rule for rule, (number, _) in SIGNATURES.items()}


# -- shippers ------------------------------------------------------------------------------------------------


def test_shippers_drop_repetitions_by_a_field_that_events_have() -> None:
    (copied,) = (p["copy_fields"]["fields"] for p in yaml(FOLDER / "filebeat" / "filebeat.yml")["processors"])
    assert copied[0]["from"] in paths_in(ecs_record(redacted(flagged())))
    vector = tomllib.loads((FOLDER / "vector" / "vector.toml").read_text(encoding="utf-8"))
    assert set(vector["transforms"]["mutewatch_once"]["fields"]["match"]) <= paths_in(eve_record(redacted(flagged())))


def test_vectors_stages_follow_each_other() -> None:
    vector = tomllib.loads((FOLDER / "vector" / "vector.toml").read_text(encoding="utf-8"))
    stages = vector["sources"] | vector["transforms"] | vector["sinks"]
    assert all(name in stages for stage in stages.values() for name in stage.get("inputs", ()))


def test_vector_takes_its_file(tmp_path: Path) -> None:
    vector = tool("vector")
    config = (FOLDER / "vector" / "vector.toml").read_text(encoding="utf-8").replace("/var/lib/vector", str(tmp_path))
    (tmp_path / "vector.toml").write_text(config)
    told = subprocess.run([vector, "validate", tmp_path / "vector.toml"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


# -- Sigma ---------------------------------------------------------------------------------------------------


def is_hit(query: str, record: dict[str, Any]) -> bool:
    """Does a Lucene query of fields, values, AND, OR and NOT hold for a record?"""

    def holds(found: re.Match[str]) -> str:
        value: Any = record
        for name in found[1].split("."):
            value = value[name]  # a field that events do not have is a fault of the rule
        return str(str(value) in found[2].strip("()").split(" OR "))

    claims = re.sub(r"([\w.]+):(\([^)]*\)|[^\s)]+)", holds, query)
    words = {"AND": "and", "OR": "or", "NOT": "not"}
    claims = re.sub("AND|OR|NOT", lambda found: words[found[0]], claims)
    assert set(re.findall(r"\w+", claims)) <= {"True", "False", "and", "or", "not"}
    return bool(eval(claims))  # noqa: S307 (nothing but these words is left)


def with_sent(finding: Finding, sent: Sent) -> Finding:
    assert finding.source
    return replace(finding, source=replace(finding.source, sent=sent))


def test_the_sigma_rule_holds_for_the_minutes_that_left_and_no_others() -> None:
    sigma = pytest.importorskip("sigma.collection", reason="pySigma is not installed (extra 'test')")
    backend = pytest.importorskip("sigma.backends.elasticsearch", reason="its Elasticsearch backend is not installed")
    rules = sigma.SigmaCollection.load_ruleset([FOLDER / "sigma"])
    assert rules.errors == []
    (query,) = backend.LuceneBackend().convert(rules)
    for finding in findings():
        assert is_hit(query, eve_record(redacted(finding))) is (finding.verdict is Verdict.FLAGGED)
    for sent in Sent:
        assert is_hit(query, eve_record(redacted(with_sent(flagged(), sent)))) is (sent is Sent.FORWARDED)
    assert set(rules.rules[0].fields) <= paths_in(eve_record(redacted(flagged())))


def test_the_sigma_rule_is_a_search_for_splunk_too() -> None:
    sigma = pytest.importorskip("sigma.collection", reason="pySigma is not installed (extra 'test')")
    backend = pytest.importorskip("sigma.backends.splunk", reason="its Splunk backend is not installed")
    (search,) = backend.SplunkBackend().convert(sigma.SigmaCollection.load_ruleset([FOLDER / "sigma"]))
    assert search.startswith('event_type="alert" alert.signature_id IN (9100001, 9100002)')


def test_the_sigma_rule_knows_every_rule_that_flags() -> None:
    (rule,) = (FOLDER / "sigma").iterdir()
    ids = yaml(rule)["detection"]["flagged"]["alert.signature_id"]
    assert ids == [SIGNATURES[one.id][0] for one in RULES if one.verdict is Verdict.FLAGGED]


# -- Prometheus ----------------------------------------------------------------------------------------------

# What each alert takes to come: series in promtool's notation, a value a minute, and when the alert is there.
EVIDENCE = (
    ("MutewatchDown", {'up{job="mutewatch"}': "1x5 0x10"}, "9m"),
    ("MutewatchUnhealthy", {"mutewatch_healthy": "1x5 0x10"}, "9m"),
    ("MutewatchCanaryFailed", {"mutewatch_canary_success": "1x5 0x5"}, "7m"),
    ("MutewatchCanaryStale", {"mutewatch_canary_age_seconds": "0+60x40"}, "25m"),
    ("MutewatchForwardedUnrecorded", {"mutewatch_live_unrecorded_total": "0x5 1x10"}, "7m"),
    ("MutewatchForwardedUnrecorded", {"mutewatch_live_dropped_total": "0x5 1x10"}, "7m"),
    ("MutewatchForwardedUnrecorded", {"mutewatch_live_lost_total": "0x5 1x10"}, "7m"),
    ("MutewatchFlagged", {'mutewatch_evaluated_total{app="Webex",verdict="flagged"}': "0x5 1x10"}, "7m"),
    ("MutewatchSilent", {'mutewatch_last_report_timestamp_seconds{app="Webex"}': "-90000x5"}, "3m"),
    ("MutewatchUndecoded", {'mutewatch_evaluated_total{app="Webex",verdict="undecoded"}': "0x5 9x10"}, "9m"),
    ("MutewatchStoreFails", {"mutewatch_live_record_failures_total": "0x5 1x10"}, "7m"),
    ("MutewatchStoreFails", {"mutewatch_live_tick_failures_total": "0x5 1x10"}, "7m"),
    ("MutewatchExportFails", {"mutewatch_live_export_errors_total": "0+60x20"}, "15m"),
    ("MutewatchPinned", {"mutewatch_live_pinned_total": "0x5 1x10"}, "7m"),
    ("MutewatchNotInspected", {"mutewatch_live_uninspected_total": "0x5 1x10"}, "7m"),
    ("MutewatchNotInspected", {"mutewatch_live_refused_by_client_total": "0x5 1x10"}, "7m"),
    ("MutewatchNotInspected", {"mutewatch_live_gate_errors_total": "0x5 1x10"}, "7m"),
    ("MutewatchQueueGrows", {"mutewatch_live_pending": "2000x10"}, "5m"),
    ("MutewatchQueueGrows", {"mutewatch_live_queue_bytes": "33000000x10"}, "5m"),
    ("MutewatchSettingsRefused", {"mutewatch_live_reloads_refused_total": "0x5 1x10"}, "7m"),
    ("MutewatchClockDoubted", {"mutewatch_live_clock_doubted": "1x5"}, "3m"),
    ("MutewatchRetentionFails", {"mutewatch_live_tidy_failures_total": "0x5 1x10"}, "7m"),
    ("MutewatchRootExpires", {'mutewatch_certificate_remaining_seconds{role="root"}': "5000000x5"}, "3m"),
    ("MutewatchCertificateExpires", {'mutewatch_certificate_remaining_seconds{role="leaves"}': "200000x5"}, "3m"),
)
# A gateway that is well, for an hour.
WELL = {
    'up{job="mutewatch"}': "1x90",
    "mutewatch_healthy": "1x90",
    "mutewatch_canary_success": "1x90",
    "mutewatch_canary_age_seconds": "60x90",
    'mutewatch_evaluated_total{app="Webex",verdict="flagged"}': "7x90",
    'mutewatch_evaluated_total{app="Webex",verdict="unmuted"}': "0+10x90",
    'mutewatch_last_report_timestamp_seconds{app="Webex"}': "0+60x90",
    'mutewatch_certificate_remaining_seconds{role="root"}': "99999999x90",
}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml(ALERTS)["groups"] for rule in group["rules"]]


def promtool(*arguments: object) -> None:
    told = subprocess.run([tool("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_alerts_are_about_metrics_that_exist_and_say_what_they_mean() -> None:
    assert {name for rule in rules() for name in re.findall(r"\bmutewatch_\w+", rule["expr"])} <= DOCUMENTED
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in rules())


def test_prometheus_takes_the_alert_rules() -> None:
    promtool("check", "rules", ALERTS)


def test_every_alert_comes_when_it_should_and_none_without_reason(tmp_path: Path) -> None:
    assert {name for name, _, _ in EVIDENCE} == {rule["alert"] for rule in rules()}
    tests = [scenario({name: (at, True)}, series) for name, series, at in EVIDENCE]
    tests.append(scenario({rule["alert"]: ("60m", False) for rule in rules()}, WELL))
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", file)


def scenario(expected: dict[str, tuple[str, bool]], series: dict[str, str]) -> dict[str, Any]:
    """One of promtool's tests, in which every series gives all its labels to the alert."""
    known = {rule["alert"]: rule for rule in rules()}
    labels = dict(re.findall(r'(\w+)="([^"]*)"', " ".join(series)))
    claims = []
    for name, (at, is_there) in expected.items():
        kept = {key: value for key, value in labels.items() if key in re.findall(r"\w+", kept_labels(known[name]))}
        summary = known[name]["annotations"]["summary"].replace("{{ $labels.app }}", labels.get("app", ""))
        alert = {"exp_labels": known[name]["labels"] | kept, "exp_annotations": {"summary": summary}}
        claims.append({"eval_time": at, "alertname": name, "exp_alerts": [alert] if is_there else []})
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": inputs, "alert_rule_test": claims}


def kept_labels(rule: dict[str, Any]) -> str:
    """The labels that an expression leaves: those it sums by, or all."""
    summed = re.search(r"by \(([^)]*)\)", rule["expr"])
    return summed[1] if summed else "app verdict role job"


# -- Grafana -------------------------------------------------------------------------------------------------


def targets() -> list[dict[str, Any]]:
    return [target for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_every_panel_has_a_place_of_its_own_and_something_to_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        box = panel["gridPos"]
        cells = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        assert not cells & taken
        assert box["x"] + box["w"] <= 24
        assert panel["targets"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    asked = {name for target in targets() for name in re.findall(r"\bmutewatch_\w+", target.get("expr", ""))}
    assert len(asked) > 10
    assert asked <= DOCUMENTED


def test_the_dashboards_expressions_are_promql(tmp_path: Path) -> None:
    expressions = [target["expr"] for target in targets() if "expr" in target]
    expressions = [re.sub(r"\$__(range|interval)", "5m", text).replace("$instance", ".*") for text in expressions]
    named = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": named}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


def test_the_dashboards_queries_run_on_a_store(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        store.record((), findings())
    queries = [target["rawSql"] for target in targets() if "rawSql" in target]
    assert len(queries) == 2
    with sqlite3.connect(tmp_path / "s.db") as database:
        for query in queries:
            text = query.replace("$__unixEpochFrom()", "0").replace("$__unixEpochTo()", "4000000000")
            assert 2 in database.execute(text).fetchone()


# -- cron and logrotate --------------------------------------------------------------------------------------


def test_the_script_for_cron_tells_by_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "mutewatch"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mutewatch "$@"\n')
    program.chmod(0o755)
    captures = tmp_path / "captures"
    captures.mkdir()
    shutil.copy(SAMPLE / "meeting.pcapng", captures)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": f"{tmp_path}/s"}
    script = FOLDER / "cron" / "mutewatch-scan.sh"
    command = [script, captures, tmp_path / "eve.json"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stdout == f"mutewatch: muted clients sent audio-derived data; see {tmp_path}/eve.json\n"
    assert stat.S_IMODE(script.stat().st_mode) & 0o111
