//! Our cookies: what they are called and whom browsers send them to.

use axum::http::{HeaderMap, HeaderValue, header};

/// One cookie.
pub(super) struct Cookie {
    /// With TLS: browsers take one of such a name only from this very host, over TLS (RFC 6265bis, 4.1.3.2).
    with_tls: &'static str,
    /// On loopback without TLS.
    plain: &'static str,
    /// Whether it comes along from other sites.
    same_site: &'static str,
    /// None: as long as the browser runs.
    life_s: Option<u64>,
}

/// A session.
pub(super) const SESSION: Cookie =
    Cookie { with_tls: "__Host-vtl", plain: "vtl", same_site: "Strict", life_s: None };
/// A log-in at a provider that is on its way: it has to come along when the provider sends the browser back.
pub(super) const OIDC: Cookie = Cookie {
    with_tls: "__Host-vtl-oidc",
    plain: "vtl-oidc",
    same_site: "Lax",
    life_s: Some(vtl_oidc::FLOW_S),
};

impl Cookie {
    const fn name(&self, secure: bool) -> &'static str {
        if secure { self.with_tls } else { self.plain }
    }

    /// Its value in a request.
    pub(super) fn of<'h>(&self, headers: &'h HeaderMap, secure: bool) -> Option<&'h str> {
        let name = self.name(secure);
        let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// `Set-Cookie` for a value, or for the end of it.
    pub(super) fn set(&self, value: Option<&str>, secure: bool) -> Option<HeaderValue> {
        let (name, same_site) = (self.name(secure), self.same_site);
        let with_tls = if secure { "; Secure" } else { "" };
        let life_s = if value.is_some() { self.life_s } else { Some(0) };
        let end = life_s.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let value = value.unwrap_or_default();
        let line = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}{with_tls}{end}");
        HeaderValue::from_str(&line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let line = HeaderValue::from_static("a=1; xvtl=no; vtl=right; __Host-vtl=secure; vtl-oidc=begun");
        let all: HeaderMap = [(header::COOKIE, line)].into_iter().collect();
        assert_eq!(SESSION.of(&all, false), Some("right"));
        assert_eq!(SESSION.of(&all, true), Some("secure"));
        assert_eq!((OIDC.of(&all, false), OIDC.of(&all, true)), (Some("begun"), None));
        let without = [(header::COOKIE, HeaderValue::from_static("vtl"))].into_iter().collect();
        assert_eq!(SESSION.of(&without, false), None);
    }

    #[test]
    fn a_cookie_is_for_this_host_alone_and_out_of_reach_of_scripts() {
        let set =
            |cookie: &Cookie, value, secure| cookie.set(value, secure).unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            set(&SESSION, Some("abc"), true),
            "__Host-vtl=abc; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(set(&SESSION, Some("abc"), false), "vtl=abc; Path=/; HttpOnly; SameSite=Strict");
        assert_eq!(set(&SESSION, None, false), "vtl=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
        assert_eq!(
            set(&OIDC, Some("abc"), true),
            "__Host-vtl-oidc=abc; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=600"
        );
        assert_eq!(set(&OIDC, None, false), "vtl-oidc=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }
}
