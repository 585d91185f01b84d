//! `GET /metrics`, in the `OpenMetrics` text format: the status in numbers.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::status::{Proxy, Status};
use crate::swarm::Via;

/// The status as text.
pub(super) fn encode(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("waggle");
    registry.register_collector(Box::new(Numbers(status.clone())));
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

/// The status, as the registry asks for it.
#[derive(Debug)]
struct Numbers(Status);

impl Collector for Numbers {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(status) = self;
        let mut standings = BTreeMap::from([("published", 0_u64), ("rejected", 0)]);
        let mut problems = BTreeMap::new();
        for service in &status.services {
            *standings.entry(service.standing).or_default() += 1;
            for problem in &service.problems {
                *problems.entry(problem.code.as_str()).or_default() += 1;
            }
        }
        let endpoints = status.services.iter().map(|service| service.endpoints.len()).sum();
        let out = &mut out;
        family(
            out,
            "services",
            "Services with our labels",
            "standing",
            &standings,
            ConstGauge::new,
        )?;
        family(out, "problems", "Problems of services", "code", &problems, ConstGauge::new)?;
        single(out, "endpoints", "Endpoints of all services", &ConstGauge::new(count(endpoints)))?;
        single(out, "envoys", "Connected Envoys", &ConstGauge::new(count(status.envoys.len())))?;
        let (sent, rejected) = (&status.xds.responses, &status.xds.rejections);
        family(out, "xds_responses", "Responses to Envoys", "kind", sent, ConstCounter::new)?;
        let help = "Responses that an Envoy rejected";
        family(out, "xds_rejections", help, "kind", rejected, ConstCounter::new)?;
        let total = |count: fn(&Proxy) -> u64| status.proxies.iter().map(count).sum::<u64>();
        let outcomes = BTreeMap::from([
            ("failed", total(|proxy| proxy.failures)),
            ("made", total(|proxy| proxy.updates)),
        ]);
        let help = "Updates of the services that run the proxies";
        family(out, "proxy_updates", help, "outcome", &outcomes, ConstCounter::new)?;
        let pending = status.proxies.iter().map(|proxy| proxy.pending.len()).sum();
        let help = "Networks and secrets that proxies need and do not have";
        single(out, "proxy_pending", help, &ConstGauge::new(count(pending)))?;
        let failing = status.proxies.iter().filter(|proxy| proxy.failing.is_some()).count();
        let help = "Services that run proxies and have a trouble";
        single(out, "proxies_failing", help, &ConstGauge::new(count(failing)))?;
        let reads = &status.swarm;
        let complete = ConstCounter::new(reads.complete_reads);
        single(out, "swarm_reads", "Complete reads of the Swarm", &complete)?;
        let failed = ConstCounter::new(reads.failed_reads);
        single(out, "swarm_failed_reads", "Reads that failed and were thrown away", &failed)?;
        let pushed = u64::from(reads.changes == Via::Pushed);
        let help = "Whether changes of the Swarm are pushed (1) or polled (0)";
        single(out, "swarm_pushed", help, &ConstGauge::new(pushed))?;
        let failures = ConstCounter::new(reads.watch_failures);
        single(out, "swarm_watch_failures", "Watches that ended or did not begin", &failures)?;
        match reads.last_read_seconds_ago {
            Some(age) => {
                let help = "Seconds since the last complete read";
                single(out, "swarm_read_age_seconds", help, &ConstGauge::new(age))
            }
            None => Ok(()),
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn single<M: EncodeMetric>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &M,
) -> fmt::Result {
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn family<M: EncodeMetric>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    numbers: &BTreeMap<&'static str, u64>,
    metric: fn(u64) -> M,
) -> fmt::Result {
    let kind: MetricType = metric(0).metric_type();
    let mut family = out.encode_descriptor(name, help, None, kind)?;
    for (value, number) in numbers {
        metric(*number).encode(family.encode_family(&[(label, *value)])?)?;
    }
    Ok(())
}
