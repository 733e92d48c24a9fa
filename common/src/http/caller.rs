//! `AuthUser` as an argument of a handler: `Authorization: Bearer` (RFC 6750, section 2.1). The
//! WebSocket's handshake reads the same header.
//!
//! The caller is also who pays: each request counts against its user, and one without a valid
//! token against its address. It counts before the rest of it is read, so one that does not fit
//! counts too.

use super::client_ip::ClientIp;
use super::payer::Payer;
use super::reading::BodyLimit;
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::service::Context;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::net::IpAddr;
use tracing::Span;

/// The caller of a request that others are notified of. It costs what a message costs, and is no
/// ordinary request.
#[derive(Clone, Debug)]
pub struct Author(pub AuthUser);

/// Stands on a request that has paid what an ordinary one costs.
#[derive(Clone)]
struct Paid;

/// The body of a public request, and the address that sent it. It is short. One that cannot be read
/// counts against that address; the rule says what all others cost.
#[derive(Clone, Copy, Debug)]
pub struct Public<B>(pub IpAddr, pub B);

impl<S, B> FromRequest<S> for Public<B>
where
    S: Send + Sync,
    Context: FromRef<S>,
    B: FromRequest<S, Rejection = Error> + Send,
{
    type Rejection = Error;

    async fn from_request(mut request: Request, state: &S) -> Result<Self> {
        let from = ClientIp::on(request.extensions()).0;
        BodyLimit::of_public(request.extensions_mut());
        match B::from_request(request, state).await {
            Ok(body) => Ok(Self(from, body)),
            Err(error) => {
                Context::from_ref(state).charge_address(from).await?;
                Err(error)
            }
        }
    }
}

impl<S> FromRequestParts<S> for AuthUser
where
    S: Send + Sync,
    Context: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let ctx = Context::from_ref(state);
        let by = identify(&ctx, parts).await?;
        // A layer may have asked before the handler does.
        if parts.extensions.insert(Paid).is_none() {
            ctx.charge_request(&by).await?;
        }
        Ok(by)
    }
}

impl<S> FromRequestParts<S> for Author
where
    S: Send + Sync,
    Context: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let ctx = Context::from_ref(state);
        let by = identify(&ctx, parts).await?;
        ctx.charge_message(&by).await?;
        Ok(Self(by))
    }
}

async fn identify(ctx: &Context, parts: &Parts) -> Result<AuthUser> {
    let checked = match bearer(&parts.headers) {
        Ok(token) => ctx.authenticate(token).await,
        Err(error) => Err(error),
    };
    if checked.as_ref().is_err_and(|error| error.status() == 401) {
        ctx.charge_address(ClientIp::on(&parts.extensions).0).await?;
    }
    let by = checked?;
    Payer::name(&parts.extensions, ctx, by.user_id);
    Span::current().record("user.id", by.user_id.0).record("session.id", by.session_id.0);
    Ok(by)
}

/// The token of `Authorization: Bearer <token>`. The scheme's case does not matter (RFC 9110,
/// section 11.1). `Unauthenticated` where there is none, `TokenInvalid` where the header is no
/// text or stands there twice.
pub fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let header = given.next().ok_or(Error::Unauthenticated)?;
    // Of two, a proxy may have read the other one.
    if given.next().is_some() {
        return Err(Error::TokenInvalid);
    }
    let text = header.to_str().map_err(|_| Error::TokenInvalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(Error::Unauthenticated)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() { Ok(token) } else { Err(Error::Unauthenticated) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn token(header: &[u8]) -> Result<String> {
        let value = HeaderValue::from_bytes(header).expect("a header");
        bearer(&HeaderMap::from_iter([(AUTHORIZATION, value)])).map(str::to_owned)
    }

    #[test]
    fn only_the_bearer_scheme_with_a_token_is_taken() {
        for header in ["Bearer abc", "bearer  abc", "BEARER abc ", "Bearer \tabc\t"] {
            assert_eq!(token(header.as_bytes()).expect("a token"), "abc", "{header:?}");
        }
        for header in ["", "Bearer", "Bearer ", "Bearer \t", "Basic abc", "abc", "Bearerabc"] {
            assert!(matches!(token(header.as_bytes()), Err(Error::Unauthenticated)), "{header:?}");
        }
        assert!(matches!(bearer(&HeaderMap::new()), Err(Error::Unauthenticated)));
        assert!(matches!(token("Bearer ä".as_bytes()), Err(Error::TokenInvalid)));
        let value = HeaderValue::from_static("Bearer abc");
        let mut twice = HeaderMap::from_iter([(AUTHORIZATION, value.clone())]);
        twice.append(AUTHORIZATION, value);
        assert!(matches!(bearer(&twice), Err(Error::TokenInvalid)));
    }
}
