//! The web pages over HTTP. What they are is in `vtl-web`; here a request becomes the answer for its path.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The answer for a page; none: there is no such page, or not by this method.
pub fn answer(request: &Request<Body>) -> Option<Response> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return None;
    }
    let page = vtl_web::page(request.uri().path())?;
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter();
    let unchanged = known.filter_map(|value| value.to_str().ok()).any(|tags| names(tags, page.etag));
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { page.body.into_response() };
    let own =
        [("content-type", page.content_type), ("etag", page.etag), ("cache-control", page.cache_control)];
    for (name, value) in own.iter().chain(vtl_web::HEADERS) {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Some(response)
}

/// Whether a list of entity tags has this one, or any.
fn names(tags: &str, own: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, headers: &[(&str, &str)]) -> Option<Response> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(&request.body(Body::empty()).unwrap())
    }

    fn header(response: &Response, name: &str) -> String {
        response.headers().get(name).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_page_may_run_its_own_modules_only_and_nobody_may_frame_it() {
        let page = get("/", &[]).unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(&page, "x-frame-options"), "DENY");
        let policy = header(&page, "content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.split("; ").any(|own| own == part), "{part}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn what_a_browser_has_already_is_not_sent_again() {
        let tag = header(&get("/", &[]).unwrap(), "etag");
        for tags in [tag.clone(), format!("\"another\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            assert_eq!(get("/", &[("if-none-match", &tags)]).unwrap().status(), StatusCode::NOT_MODIFIED);
        }
        assert_eq!(get("/", &[("if-none-match", "\"another\"")]).unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn only_reading_gives_a_page() {
        let post = Request::post("/").body(Body::empty()).unwrap();
        assert!(answer(&post).is_none());
        assert!(get("/api", &[]).is_none());
        assert!(get("/web/../../etc/passwd", &[]).is_none());
    }
}
