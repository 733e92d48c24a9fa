//! The HTTP client of the export: HTTP/1.1, over TLS where the address says so, every wait
//! bounded.
//!
//! The exporter's thread drives it on a runtime of its own. A collector that hangs therefore holds
//! up no task of the program.

use crate::config::Authorities;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// A collector's answer is short.
const ANSWER_BYTES: usize = 64 * 1024;

/// See the module.
pub(super) struct CollectorClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Only the exporter's thread runs it.
    runtime: Mutex<Runtime>,
    within: Duration,
}

impl fmt::Debug for CollectorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectorClient")
    }
}

impl CollectorClient {
    /// A client that trusts these authorities and gives up after `within`.
    pub(super) fn new(authorities: Option<&Authorities>, within: Duration) -> Result<Self, String> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(authorities)?).https_or_http().enable_http1().build();
        // A kept connection would not be looked after between two exports.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, runtime: Mutex::new(runtime), within })
    }
}

fn tls(authorities: Option<&Authorities>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.map_or(&[], Authorities::pem)).flatten() {
        // The configuration has tried each of them.
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let (parts, body) = self.client.request(request.map(Full::from)).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
            Ok(Response::from_parts(parts, body))
        };
        self.runtime.lock().block_on(async { tokio::time::timeout(self.within, exchange).await })?
    }
}
