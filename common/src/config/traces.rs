//! The export of traces: OpenTelemetry's own variables, as far as the programs follow them.

use super::raw::Raw;
use super::{ConfigError, Program, parse};
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Where spans go, and of which traces.
#[derive(Clone, Debug)]
pub struct TracesConfig {
    /// The address that takes spans.
    pub endpoint: String,
    /// Headers of each request to it; they may hold a key.
    pub headers: Vec<(String, SecretString)>,
    /// The part of the traces that is sampled, 0 to 1.
    pub ratio: f64,
    /// Whether a caller's `traceparent` decides for its own requests.
    pub follows_parent: bool,
    /// The name of this service in the traces.
    pub service: String,
    /// Further attributes of this process.
    pub attributes: Vec<(String, String)>,
}

impl TracesConfig {
    /// Whether the collector's certificate is checked.
    pub(super) fn uses_tls(&self) -> bool {
        self.endpoint.starts_with("https:")
    }
}

/// Without an endpoint nothing else is read: a platform may set these variables for all its
/// programs.
pub(super) fn read(program: Program, raw: &Raw) -> Result<Option<TracesConfig>, ConfigError> {
    let Some(endpoint) = endpoint(raw)? else { return Ok(None) };
    let protocol = parse::text(raw, PROTOCOL)?;
    if protocol.trim() != "http/protobuf" {
        let fault =
            format!("{} is not http/protobuf, the only one (a collector's port 4318)", parse::quoted(&protocol));
        return Err(ConfigError::of(PROTOCOL, fault));
    }
    let (ratio, follows_parent) = sampler(raw)?;
    let mut headers = Vec::new();
    for (name, value) in pairs(raw, HEADERS)? {
        if HeaderName::try_from(&name).is_err() || HeaderValue::try_from(&value).is_err() {
            return Err(ConfigError::of(HEADERS, "holds a name or a value that HTTP does not allow"));
        }
        headers.push((name, value.into()));
    }
    let attributes = pairs(raw, ATTRIBUTES)?;
    let named = || attributes.iter().find(|(name, _)| name == "service.name").map(|(_, value)| value.clone());
    let service = raw.given(SERVICE)?.or_else(named).unwrap_or_else(|| program.name().to_owned());
    Ok(Some(TracesConfig { endpoint, headers, ratio, follows_parent, service, attributes }))
}

/// The base address as given, and OTLP's path for spans behind it.
fn endpoint(raw: &Raw) -> Result<Option<String>, ConfigError> {
    let Some(given) = raw.get(ENDPOINT)? else { return Ok(None) };
    let url = Url::parse(given.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // The address may hold a password: it is not repeated.
    let url = url.ok_or_else(|| ConfigError::of(ENDPOINT, "is no http:// or https:// address"))?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        let fault = format!("must have no user, query or fragment: {HEADERS} takes a key");
        return Err(ConfigError::of(ENDPOINT, fault));
    }
    Ok(Some(format!("{}/v1/traces", url.as_str().trim_end_matches('/'))))
}

fn sampler(raw: &Raw) -> Result<(f64, bool), ConfigError> {
    let name = parse::text(raw, SAMPLER)?;
    let ratio = parse::number(raw, RATIO, 0.0, 1.0)?;
    Ok(match name.trim() {
        "always_on" => (1.0, false),
        "always_off" => (0.0, false),
        "traceidratio" => (ratio, false),
        "parentbased_always_on" => (1.0, true),
        "parentbased_always_off" => (0.0, true),
        "parentbased_traceidratio" => (ratio, true),
        _ => {
            let known = "always_on, always_off or traceidratio, nor one of them behind parentbased_";
            return Err(ConfigError::of(SAMPLER, format!("{} is not {known}", parse::quoted(&name))));
        }
    })
}

/// `name=value` with commas between, the values percent-encoded. No fault repeats a value.
fn pairs(raw: &Raw, name: &'static str) -> Result<Vec<(String, String)>, ConfigError> {
    let given = raw.get(name)?.unwrap_or_default();
    let read = |item: &str| {
        let (key, value) = item.split_once('=').filter(|(key, _)| !key.trim().is_empty())?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((key.trim().to_owned(), value.into_owned()))
    };
    let fault = || ConfigError::of(name, "is no list of name=value with commas between");
    parse::list(&given).map(|item| read(item).ok_or_else(fault)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::{cluster, read};
    use secrecy::ExposeSecret;

    fn config(more: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        read(Program::Api, &cluster(more))
    }

    fn fault(more: &[(&'static str, &str)]) -> String {
        config(more).expect_err("must not start").to_string()
    }

    #[test]
    fn there_are_none_without_an_address() {
        for (name, value) in [(SAMPLER, "jaeger_remote"), (PROTOCOL, "grpc"), (RATIO, "x"), (HEADERS, "x")] {
            assert!(config(&[(name, value)]).expect("starts").traces.is_none(), "{name}");
        }
        let traces = config(&[(ENDPOINT, "http://otel:4318/")]).expect("starts").traces.expect("traces");
        assert_eq!(
            (traces.endpoint.as_str(), traces.service.as_str()),
            ("http://otel:4318/v1/traces", "messenger-api")
        );
        assert!(traces.follows_parent && (traces.ratio - 0.01).abs() < 1e-9);
    }

    #[test]
    fn samplers_are_those_of_the_standard() {
        for (name, ratio, follows) in [
            ("always_on", 1.0, false),
            ("always_off", 0.0, false),
            ("traceidratio", 0.25, false),
            ("parentbased_always_on", 1.0, true),
            ("parentbased_always_off", 0.0, true),
            ("parentbased_traceidratio", 0.25, true),
        ] {
            let given = [(ENDPOINT, "http://otel"), (SAMPLER, name), (RATIO, "0.25")];
            let traces = config(&given).expect("starts").traces.expect("traces");
            assert!((traces.ratio - ratio).abs() < 1e-9 && traces.follows_parent == follows, "{name}");
        }
    }

    #[test]
    fn headers_and_attributes_are_lists_of_pairs() {
        let given = [
            (ENDPOINT, "https://otel.example.org/otlp"),
            (HEADERS, "authorization=Bearer%20k%3Dy, x-scope=a=b"),
            (ATTRIBUTES, "service.name=chat,region=eu"),
        ];
        let traces = config(&given).expect("starts").traces.expect("traces");
        let headers: Vec<_> =
            traces.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(headers, [("authorization", "Bearer k=y"), ("x-scope", "a=b")]);
        assert_eq!((traces.service.as_str(), traces.attributes[1].1.as_str()), ("chat", "eu"));
        assert!(!format!("{traces:?}").contains("k=y"));
    }

    #[test]
    fn each_fault_names_its_variable_and_no_secret() {
        for (name, value) in [
            (ENDPOINT, "otel:4318"),
            (ENDPOINT, "http://user:hunter2@otel"),
            (ENDPOINT, "http://otel/?key=hunter2"),
            (HEADERS, "hunter2"),
            (HEADERS, "a b=hunter2"),
            (HEADERS, "a=hunter2%0a"),
            (PROTOCOL, "grpc"),
            (SAMPLER, "jaeger_remote"),
            (RATIO, "1.5"),
            (ATTRIBUTES, "region"),
        ] {
            let exported = [(ENDPOINT, "http://otel"), (name, value)];
            let line = fault(if name == ENDPOINT { &exported[1..] } else { &exported });
            assert!(line.starts_with(name) && !line.contains("hunter2"), "{line}");
        }
    }
}
