//! `AuthUser` as an argument of a handler: `Authorization: Bearer` (RFC 6750, section 2.1).

use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::service::Context;
use axum::extract::{FromRef, FromRequestParts};
use http::header::AUTHORIZATION;
use http::request::Parts;

impl<S> FromRequestParts<S> for AuthUser
where
    S: Send + Sync,
    Context: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let context = Context::from_ref(state);
        let header = parts.headers.get(AUTHORIZATION).ok_or(Error::Unauthenticated)?;
        let token = bearer(header.to_str().map_err(|_| Error::TokenInvalid)?).ok_or(Error::Unauthenticated)?;
        context.authenticate(token)
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' ')).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::bearer;

    #[test]
    fn only_the_bearer_scheme_with_a_token() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        for wrong in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(bearer(wrong), None, "{wrong:?}");
        }
    }
}
