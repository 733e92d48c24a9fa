//! Stand-in until the real one lands.
impl axum::response::IntoResponse for crate::error::Error {
    fn into_response(self) -> axum::response::Response {
        http::StatusCode::from_u16(self.status()).unwrap_or_default().into_response()
    }
}
