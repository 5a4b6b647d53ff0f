//! Stands between the library and the network: a refusal keeps its status and reason, which the library's own errors do
//! not show, and what headers tell of an object goes with the answer.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::ClientOptions;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use super::failure::Failure;
use super::told::Told;

const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");

/// Makes the clients that requests go through.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    /// What headers tell.
    pub told: fn(&HeaderMap) -> Told,
    /// For S3.
    pub checksums: Option<AskForChecksums>,
}

/// Asks S3 for checksums when it is asked for an object's size. The header must be signed as all of S3's own are, and the library
/// has no way to add one: so the request is signed once more.
#[derive(Clone)]
pub(super) struct AskForChecksums {
    credential: Arc<AwsCredential>,
    region: String,
}

impl fmt::Debug for AskForChecksums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It holds keys.
        f.write_str("AskForChecksums")
    }
}

impl AskForChecksums {
    pub fn new(id: &str, secret: &str, region: &str) -> Self {
        let credential = AwsCredential { key_id: id.to_owned(), secret_key: secret.to_owned(), token: None };
        Self { credential: Arc::new(credential), region: region.to_owned() }
    }

    fn of(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        if request.method() != Method::HEAD {
            return Ok(());
        }
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().insert(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
        AwsAuthorizer::new(&self.credential, "s3", &self.region)
            .try_authorize(request, None)
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Courier { inner, connector: self.clone() }))
    }
}

#[derive(Debug)]
struct Courier {
    inner: HttpClient,
    connector: Connector,
}

#[async_trait]
impl HttpService for Courier {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(checksums) = &self.connector.checksums {
            checksums.of(&mut request)?;
        }
        let mut answer = self.inner.execute(request).await?;
        if !answer.status().is_success() {
            // Of a kind that the library never tries again.
            return Err(HttpError::new(HttpErrorKind::Unknown, Failure::read(answer).await));
        }
        let told = (self.connector.told)(answer.headers());
        answer.extensions_mut().insert(told);
        Ok(answer)
    }
}
