//! Stands between the library and the network: a refusal keeps its status and reason, which the library's own errors do
//! not show, and what headers tell of an object goes with the answer.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use super::failure::Failure;
use super::told::Told;

/// Makes the clients that requests go through.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Courier { inner }))
    }
}

#[derive(Debug)]
struct Courier {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Courier {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut answer = self.inner.execute(request).await?;
        if !answer.status().is_success() {
            // Of a kind that the library never tries again.
            return Err(HttpError::new(HttpErrorKind::Unknown, Failure::read(answer).await));
        }
        let told = Told::read(answer.headers());
        answer.extensions_mut().insert(told);
        Ok(answer)
    }
}
