//! From samples to the text of OpenMetrics 1.0.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::catalogue::{ALL, Family, Form};
use super::meter::{BOUNDS_NS, Histogram};

/// Who asks for this text knows how to read it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const NS_PER_S: f64 = 1e9;

/// What one sample says.
#[derive(Clone, Debug)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A size that has a fraction.
    Share(f64),
    /// Counts by bound.
    Times(Histogram),
    /// Its labels say it.
    Said,
}

/// One sample: values of the labels in the order of the family's names.
#[derive(Clone, Debug)]
pub struct Sample {
    family: &'static Family,
    labels: Vec<String>,
    value: Value,
}

/// What is known at one moment.
#[derive(Debug, Default)]
pub struct Snapshot(Vec<Sample>);

impl Snapshot {
    /// One sample more.
    pub fn add<const N: usize>(&mut self, family: &'static Family, labels: [&str; N], value: Value) {
        self.0.push(Sample { family, labels: labels.map(str::to_owned).to_vec(), value });
    }

    /// One that is a whole number.
    pub fn count<const N: usize>(&mut self, family: &'static Family, labels: [&str; N], count: u64) {
        self.add(family, labels, Value::Count(count));
    }

    /// The text, with its end.
    ///
    /// # Errors
    /// Never for a text in memory.
    pub fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in ALL {
            let samples: Vec<&Sample> =
                self.0.iter().filter(|sample| sample.family.name == family.name).collect();
            if samples.is_empty() {
                continue;
            }
            let unit = family.unit.map(|unit| Unit::Other(unit.to_owned()));
            // The encoder puts the unit behind the name by itself.
            let bare = family.unit.and_then(|unit| family.name.strip_suffix(unit)?.strip_suffix('_'));
            let name = bare.unwrap_or(family.name);
            let mut metric =
                encoder.encode_descriptor(name, family.help, unit.as_ref(), form(family.form))?;
            samples.into_iter().try_for_each(|sample| sample.encode(&mut metric))?;
        }
        Ok(())
    }
}

fn form(form: Form) -> MetricType {
    match form {
        Form::Counter => MetricType::Counter,
        Form::Gauge => MetricType::Gauge,
        Form::Histogram => MetricType::Histogram,
        Form::Info => MetricType::Info,
    }
}

impl Sample {
    fn encode(&self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        let labels: Vec<(&str, &str)> =
            self.family.labels.iter().copied().zip(self.labels.iter().map(String::as_str)).collect();
        if let Value::Said = self.value {
            return metric.encode_info(&labels);
        }
        if labels.is_empty() {
            return self.encode_value(metric);
        }
        self.encode_value(&mut metric.encode_family(&labels)?)
    }

    fn encode_value(&self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        match (&self.value, self.family.form) {
            (Value::Count(count), Form::Counter) => {
                metric.encode_counter::<NoLabelSet, u64, f64>(count, None)
            }
            (Value::Count(count), _) => metric.encode_gauge(count),
            (Value::Share(share), _) => metric.encode_gauge(share),
            (Value::Times(times), _) => {
                // The encoder adds them up.
                let bounds = BOUNDS_NS.iter().map(|bound| *bound as f64 / NS_PER_S).chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(times.buckets.iter().copied()).collect();
                let all = times.buckets.iter().sum();
                metric.encode_histogram::<NoLabelSet>(times.sum_ns as f64 / NS_PER_S, all, &buckets, None)
            }
            (Value::Said, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{BUILD, COMMANDS, DISK_FREE, LATENCY, POOL_USED, PROBLEMS};
    use super::*;

    #[test]
    fn the_text_is_as_the_standard_writes_it() {
        let mut snapshot = Snapshot::default();
        snapshot.add(BUILD, ["1.2.3"], Value::Said);
        snapshot.count(PROBLEMS, [], 3);
        snapshot.count(COMMANDS, ["lib0-drive0", "0x0a"], 12);
        snapshot.add(POOL_USED, ["default"], Value::Share(0.5));
        snapshot.count(DISK_FREE, ["default", "/a \"b\"\\c\nd"], 7);
        let mut buckets = vec![0; 21];
        (buckets[0], buckets[19], buckets[20]) = (2, 1, 1);
        snapshot.add(LATENCY, ["u", "read"], Value::Times(Histogram { buckets, sum_ns: 1_500_000_000 }));
        let text = snapshot.text().unwrap();
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        has("vtl_build_info{version=\"1.2.3\"} 1");
        has("vtl_problems 3");
        has("# TYPE vtl_commands counter");
        has("vtl_commands_total{unit=\"lib0-drive0\",opcode=\"0x0a\"} 12");
        has("# UNIT vtl_disk_free_bytes bytes");
        has("vtl_disk_free_bytes{pool=\"default\",folder=\"/a \\\"b\\\"\\\\c\\nd\"} 7");
        has("vtl_pool_used_ratio{pool=\"default\"} 0.5");
        has("vtl_command_latency_seconds_bucket{le=\"0.0001\",unit=\"u\",class=\"read\"} 2");
        has("vtl_command_latency_seconds_bucket{le=\"900.0\",unit=\"u\",class=\"read\"} 3");
        has("vtl_command_latency_seconds_bucket{le=\"+Inf\",unit=\"u\",class=\"read\"} 4");
        has("vtl_command_latency_seconds_sum{unit=\"u\",class=\"read\"} 1.5");
        assert!(text.ends_with("# EOF\n"));
    }
}
