"""The dashboard for the question: what do the machines do? Health first, then room, waits, engines, store, processes.

Read from the top: is anything broken, is anything full, and if neither, what is slow.
"""

from engines import SELECTED, engines, processes, quantile, requests
from layout import Section, dashboard, label_variable, window_variable
from panels import (
    GREEN,
    GREY,
    RED,
    YELLOW,
    Json,
    Query,
    Scale,
    bars,
    cells,
    color,
    limits,
    lines,
    stat,
    table,
    timeline,
    words,
)

_OURS = 'job=~"parley-(gateway|asr|llm|tts)"'
_UP_OR_DOWN = words({"1": ("up", GREEN), "0": ("DOWN", RED)})
_IS_UP = limits((1, GREEN), base=RED)
# Waiting for an engine comes out of 0.7 s for everything.
_WAIT_LIMITS = limits((0.1, YELLOW), (0.25, RED))
_ROOM_LIMITS = limits((0.7, YELLOW), (0.85, RED))


def operators() -> Json:
    """The whole dashboard."""
    return dashboard(
        "parley-operators",
        "Parley: operators",
        "Health and capacity of the four processes: what is broken, what is full, what waits, what is slow.",
        [_health(), _room(), engines(), requests(), _store(), processes()],
        [
            label_variable("job", "Process", f"label_values(up{{{_OURS}}}, job)"),
            label_variable("instance", "Instance", 'label_values(up{job=~"$job"}, instance)'),
            window_variable("5m"),
        ],
        refresh="10s",
        time_from="now-3h",
    )


def _health() -> Section:
    return Section(
        "Is anything broken?",
        [
            stat(
                "Processes",
                "Whether each process answered Prometheus the last time. DOWN: it ended, hangs, or cannot be reached.",
                Query(f"up{SELECTED}", "{{job}} {{instance}}"),
                scale=Scale("short", _IS_UP, mappings=_UP_OR_DOWN),
                size=(8, 6),
                no_value="NONE FOUND",
                has_graph=False,
            ),
            stat(
                "Services as the gateways see them",
                "Whether each gateway can use asr, llm and tts. One may be up and yet not ready.",
                Query("min by (service) (parley_gateway_upstream_up)", "{{service}}"),
                scale=Scale("short", _IS_UP, mappings=_UP_OR_DOWN),
                size=(5, 6),
                no_value="NO GATEWAY",
                has_graph=False,
            ),
            stat(
                "Store",
                "Whether every gateway can write to its conversation store. If not, events wait on its disk and"
                " conversations go on, but cannot be read.",
                Query("max(parley_gateway_store_degraded)"),
                scale=Scale(
                    "short", limits((1, RED)), mappings=words({"0": ("in order", GREEN), "1": ("AWAY", RED)})
                ),
                size=(3, 6),
                no_value="NO GATEWAY",
                has_graph=False,
            ),
            table(
                "Alerts firing",
                "Every alert of deploy/prometheus/rules/alerts.yml that fires now; docs/alerts.md says what to do about"
                " each. Empty is good.",
                Query(
                    'count by (alertname, severity, service, resource, queue, job) (ALERTS{alertname=~"Parley.+",'
                    'alertstate="firing"})'
                ),
                columns={
                    "severity": "Severity",
                    "alertname": "Alert",
                    "job": "Process",
                    "service": "Service",
                    "resource": "Resource",
                    "queue": "Queue",
                },
                overrides=[cells("Severity", words({"page": ("page", RED), "ticket": ("ticket", YELLOW)}))],
                size=(8, 6),
            ),
            lines(
                "Processes that answer",
                "How many of each kind Prometheus reaches. A step down that does not come back is a lost replica.",
                [Query(f"sum by (job) (up{SELECTED})", "{{job}}")],
                scale=Scale("short"),
                size=(8, 7),
            ),
            lines(
                "Restarts",
                "Starts of each process within 15 minutes. Three are an alarm: it ends again and again.",
                [Query(f"changes(process_start_time_seconds{SELECTED}[15m])", "{{job}} {{instance}}")],
                scale=Scale("short", limits((3, RED))),
                size=(8, 7),
            ),
            timeline(
                "What was in order when",
                "Red: a gateway could not use a service, an engine (model server, model) could not answer although its"
                " process ran, a store was away, or a gateway was going away and took no new sessions.",
                [
                    Query("min by (service) (parley_gateway_upstream_up)", "gateways can use {{service}}"),
                    Query('parley_llm_engine_available{instance=~"$instance"}', "llm engine {{instance}}"),
                    Query('parley_tts_engine_available{instance=~"$instance"}', "tts engine {{instance}}"),
                    Query(
                        '1 - parley_gateway_store_degraded{instance=~"$instance"}', "store of {{instance}}"
                    ),
                    Query(
                        '1 - parley_gateway_is_draining{instance=~"$instance"}', "{{instance}} takes sessions"
                    ),
                ],
                scale=Scale("short", _IS_UP, mappings=words({"1": ("in order", GREEN), "0": ("NOT", RED)})),
                size=(8, 7),
            ),
        ],
    )


