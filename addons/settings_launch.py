"""From settings to what is launched."""

from addons.export_files import ExportSettings
from addons.launch import LaunchSettings, option_name
from addons.recorder import LiveSettings
from addons.settings import Mitigation, MitigationRule, PinPolicy, Settings
from mutewatch.mitigate import Policies, Policy
from mutewatch.retention import Periods


def policies(mitigation: Mitigation) -> Policies:
    """Return what is done with the messages of each signature."""
    return Policies(_policy(mitigation), {name: _policy(mitigation.rule_for(name)) for name in mitigation.signatures})


def _policy(rule: MitigationRule) -> Policy:
    return Policy(rule.action, rule.when, rule.blank, rule.identifiers, rule.block_as)


def launch_settings(settings: Settings, extra: tuple[str, ...] = ()) -> LaunchSettings:
    """Return what `launch.run` needs; `extra` are further mitmproxy options and win over ours."""
    if not any(option_name(option) == "termlog_verbosity" for option in extra):
        extra = (f"termlog_verbosity={settings.log.level}", *extra)
    live = LiveSettings(
        settings.state.directory,
        settings.record.record_timeout,
        settings.record.queue_size,
        activity=settings.clients.activity,
        show_clients=settings.clients.show,
        max_body=settings.record.max_body,
        mute_file=settings.clients.mute_file,
        assume=settings.clients.assume,
        policies=policies(settings.mitigation),
        strict=settings.record.strict,
        refuses_pinned=settings.pins.policy is PinPolicy.FAIL,
        pin_ttl=settings.pins.ttl_seconds,
        periods=Periods(settings.retention.minutes_days, settings.retention.counts_days),
        metrics="" if settings.metrics.address is None else settings.metrics.listen,
        canary_max_age=int(settings.canary.stale_after),
        exports=ExportSettings(
            settings.export.eve_file, settings.export.ecs_file, int(settings.export.mode, 8), settings.export.guesses
        ),
        leaf_dir=settings.certificates.leaf_dir,
        passphrase_file=settings.certificates.passphrase_file,
        signatures=settings.signatures.folder,
        without=settings.signatures.without,
    )
    return LaunchSettings(live, settings.listen.host, settings.listen.port, settings.listen.mode, extra=extra)