def _room() -> Section:
    return Section(
        "Is anything full, does anything wait?",
        [
            bars(
                "Room in use now",
                "Used share of what a process lets in at once. At 100 % the gateway, asr and tts refuse, llm queues."
                " The fullest instance of each kind.",
                [Query("max by (resource) (parley:slots_used:ratio)", "{{resource}}")],
                scale=Scale("percentunit", _ROOM_LIMITS, maximum=1),
                size=(8, 8),
            ),
            lines(
                "Room in use",
                "The same over time. Red from 85 %: with this for five minutes there is an alert.",
                [Query('parley:slots_used:ratio{instance=~"$instance"}', "{{resource}} {{instance}}")],
                scale=Scale("percentunit", _ROOM_LIMITS, maximum=1),
                size=(8, 8),
            ),
            lines(
                "Sessions and their limit",
                "Open sessions of all gateways, and how many they would take.",
                [
                    Query("sum(parley_gateway_sessions)", "open"),
                    Query("sum(parley_gateway_session_slots)", "limit"),
                    Query("sum(increase(parley_gateway_refused_sessions_total[1m]))", "refused a minute"),
                ],
                scale=Scale("short"),
                overrides=[color("open", GREEN), color("limit", GREY), color("refused a minute", RED)],
                size=(8, 8),
            ),
            lines(
                "Waiting for an engine (p95)",
                "How long requests wait until work on them begins: asr audio for the decoder, llm requests for a slot,"
                " tts phrases for an engine. It comes out of the 0.7 s of voice to voice.",
                [Query("parley:queue_wait_seconds:p95_5m", "{{queue}}")],
                scale=Scale("s", _WAIT_LIMITS),
                size=(6, 8),
            ),
            lines(
                "Length of the queues",
                "How many wait at this moment, all instances.",
                [
                    Query("sum(parley_asr_decode_queue_streams)", "asr streams for the decoder"),
                    Query("sum(parley_llm_requests_queued)", "llm requests for a slot"),
                    Query("sum(parley_tts_requests_queued)", "tts phrases for an engine"),
                ],
                scale=Scale("short"),
                size=(6, 8),
            ),
            lines(
                "Links to services",
                "Streams that many sessions share, of the gateway that has fewest: one to each process of a service."
                " At 0 calls go by themselves, which works and costs more CPU.",
                [Query("min by (service) (parley_gateway_upstream_links)", "{{service}}")],
                scale=Scale("short"),
                size=(6, 8),
            ),
            lines(
                "Streams on links",
                "What goes over the links at this moment, all gateways: about one to asr for each session, and one to"
                " llm and tts for each reply.",
                [Query("sum by (service) (parley_gateway_upstream_link_streams)", "{{service}}")],
                scale=Scale("short"),
                size=(6, 8),
            ),
        ],
    )


def _store() -> Section:
    return Section(
        "Conversation store",
        [
            lines(
                "Writing to the store",
                "How long appending to the store takes, p50 and p95. It happens before a reply becomes audible.",
                [
                    Query(quantile(0.5, "parley_gateway_store_append_seconds"), "p50"),
                    Query(quantile(0.95, "parley_gateway_store_append_seconds"), "p95"),
                ],
                scale=Scale("s", limits((0.02, YELLOW), (0.1, RED))),
            ),
            lines(
                "Events that wait for the store",
                "Written to each gateway's disk because the store is away. 0 in good times; the queue is bounded.",
                [Query("parley_gateway_store_queued_events", "{{instance}}")],
                scale=Scale("short", limits((20_000, RED))),
            ),
        ],
    )
